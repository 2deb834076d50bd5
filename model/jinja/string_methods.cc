#include "model/jinja/string_methods.h"

#include <algorithm>
#include <map>

#include "base/status_macros.h"
#include "model/jinja/arguments.h"
#include "model/jinja/format.h"
#include "model/jinja/unicode.h"

namespace braid::jinja {
namespace {

using std::string_view;

absl::StatusOr<Value> TextList(Budget& budget, std::vector<Text> parts) {
  std::vector<Value> items;
  for (Text& part : parts) items.emplace_back(std::move(part));
  return MakeList(budget, std::move(items));
}

// Each character through `map`, keeping its mark.
template <typename Map>
Text MapCharacters(const Text& text, Map map) {
  Text out;
  std::string piece;
  for (size_t i = 0; i < text.size();) {
    const Character c = CharacterAt(text.bytes(), i);
    piece.clear();
    if (c.valid) {
      AppendCharacter(map(c.code), piece);
    } else {
      piece = text.bytes().substr(i, c.length);
    }
    out.Append(piece, text.IsUser(i));
    i += c.length;
  }
  return out;
}

bool IsCased(char32_t c) { return IsUpper(c) || IsLower(c); }

// str.title: every run of letters starts in title case.
Text Title(const Text& text) {
  bool inside = false;
  return MapCharacters(text, [&](char32_t c) {
    const char32_t mapped = inside ? ToLower(c) : ToTitle(c);
    inside = IsCased(c);
    return mapped;
  });
}

Text SwapCase(const Text& text) {
  return MapCharacters(
      text, [](char32_t c) { return IsUpper(c) ? ToLower(c) : ToUpper(c); });
}

template <typename Predicate>
bool AllCharacters(const Text& text, Predicate predicate) {
  for (size_t i = 0; i < text.size();) {
    const Character c = CharacterAt(text.bytes(), i);
    if (!c.valid || !predicate(c.code)) return false;
    i += c.length;
  }
  return !text.empty();
}

std::vector<Text> SplitSpace(const Text& text, int64_t limit) {
  std::vector<Text> parts;
  const std::string& bytes = text.bytes();
  size_t at = SkipSpace(bytes, 0);
  while (at < bytes.size()) {
    if (limit >= 0 && static_cast<int64_t>(parts.size()) == limit) {
      parts.push_back(text.Slice(at, bytes.size()));
      break;
    }
    size_t end = at;
    while (end < bytes.size()) {
      const Character c = CharacterAt(bytes, end);
      if (c.valid && IsSpace(c.code)) break;
      end += c.length;
    }
    parts.push_back(text.Slice(at, end));
    at = SkipSpace(bytes, end);
  }
  return parts;
}

std::vector<Text> SplitSpaceBack(const Text& text, int64_t limit) {
  std::vector<Text> words = SplitSpace(text, -1);
  if (limit < 0 || static_cast<int64_t>(words.size()) <= limit) return words;
  // Everything before the last `limit` words stays one piece.
  std::vector<Text> parts;
  const std::string& bytes = text.bytes();
  size_t end = SkipSpaceBack(bytes, 0, bytes.size());
  for (int64_t i = 0; i < limit; ++i) {
    end -= words.back().size();
    parts.push_back(std::move(words.back()));
    words.pop_back();
    end = SkipSpaceBack(bytes, 0, end);
  }
  if (end > 0) parts.push_back(text.Slice(0, end));
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<Text> SplitAt(const Text& text, const std::string& separator,
                          int64_t limit) {
  std::vector<Text> parts;
  size_t at = 0;
  while (limit < 0 || static_cast<int64_t>(parts.size()) < limit) {
    const size_t found = text.bytes().find(separator, at);
    if (found == std::string::npos) break;
    parts.push_back(text.Slice(at, found));
    at = found + separator.size();
  }
  parts.push_back(text.Slice(at, text.size()));
  return parts;
}

std::vector<Text> SplitAtBack(const Text& text, const std::string& separator,
                              int64_t limit) {
  std::vector<Text> parts;
  size_t end = text.size();
  while (limit < 0 || static_cast<int64_t>(parts.size()) < limit) {
    if (end < separator.size()) break;
    const size_t found = text.bytes().rfind(separator, end - separator.size());
    if (found == std::string::npos) break;
    parts.push_back(text.Slice(found + separator.size(), end));
    end = found;
  }
  parts.push_back(text.Slice(0, end));
  std::reverse(parts.begin(), parts.end());
  return parts;
}

absl::Status ChargeSearch(Budget& budget, const Text& text,
                          const Text* needle) {
  return budget.Search(text.size(), needle == nullptr ? 0 : needle->size());
}

// What a method is given.
struct Call {
  Budget& budget;
  const Text& self;
  const std::string& name;
  const Arguments& arguments;
};
using Implementation = absl::StatusOr<Value> (*)(const Call&);

absl::StatusOr<Value> CallStrip(const Call& call) {
  BRAID_ASSIGN_OR_RETURN(const Bound args,
                         Bound::Bind(call.name, call.arguments, {"chars"}));
  BRAID_ASSIGN_OR_RETURN(const Text* characters, args.String(0));
  BRAID_RETURN_IF_ERROR(ChargeSearch(call.budget, call.self, characters));
  return Value(Strip(call.self, characters, call.name != "rstrip",
                     call.name != "lstrip"));
}

absl::StatusOr<Value> CallSplit(const Call& call) {
  BRAID_ASSIGN_OR_RETURN(
      const Bound args,
      Bound::Bind(call.name, call.arguments, {"sep", "maxsplit"}));
  BRAID_ASSIGN_OR_RETURN(const Text* separator, args.String(0));
  BRAID_ASSIGN_OR_RETURN(const int64_t limit, args.Integer(1, -1));
  const bool back = call.name == "rsplit";
  if (separator == nullptr) {
    return TextList(call.budget, back ? SplitSpaceBack(call.self, limit)
                                      : SplitSpace(call.self, limit));
  }
  if (separator->empty()) return Error("empty separator");
  BRAID_RETURN_IF_ERROR(ChargeSearch(call.budget, call.self, separator));
  return TextList(call.budget,
                  back ? SplitAtBack(call.self, separator->bytes(), limit)
                       : SplitAt(call.self, separator->bytes(), limit));
}

absl::StatusOr<Value> CallSplitLines(const Call& call) {
  BRAID_ASSIGN_OR_RETURN(const Bound args,
                         Bound::Bind(call.name, call.arguments, {"keepends"}));
  return TextList(call.budget, SplitLines(call.self, args.Flag(0, false)));
}

absl::StatusOr<Value> CallPartition(const Call& call) {
  BRAID_ASSIGN_OR_RETURN(const Bound args,
                         Bound::Bind(call.name, call.arguments, {"sep"}, 1));
  BRAID_ASSIGN_OR_RETURN(const Text* separator, args.String(0));
  if (separator == nullptr || separator->empty()) {
    return Error("empty separator");
  }
  BRAID_RETURN_IF_ERROR(ChargeSearch(call.budget, call.self, separator));
  const bool back = call.name == "rpartition";
  const size_t at = back ? call.self.bytes().rfind(separator->bytes())
                         : call.self.bytes().find(separator->bytes());
  std::vector<Value> parts;
  if (at == std::string::npos) {
    parts = {Value(Text()), Value(Text()), Value(Text())};
    parts[back ? 2 : 0] = Value(call.self);
  } else {
    const size_t end = at + separator->size();
    parts = {Value(call.self.Slice(0, at)), Value(call.self.Slice(at, end)),
             Value(call.self.Slice(end, call.self.size()))};
  }
  return MakeList(call.budget, std::move(parts), ListKind::kTuple);
}

absl::StatusOr<Value> CallStartsWith(const Call& call) {
  BRAID_ASSIGN_OR_RETURN(const Bound args,
                         Bound::Bind(call.name, call.arguments, {"prefix"}, 1));
  const auto matches = [&](const Value& affix) -> absl::StatusOr<bool> {
    if (affix.text() == nullptr) {
      return Error(call.name + "() needs a string or a tuple of strings");
    }
    const std::string& bytes = affix.text()->bytes();
    return call.name == "startswith" ? call.self.bytes().starts_with(bytes)
                                     : call.self.bytes().ends_with(bytes);
  };
  const List* list = args[0]->list();
  if (list == nullptr || list->kind != ListKind::kTuple) {
    BRAID_ASSIGN_OR_RETURN(const bool matched, matches(*args[0]));
    return Value(matched);
  }
  BRAID_RETURN_IF_ERROR(call.budget.Step(args[0]->weight()));
  for (const Value& affix : list->items) {
    BRAID_ASSIGN_OR_RETURN(const bool matched, matches(affix));
    if (matched) return Value(true);
  }
  return Value(false);
}

absl::StatusOr<Value> CallRemoveAffix(const Call& call) {
  BRAID_ASSIGN_OR_RETURN(const Bound args,
                         Bound::Bind(call.name, call.arguments, {"affix"}, 1));
  BRAID_ASSIGN_OR_RETURN(const Text* affix, args.String(0));
  if (affix == nullptr) return Error(call.name + "() needs a string");
  const bool prefix = call.name == "removeprefix";
  const size_t rest =
      call.self.size() - std::min(affix->size(), call.self.size());
  if (prefix && call.self.bytes().starts_with(affix->bytes())) {
    return Value(call.self.Slice(affix->size(), call.self.size()));
  }
  if (!prefix && call.self.bytes().ends_with(affix->bytes())) {
    return Value(call.self.Slice(0, rest));
  }
  return Value(call.self);
}

absl::StatusOr<Value> CallFind(const Call& call) {
  BRAID_ASSIGN_OR_RETURN(const Bound args,
                         Bound::Bind(call.name, call.arguments, {"sub"}, 1));
  BRAID_ASSIGN_OR_RETURN(const Text* part, args.String(0));
  if (part == nullptr) return Error(call.name + "() needs a string");
  BRAID_RETURN_IF_ERROR(ChargeSearch(call.budget, call.self, part));
  const string_view bytes = call.self.bytes();
  const bool back = call.name == "rfind" || call.name == "rindex";
  const size_t at =
      back ? bytes.rfind(part->bytes()) : bytes.find(part->bytes());
  if (at != string_view::npos) {
    return Value(static_cast<int64_t>(CountCharacters(bytes.substr(0, at))));
  }
  if (call.name.ends_with("index")) return Error("substring not found");
  return Value(int64_t{-1});
}

absl::StatusOr<Value> CallCount(const Call& call) {
  BRAID_ASSIGN_OR_RETURN(const Bound args,
                         Bound::Bind(call.name, call.arguments, {"sub"}, 1));
  BRAID_ASSIGN_OR_RETURN(const Text* part, args.String(0));
  if (part == nullptr) return Error("count() needs a string");
  BRAID_RETURN_IF_ERROR(ChargeSearch(call.budget, call.self, part));
  if (part->empty()) {
    return Value(static_cast<int64_t>(CountCharacters(call.self.bytes())) + 1);
  }
  return Value(
      static_cast<int64_t>(SplitAt(call.self, part->bytes(), -1).size()) - 1);
}

absl::StatusOr<Value> CallReplace(const Call& call) {
  BRAID_ASSIGN_OR_RETURN(
      const Bound args,
      Bound::Bind(call.name, call.arguments, {"old", "new", "count"}, 2));
  BRAID_ASSIGN_OR_RETURN(const Text* from, args.String(0));
  BRAID_ASSIGN_OR_RETURN(const Text* to, args.String(1));
  BRAID_ASSIGN_OR_RETURN(const int64_t count, args.Integer(2, -1));
  if (from == nullptr || to == nullptr) return Error("replace needs strings");
  BRAID_ASSIGN_OR_RETURN(Text out,
                         Replace(call.budget, call.self, *from, *to, count));
  return Value(std::move(out));
}

absl::StatusOr<Value> CallJoin(const Call& call) {
  BRAID_ASSIGN_OR_RETURN(const Bound args,
                         Bound::Bind(call.name, call.arguments, {"items"}, 1));
  BRAID_ASSIGN_OR_RETURN(const std::vector<Value> items,
                         Iterate(call.budget, *args[0]));
  std::vector<Text> parts;
  for (const Value& item : items) {
    if (item.text() == nullptr) return Error("join() needs strings");
    parts.push_back(*item.text());
  }
  BRAID_ASSIGN_OR_RETURN(Text out, Join(call.budget, call.self, parts));
  return Value(std::move(out));
}

// "{} {0} {name} {{": no format specifications, attributes or conversions.
absl::StatusOr<Value> CallFormat(const Call& call) {
  const std::string& bytes = call.self.bytes();
  Text out;
  size_t next = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    const char c = bytes[i];
    if (c != '{' && c != '}') {
      const size_t end = std::min(bytes.find_first_of("{}", i), bytes.size());
      out.Append(call.self, i, end);
      i = end - 1;
      continue;
    }
    if (i + 1 < bytes.size() && bytes[i + 1] == c) {
      out.Append(call.self, i, i + 1);
      ++i;
      continue;
    }
    const size_t close = bytes.find('}', i);
    if (c == '}' || close == std::string::npos) {
      return Error("format(): single '" + std::string(1, c) + "'");
    }
    const std::string field = bytes.substr(i + 1, close - i - 1);
    const Value* value = nullptr;
    if (field.find_first_not_of("0123456789") == std::string::npos &&
        field.size() < 6) {
      const size_t index = field.empty() ? next++ : std::stoul(field);
      if (index < call.arguments.positional.size()) {
        value = &call.arguments.positional[index];
      }
    }
    for (const auto& [key, argument] : call.arguments.named) {
      if (key == field) value = &argument;
    }
    if (value == nullptr) {
      return Error("format(): nothing for the field '" + field + "'");
    }
    BRAID_ASSIGN_OR_RETURN(const Text piece, Str(call.budget, *value));
    out.Append(piece);
    BRAID_RETURN_IF_ERROR(call.budget.Bytes(out.size()));
    i = close;
  }
  return Value(std::move(out));
}

template <Text (*function)(const Text&)>
absl::StatusOr<Value> CallMap(const Call& call) {
  BRAID_RETURN_IF_ERROR(Bound::Bind(call.name, call.arguments, {}).status());
  return Value(function(call.self));
}

template <bool (*predicate)(const Text&)>
absl::StatusOr<Value> CallPredicate(const Call& call) {
  BRAID_RETURN_IF_ERROR(Bound::Bind(call.name, call.arguments, {}).status());
  return Value(predicate(call.self));
}

bool AllSpace(const Text& text) { return AllCharacters(text, IsSpace); }
bool AllDigits(const Text& text) { return AllCharacters(text, IsDigit); }
bool AllLetters(const Text& text) { return AllCharacters(text, IsLetter); }
bool AllAlphanumeric(const Text& text) {
  return AllCharacters(text,
                       [](char32_t c) { return IsLetter(c) || IsDigit(c); });
}

const std::map<std::string, Implementation>& Methods() {
  static const auto& methods = *new std::map<std::string, Implementation>{
      {"strip", CallStrip},
      {"lstrip", CallStrip},
      {"rstrip", CallStrip},
      {"split", CallSplit},
      {"rsplit", CallSplit},
      {"splitlines", CallSplitLines},
      {"partition", CallPartition},
      {"rpartition", CallPartition},
      {"startswith", CallStartsWith},
      {"endswith", CallStartsWith},
      {"removeprefix", CallRemoveAffix},
      {"removesuffix", CallRemoveAffix},
      {"find", CallFind},
      {"rfind", CallFind},
      {"index", CallFind},
      {"rindex", CallFind},
      {"count", CallCount},
      {"replace", CallReplace},
      {"join", CallJoin},
      {"format", CallFormat},
      {"upper", CallMap<Upper>},
      {"lower", CallMap<Lower>},
      {"title", CallMap<Title>},
      {"capitalize", CallMap<Capitalize>},
      {"swapcase", CallMap<SwapCase>},
      {"isspace", CallPredicate<AllSpace>},
      {"isdigit", CallPredicate<AllDigits>},
      {"isalpha", CallPredicate<AllLetters>},
      {"isalnum", CallPredicate<AllAlphanumeric>},
      {"isupper", CallPredicate<IsAllUpper>},
      {"islower", CallPredicate<IsAllLower>},
  };
  return methods;
}

}  // namespace

bool HasStringMethod(const std::string& name) {
  return Methods().contains(name);
}

absl::StatusOr<Value> CallStringMethod(Budget& budget, const Text& self,
                                       const std::string& name,
                                       const Arguments& arguments) {
  const auto method = Methods().find(name);
  if (method == Methods().end()) return Error("no method '" + name + "'");
  // Characters are mapped one by one: dearer than copying.
  BRAID_RETURN_IF_ERROR(budget.Step(self.size() / 8));
  return method->second({budget, self, name, arguments});
}

Text Strip(const Text& text, const Text* characters, bool left, bool right) {
  const std::string& bytes = text.bytes();
  size_t begin = 0, end = bytes.size();
  if (characters == nullptr) {
    if (left) begin = SkipSpace(bytes, 0);
    if (right) end = SkipSpaceBack(bytes, begin, end);
    return text.Slice(begin, end);
  }
  const auto among = [&](string_view character) {
    const std::string& set = characters->bytes();
    for (size_t i = 0; i < set.size();) {
      const size_t length = CharacterAt(set, i).length;
      if (string_view(set).substr(i, length) == character) return true;
      i += length;
    }
    return false;
  };
  while (left && begin < end) {
    const size_t length = CharacterAt(bytes, begin).length;
    if (!among(string_view(bytes).substr(begin, length))) break;
    begin += length;
  }
  while (right && end > begin) {
    size_t start = end - 1;
    while (start > begin && (bytes[start] & 0xC0) == 0x80) --start;
    if (!among(string_view(bytes).substr(start, end - start))) break;
    end = start;
  }
  return text.Slice(begin, end);
}

Text Upper(const Text& text) { return MapCharacters(text, ToUpper); }
Text Lower(const Text& text) { return MapCharacters(text, ToLower); }
Text Capitalize(const Text& text) {
  bool first = true;
  return MapCharacters(text, [&](char32_t c) {
    return std::exchange(first, false) ? ToTitle(c) : ToLower(c);
  });
}

absl::StatusOr<Text> Replace(Budget& budget, const Text& text, const Text& from,
                             const Text& to, int64_t count) {
  Text out;
  if (from.empty()) {  // between all characters, and at both ends
    size_t at = 0;
    for (int64_t done = 0; count < 0 || done < count; ++done) {
      out.Append(to);
      BRAID_RETURN_IF_ERROR(budget.Bytes(out.size()));
      if (at == text.size()) return out;
      const size_t length = CharacterAt(text.bytes(), at).length;
      out.Append(text, at, at + length);
      at += length;
    }
    out.Append(text, at, text.size());
    return out;
  }
  BRAID_RETURN_IF_ERROR(budget.Search(text.size(), from.size()));
  const std::vector<Text> parts = SplitAt(text, from.bytes(), count);
  return Join(budget, to, parts);
}

absl::StatusOr<Text> Join(Budget& budget, const Text& separator,
                          const std::vector<Text>& parts) {
  size_t size = 0;
  for (const Text& part : parts) size += part.size() + separator.size();
  BRAID_RETURN_IF_ERROR(budget.Bytes(size));
  BRAID_RETURN_IF_ERROR(budget.Step(parts.size()));
  Text out;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) out.Append(separator);
    out.Append(parts[i]);
  }
  return out;
}

