#include "model/jinja/format.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <ctime>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/jinja/unicode.h"
#include "model/json_value.h"

namespace braid::jinja {
namespace {

constexpr char kHex[] = "0123456789abcdef";

void AppendHex(char32_t code, int digits, std::string& out) {
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) {
    out += kHex[(code >> shift) & 15];
  }
}

void AppendQuoted(const Text& text, Text& out) {
  const std::string& bytes = text.bytes();
  const bool has_single = bytes.find('\'') != std::string::npos;
  const bool has_double = bytes.find('"') != std::string::npos;
  const char quote = has_single && !has_double ? '"' : '\'';
  out.Append(std::string_view(&quote, 1), false);
  std::string piece;
  for (size_t i = 0; i < bytes.size();) {
    const Character c = CharacterAt(bytes, i);
    piece.clear();
    if (c.code == static_cast<unsigned char>(quote) || c.code == '\\') {
      piece += '\\';
      piece += static_cast<char>(c.code);
    } else if (c.code == '\n') {
      piece = "\\n";
    } else if (c.code == '\r') {
      piece = "\\r";
    } else if (c.code == '\t') {
      piece = "\\t";
    } else if (!c.valid || IsPrintable(c.code)) {
      piece = bytes.substr(i, c.length);
    } else if (c.code < 0x100) {
      piece = "\\x";
      AppendHex(c.code, 2, piece);
    } else if (c.code < 0x10000) {
      piece = "\\u";
      AppendHex(c.code, 4, piece);
    } else {
      piece = "\\U";
      AppendHex(c.code, 8, piece);
    }
    out.Append(piece, text.IsUser(i));
    i += c.length;
  }
  out.Append(std::string_view(&quote, 1), false);
}

absl::Status AppendRepr(Budget& budget, const Value& value, Text& out);

absl::Status AppendListRepr(Budget& budget, const List& list, Text& out) {
  if (list.kind == ListKind::kIterator) {
    return Error("an iterator has no text; turn it into a list first");
  }
  const bool tuple = list.kind == ListKind::kTuple;
  out.Append(tuple ? "(" : "[", false);
  for (size_t i = 0; i < list.items.size(); ++i) {
    if (i > 0) out.Append(", ", false);
    BRAID_RETURN_IF_ERROR(AppendRepr(budget, list.items[i], out));
  }
  if (tuple && list.items.size() == 1) out.Append(",", false);
  out.Append(tuple ? ")" : "]", false);
  return absl::OkStatus();
}

absl::Status AppendRepr(Budget& budget, const Value& value, Text& out) {
  BRAID_RETURN_IF_ERROR(budget.Step(value.text() ? value.weight() : 1));
  if (out.size() > Budget::kMaxBytes) return budget.Bytes(out.size());
  int64_t integer = 0;
  double real = 0;
  if (const Text* text = value.text()) {
    AppendQuoted(*text, out);
  } else if (value.is_undefined()) {
    out.Append("Undefined", false);
  } else if (value.is_none()) {
    out.Append("None", false);
  } else if (const bool* flag = value.boolean()) {
    out.Append(*flag ? "True" : "False", false);
  } else if (value.AsInteger(&integer)) {
    out.Append(absl::StrCat(integer), false);
  } else if (value.AsReal(&real)) {
    out.Append(FloatRepr(real), false);
  } else if (const List* list = value.list()) {
    return AppendListRepr(budget, *list, out);
  } else if (const Dict* dict = value.dict()) {
    const char* separator = "{";
    for (const auto& [key, member] : dict->items) {
      out.Append(std::exchange(separator, ", "), false);
      BRAID_RETURN_IF_ERROR(AppendRepr(budget, key, out));
      out.Append(": ", false);
      BRAID_RETURN_IF_ERROR(AppendRepr(budget, member, out));
    }
    out.Append(dict->items.empty() ? "{}" : "}", false);
  } else {
    return Error(std::string("a value of type '") + value.type_name() +
                 "' has no text");
  }
  return absl::OkStatus();
}

class JsonDumper {
 public:
  JsonDumper(Budget& budget, const JsonStyle& style)
      : budget_(budget), style_(style) {}

  absl::Status Dump(const Value& value, int level) {
    BRAID_RETURN_IF_ERROR(budget_.Step(value.text() ? value.weight() : 1));
    if (out_.size() > Budget::kMaxBytes) return budget_.Bytes(out_.size());
    if (const Text* text = value.text()) {
      Quote(*text);
    } else if (const Dict* dict = value.dict()) {
      return DumpDict(*dict, level);
    } else if (value.list() != nullptr &&
               value.list()->kind != ListKind::kIterator) {
      const char* separator = "";
      out_ += '[';
      for (const Value& item : value.list()->items) {
        out_ += std::exchange(separator, style_.item_separator.c_str());
        NewLine(level + 1);
        BRAID_RETURN_IF_ERROR(Dump(item, level + 1));
      }
      if (!value.list()->items.empty()) NewLine(level);
      out_ += ']';
    } else if (!Scalar(value)) {
      return Error(std::string("Object of type ") + value.type_name() +
                   " is not JSON serializable");
    }
    return absl::OkStatus();
  }

  Text Take() { return Text(std::move(out_), user_); }

 private:
  bool Scalar(const Value& value) {
    int64_t integer = 0;
    double real = 0;
    if (value.is_none()) {
      out_ += "null";
    } else if (const bool* flag = value.boolean()) {
      out_ += *flag ? "true" : "false";
    } else if (value.AsInteger(&integer)) {
      absl::StrAppend(&out_, integer);
    } else if (value.AsReal(&real)) {
      out_ += std::isnan(real)   ? "NaN"
              : std::isinf(real) ? (real > 0 ? "Infinity" : "-Infinity")
                                 : FloatRepr(real);
    } else {
      return false;
    }
    return true;
  }

