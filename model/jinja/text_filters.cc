// Filters that make text.

#include <algorithm>

#include "base/status_macros.h"
#include "model/jinja/filter_call.h"
#include "model/jinja/format.h"
#include "model/jinja/operators.h"
#include "model/jinja/string_methods.h"
#include "model/jinja/unicode.h"

namespace braid::jinja {
namespace {

template <Text (*function)(const Text&)>
absl::StatusOr<Value> MapText(const FilterCall& call) {
  BRAID_RETURN_IF_ERROR(call.Bind({}).status());
  BRAID_ASSIGN_OR_RETURN(const Text text, Str(call.budget, call.input));
  BRAID_RETURN_IF_ERROR(call.budget.Step(text.size() / 8));
  return Value(function(text));
}

// `safe` and `string`: without automatic escaping there is nothing to be safe
// from, so unlike Jinja's, the result joins other text without escaping it.
Text Identity(const Text& text) { return text; }

// Jinja's title, which is not str.title: words start after white space, a
// hyphen or an opening bracket.
Text TitleWords(const Text& text) {
  Text out;
  size_t at = 0;
  const auto is_break = [&](size_t i) {
    const Character c = CharacterAt(text.bytes(), i);
    return c.valid && (IsSpace(c.code) || c.code == '-' || c.code == '(' ||
                       c.code == '{' || c.code == '[' || c.code == '<');
  };
  while (at < text.size()) {
    size_t end = at;
    while (end < text.size() && !is_break(end)) {
      end += CharacterAt(text.bytes(), end).length;
    }
    if (end > at) {
      const size_t second = at + CharacterAt(text.bytes(), at).length;
      out.Append(Upper(text.Slice(at, second)));
      out.Append(Lower(text.Slice(second, end)));
    }
    at = end;
    if (at < text.size()) {
      end = at + CharacterAt(text.bytes(), at).length;
      out.Append(text, at, end);
      at = end;
    }
  }
  return out;
}

Text Escape(const Text& text) {
  Text out;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text.bytes()[i];
    const char* entity = c == '&'    ? "&amp;"
                         : c == '<'  ? "&lt;"
                         : c == '>'  ? "&gt;"
                         : c == '\'' ? "&#39;"
                         : c == '"'  ? "&#34;"
                                     : nullptr;
    if (entity != nullptr) {
      out.Append(entity, text.IsUser(i));
    } else {
      out.Append(text, i, i + 1);
    }
  }
  return out;
}

absl::StatusOr<Value> Trim(const FilterCall& call) {
  BRAID_ASSIGN_OR_RETURN(const Bound args, call.Bind({"chars"}));
  BRAID_ASSIGN_OR_RETURN(const Text* characters, args.String(0));
  BRAID_ASSIGN_OR_RETURN(const Text text, Str(call.budget, call.input));
  if (characters != nullptr) {
    BRAID_RETURN_IF_ERROR(call.budget.Search(text.size(), characters->size()));
  }
  return Value(Strip(text, characters, true, true));
}

absl::StatusOr<Value> ReplaceFilter(const FilterCall& call) {
  BRAID_ASSIGN_OR_RETURN(const Bound args,
                         call.Bind({"old", "new", "count"}, 2));
  BRAID_ASSIGN_OR_RETURN(const Text text, Str(call.budget, call.input));
  BRAID_ASSIGN_OR_RETURN(const Text from, Str(call.budget, *args[0]));
  BRAID_ASSIGN_OR_RETURN(const Text to, Str(call.budget, *args[1]));
  BRAID_ASSIGN_OR_RETURN(const int64_t count, args.Integer(2, -1));
  BRAID_ASSIGN_OR_RETURN(Text out, Replace(call.budget, text, from, to, count));
  return Value(std::move(out));
}

absl::StatusOr<Value> Indent(const FilterCall& call) {
  BRAID_ASSIGN_OR_RETURN(const Bound args,
                         call.Bind({"width", "first", "blank"}));
  if (call.input.text() == nullptr) return Error("indent needs a string");
  Text indentation;
  if (args[0] != nullptr && args[0]->text() != nullptr) {
    indentation = *args[0]->text();
  } else {
    BRAID_ASSIGN_OR_RETURN(const int64_t width, args.Integer(0, 4));
    if (width > 1000) return Error("indent: the width exceeds 1000");
    indentation =
        Text(std::string(static_cast<size_t>(std::max<int64_t>(width, 0)), ' '),
             false);
  }
  Text text = *call.input.text();
  text.Append("\n", false);  // as Jinja does, for a last empty line
  const bool blank = args.Flag(2, false);
  const std::vector<Text> lines = SplitLines(text, false);
  Text out;
  if (args.Flag(1, false)) out = indentation;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) {
      out.Append("\n", false);
      if (blank || !lines[i].empty()) out.Append(indentation);
    }
    out.Append(lines[i]);
    BRAID_RETURN_IF_ERROR(call.budget.Step(1 + lines[i].size() / 32));
    if (out.size() > Budget::kMaxBytes) return call.budget.Bytes(out.size());
  }
  return Value(std::move(out));
}