std::vector<Text> SplitLines(const Text& text, bool keep_ends) {
  std::vector<Text> lines;
  size_t begin = 0;
  for (size_t i = 0; i < text.size();) {
    const Character c = CharacterAt(text.bytes(), i);
    size_t end = i + c.length;
    const bool ends_line =
        c.valid && ((c.code >= 0x0A && c.code <= 0x0D) ||
                    (c.code >= 0x1C && c.code <= 0x1E) || c.code == 0x85 ||
                    c.code == 0x2028 || c.code == 0x2029);
    if (ends_line) {
      if (c.code == '\r' && end < text.size() && text.bytes()[end] == '\n') {
        ++end;
      }
      lines.push_back(text.Slice(begin, keep_ends ? end : i));
      begin = end;
    }
    i = end;
  }
  if (begin < text.size()) lines.push_back(text.Slice(begin, text.size()));
  return lines;
}

bool IsAllUpper(const Text& text) {
  bool any = false;
  const bool none_lower = AllCharacters(text, [&](char32_t c) {
    any = any || IsUpper(c);
    return !IsLower(c);
  });
  return none_lower && any;
}

bool IsAllLower(const Text& text) {
  bool any = false;
  const bool none_upper = AllCharacters(text, [&](char32_t c) {
    any = any || IsLower(c);
    return !IsUpper(c);
  });
  return none_upper && any;
}

}  // namespace braid::jinja