  absl::Status DumpDict(const Dict& dict, int level) {
    std::vector<const std::pair<Value, Value>*> order;
    for (const auto& item : dict.items) order.push_back(&item);
    if (style_.sort_keys) {
      BRAID_RETURN_IF_ERROR(budget_.Step(4 * order.size()));
      absl::Status status;
      std::stable_sort(order.begin(), order.end(), [&](auto* a, auto* b) {
        const auto sign = Compare(a->first, b->first);
        if (!sign.ok()) status = sign.status();
        return sign.ok() && *sign < 0;
      });
      BRAID_RETURN_IF_ERROR(status);
    }
    const char* separator = "";
    out_ += '{';
    for (const auto* item : order) {
      out_ += std::exchange(separator, style_.item_separator.c_str());
      NewLine(level + 1);
      if (item->first.text() != nullptr) {
        Quote(*item->first.text());
      } else {
        out_ += '"';
        if (!Scalar(item->first)) return Error("keys of JSON are strings");
        out_ += '"';
      }
      out_ += style_.key_separator;
      BRAID_RETURN_IF_ERROR(Dump(item->second, level + 1));
    }
    if (!order.empty()) NewLine(level);
    out_ += '}';
    return absl::OkStatus();
  }

  void NewLine(int level) {
    if (!style_.indented) return;
    out_ += '\n';
    for (int i = 0; i < level; ++i) out_ += style_.indent;
  }

  void Quote(const Text& text) {
    user_ = user_ || text.HasUser();
    out_ += '"';
    if (!style_.ensure_ascii) {
      AppendJsonEscaped(text.bytes(), out_);
    } else {
      std::string escaped;
      AppendJsonEscaped(text.bytes(), escaped);
      AppendAscii(escaped);
    }
    out_ += '"';
  }

  void AppendAscii(const std::string& escaped) {
    for (size_t i = 0; i < escaped.size();) {
      const Character c = CharacterAt(escaped, i);
      i += c.length;
      if (c.code < 0x7F) {
        out_ += static_cast<char>(c.code);
      } else if (c.code < 0x10000) {
        out_ += "\\u";
        AppendHex(c.code, 4, out_);
      } else {
        out_ += "\\u";
        AppendHex(0xD800 + ((c.code - 0x10000) >> 10), 4, out_);
        out_ += "\\u";
        AppendHex(0xDC00 + ((c.code - 0x10000) & 0x3FF), 4, out_);
      }
    }
  }

  Budget& budget_;
  const JsonStyle& style_;
  std::string out_;
  bool user_ = false;
};

}  // namespace

std::string FloatRepr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[40];
  char* const end = std::to_chars(buffer, buffer + sizeof(buffer), value,
                                  std::chars_format::scientific)
                        .ptr;
  // d.ddde[+-]xx: the shortest digits; only their layout is Python's own.
  const std::string text(buffer, end);
  const size_t e = text.find('e');
  const int exponent = std::atoi(text.c_str() + e + 1);
  if (exponent < -4 || exponent >= 16) return text;
  std::string sign = text[0] == '-' ? "-" : "";
  std::string digits;
  for (char c : text.substr(0, e)) {
    if (c >= '0' && c <= '9') digits += c;
  }
  if (exponent < 0) {
    return sign + "0." + std::string(-exponent - 1, '0') + digits;
  }
  const size_t whole = static_cast<size_t>(exponent) + 1;
  if (digits.size() <= whole) {
    return sign + digits + std::string(whole - digits.size(), '0') + ".0";
  }
  return sign + digits.substr(0, whole) + "." + digits.substr(whole);
}

absl::StatusOr<Text> Str(Budget& budget, const Value& value) {
  if (value.text() != nullptr) {
    BRAID_RETURN_IF_ERROR(budget.Bytes(value.text()->size()));
    return *value.text();
  }
  if (value.is_undefined()) return Text();
  return Repr(budget, value);
}

absl::StatusOr<Text> Repr(Budget& budget, const Value& value) {
  Text out;
  BRAID_RETURN_IF_ERROR(AppendRepr(budget, value, out));
  BRAID_RETURN_IF_ERROR(budget.Bytes(out.size()));
  return out;
}

absl::StatusOr<Text> DumpJson(Budget& budget, const Value& value,
                              const JsonStyle& style) {
  JsonDumper dumper(budget, style);
  BRAID_RETURN_IF_ERROR(dumper.Dump(value, 0));
  Text text = dumper.Take();
  BRAID_RETURN_IF_ERROR(budget.Bytes(text.size()));
  return text;
}

absl::StatusOr<std::string> FormatTime(int64_t unix_seconds,
                                       const std::string& format) {
  if (format.size() > 256 || format.find('\0') != std::string::npos) {
    return Error("strftime_now: the format is longer than 256 characters");
  }
  const time_t time = static_cast<time_t>(unix_seconds);
  std::tm parts{};
  if (gmtime_r(&time, &parts) == nullptr) {
    return Error("strftime_now: the time is out of range");
  }
  char buffer[4096];
  const size_t length =
      std::strftime(buffer, sizeof(buffer), format.c_str(), &parts);
  if (length == 0 && !format.empty()) {
    return Error("strftime_now: the format gives no or too much text");
  }
  return std::string(buffer, length);
}

}  // namespace braid::jinja