absl::StatusOr<Value> ToJsonFilter(const FilterCall& call) {
  BRAID_ASSIGN_OR_RETURN(
      const Bound args,
      call.Bind({"ensure_ascii", "indent", "separators", "sort_keys"}));
  JsonStyle style;
  style.ensure_ascii = args.Flag(0, false);
  style.sort_keys = args.Flag(3, false);
  if (args[1] != nullptr && !args[1]->is_none()) {
    style.indented = true;
    style.item_separator.resize(1);  // no space before a line end
    if (args[1]->text() != nullptr) {
      style.indent = args[1]->text()->bytes();
    } else {
      BRAID_ASSIGN_OR_RETURN(const int64_t width, args.Integer(1, 0));
      if (width > 100) return Error("tojson: the indent exceeds 100");
      style.indent.assign(static_cast<size_t>(std::max<int64_t>(width, 0)),
                          ' ');
    }
    if (style.indent.size() > 100) {
      return Error("tojson: the indent exceeds 100");
    }
  }
  if (args[2] != nullptr && !args[2]->is_none()) {
    const List* pair = args[2]->list();
    if (pair == nullptr || pair->items.size() != 2 ||
        pair->items[0].text() == nullptr || pair->items[1].text() == nullptr) {
      return Error("tojson: separators is a pair of strings");
    }
    style.item_separator = pair->items[0].text()->bytes();
    style.key_separator = pair->items[1].text()->bytes();
  }
  BRAID_ASSIGN_OR_RETURN(Text out, DumpJson(call.budget, call.input, style));
  return Value(std::move(out));
}

absl::StatusOr<Value> Format(const FilterCall& call) {
  if (!call.arguments.named.empty()) {
    return Error("format: named arguments are not supported");
  }
  BRAID_ASSIGN_OR_RETURN(const Text format, Str(call.budget, call.input));
  BRAID_ASSIGN_OR_RETURN(
      Text out,
      PercentFormat(call.budget, format, call.arguments.positional, false));
  return Value(std::move(out));
}

absl::StatusOr<Value> WordCount(const FilterCall& call) {
  BRAID_RETURN_IF_ERROR(call.Bind({}).status());
  BRAID_ASSIGN_OR_RETURN(const Text text, Str(call.budget, call.input));
  // Runs of \w, as Jinja counts.
  int64_t words = 0;
  bool inside = false;
  for (size_t i = 0; i < text.size();) {
    const Character c = CharacterAt(text.bytes(), i);
    const bool word =
        c.valid && (IsLetter(c.code) || IsDigit(c.code) || c.code == '_');
    if (word && !inside) ++words;
    inside = word;
    i += c.length;
  }
  return Value(words);
}

}  // namespace

void AddTextFilters(std::map<std::string, FilterFunction>& filters) {
  filters["string"] = MapText<Identity>;
  filters["safe"] = MapText<Identity>;
  filters["upper"] = MapText<Upper>;
  filters["lower"] = MapText<Lower>;
  filters["capitalize"] = MapText<Capitalize>;
  filters["title"] = MapText<TitleWords>;
  filters["escape"] = MapText<Escape>;
  filters["e"] = MapText<Escape>;
  filters["trim"] = Trim;
  filters["replace"] = ReplaceFilter;
  filters["indent"] = Indent;
  filters["tojson"] = ToJsonFilter;
  filters["format"] = Format;
  filters["wordcount"] = WordCount;
}

}  // namespace braid::jinja
