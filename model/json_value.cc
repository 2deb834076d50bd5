#include "model/json_value.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <numeric>

#include <simdjson.h>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace braid {
namespace {

namespace ondemand = simdjson::ondemand;

constexpr int kMaxDepth = 64;

// The text is parsed as the only element of an array, "[text]": simdjson
// treats a scalar at the top differently from one inside, and this way there
// is one path and one rule for what may follow the value.
class Reader {
 public:
  explicit Reader(std::string_view text) : padded_(text.size() + 2) {
    padded_.data()[0] = '[';
    if (!text.empty()) {
      std::copy(text.begin(), text.end(), padded_.data() + 1);
    }
    padded_.data()[text.size() + 1] = ']';
  }

  absl::StatusOr<JsonValue> Read() {
    auto error = parser_.iterate(padded_).get(document_);
    if (error) return Error(error);
    visiting_ = true;
    ondemand::array outer;
    if ((error = document_.get_array().get(outer))) return Error(error);
    JsonValue result;
    int values = 0;
    for (auto element : outer) {
      ondemand::value value;
      if ((error = element.get(value))) return Error(error);
      if (++values > 1) return Malformed("more than one value");
      BRAID_ASSIGN_OR_RETURN(result, ReadValue(value, 0));
    }
    if (values == 0) return Malformed("no value");
    if (document_.current_location().error() != simdjson::OUT_OF_BOUNDS) {
      return Malformed("text after the value");
    }
    return result;
  }

 private:
  absl::StatusOr<JsonValue> ReadValue(ondemand::value value, int depth) {
    if (depth >= kMaxDepth) {
      return Malformed(absl::StrCat("nested deeper than ", kMaxDepth));
    }
    ondemand::json_type type;
    if (auto error = value.type().get(type)) return Error(error);
    switch (type) {
      case ondemand::json_type::array:
        return ReadArray(value, depth);
      case ondemand::json_type::object:
        return ReadObject(value, depth);
      case ondemand::json_type::number:
        return ReadNumber(value);
      case ondemand::json_type::string: {
        std::string_view text;
        if (auto error = value.get_string().get(text)) return Error(error);
        return JsonValue(text);
      }
      case ondemand::json_type::boolean: {
        bool flag = false;
        if (auto error = value.get_bool().get(flag)) return Error(error);
        return JsonValue(flag);
      }
      case ondemand::json_type::null: {
        bool is_null = false;
        if (auto error = value.is_null().get(is_null)) return Error(error);
        if (!is_null) return Malformed("not a JSON value");
        return JsonValue();
      }
    }
    return Malformed("not a JSON value");
  }

  absl::StatusOr<JsonValue> ReadArray(ondemand::value value, int depth) {
    ondemand::array source;
    if (auto error = value.get_array().get(source)) return Error(error);
    JsonValue::Array array;
    for (auto item : source) {
      ondemand::value element;
      if (auto error = item.get(element)) return Error(error);
      BRAID_ASSIGN_OR_RETURN(array.emplace_back(),
                             ReadValue(element, depth + 1));
    }
    return JsonValue(std::move(array));
  }

  absl::StatusOr<JsonValue> ReadObject(ondemand::value value, int depth) {
    ondemand::object source;
    if (auto error = value.get_object().get(source)) return Error(error);
    JsonValue::Object object;
    for (auto item : source) {
      std::string_view key;
      if (auto error = item.unescaped_key().get(key)) return Error(error);
      ondemand::value element;
      if (auto error = item.value().get(element)) return Error(error);
      auto& member = object.emplace_back(std::string(key), JsonValue());
      BRAID_ASSIGN_OR_RETURN(member.second, ReadValue(element, depth + 1));
    }
    KeepLastOfEachKey(object);
    return JsonValue(std::move(object));
  }

  // As Python's dict(): the place of the first, the value of the last.
  static void KeepLastOfEachKey(JsonValue::Object& object) {
    std::vector<size_t> order(object.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      return object[a].first < object[b].first;
    });
    std::vector<bool> drop(object.size());
    bool any = false;
    for (size_t i = 0; i < order.size();) {
      size_t end = i + 1;
      while (end < order.size() &&
             object[order[end]].first == object[order[i]].first) {
        drop[order[end++]] = true;
      }
      if (end - i > 1) {
        any = true;
        object[order[i]].second = std::move(object[order[end - 1]].second);
      }
      i = end;
    }
    if (!any) return;
    size_t kept = 0;
    for (size_t i = 0; i < object.size(); ++i) {
      if (drop[i]) continue;
      if (kept != i) object[kept] = std::move(object[i]);
      ++kept;
    }
    object.resize(kept);
  }

  absl::StatusOr<JsonValue> ReadNumber(ondemand::value value) {
    std::string token(value.raw_json_token());
    absl::StripAsciiWhitespace(&token);
    ondemand::number number;
    const auto error = value.get_number().get(number);
    if (!error) {
      switch (number.get_number_type()) {
        case ondemand::number_type::signed_integer:
          return JsonValue(number.get_int64());
        case ondemand::number_type::unsigned_integer:
          return JsonValue(static_cast<double>(number.get_uint64()));
        case ondemand::number_type::floating_point_number:
          return JsonValue(number.get_double());
      }
    }
    // simdjson refuses integers of more than 64 bits; JSON does not.
    const size_t first = token.starts_with('-') ? 1 : 0;
    if (token.size() - first >= 19 && token[first] != '0' &&
        std::all_of(token.begin() + first, token.end(), absl::ascii_isdigit)) {
      double real = 0;
      const auto read =
          std::from_chars(token.data(), token.data() + token.size(), real);
      if (read.ec == std::errc()) return JsonValue(real);
      return Malformed("number out of range");
    }
    return Error(error);
  }

  absl::Status Error(simdjson::error_code error) {
    return Malformed(simdjson::error_message(error));
  }

  absl::Status Malformed(const std::string& what) {
    const char* at = nullptr;
    size_t offset = 0;
    // Without a location the text failed before any of it was visited (not
    // UTF-8, an open string) or ended too early.
    if (visiting_ &&
        document_.current_location().get(at) == simdjson::SUCCESS &&
        at > padded_.data()) {
      offset = std::min<size_t>(at - padded_.data() - 1, padded_.size() - 2);
    }
    return absl::InvalidArgumentError(
        absl::StrCat("JSON at byte ", offset, ": ", what));
  }

  simdjson::padded_string padded_;
  ondemand::parser parser_;
  ondemand::document document_;
  bool visiting_ = false;  // whether document_ has a location
};

// Length of the valid UTF-8 sequence at the start of `text`, or 0; `*skip` is
// then the length of the maximal part that one U+FFFD stands for.
size_t Utf8Length(std::string_view text, size_t* skip) {
  *skip = 1;
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead < 0xC2 || lead > 0xF4) return 0;
  const size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  uint8_t low = 0x80, high = 0xBF;
  if (lead == 0xE0) low = 0xA0;   // overlong
  if (lead == 0xED) high = 0x9F;  // surrogates
  if (lead == 0xF0) low = 0x90;   // overlong
  if (lead == 0xF4) high = 0x8F;  // above U+10FFFF
  for (size_t i = 1; i < length; ++i) {
    if (i >= text.size() || byte(i) < low || byte(i) > high) return 0;
    *skip = i + 1;
    low = 0x80;
    high = 0xBF;
  }
  return length;
}

void AppendNumber(double value, std::string& out) {
  if (!std::isfinite(value)) {  // JSON has no word for it
    out += "null";
    return;
  }
  char buffer[32];
  // The default form spells large values out to the last digit, and more
  // digits than a double has are not read back reliably.
  char* const end =
      std::abs(value) < 1e16
          ? std::to_chars(buffer, buffer + sizeof(buffer), value).ptr
          : std::to_chars(buffer, buffer + sizeof(buffer), value,
                          std::chars_format::scientific)
                .ptr;
  const std::string_view text(buffer, end - buffer);
  out += text;
  // A real stays a real when read back.
  if (text.find_first_of(".e") == std::string_view::npos) out += ".0";
}

void AppendJson(const JsonValue& value, std::string& out) {
  if (const bool* flag = value.boolean()) {
    out += *flag ? "true" : "false";
  } else if (const int64_t* integer = value.integer()) {
    absl::StrAppend(&out, *integer);
  } else if (const double* real = value.real()) {
    AppendNumber(*real, out);
  } else if (const std::string* text = value.string()) {
    out += '"';
    AppendJsonEscaped(*text, out);
    out += '"';
  } else if (const JsonValue::Array* array = value.array()) {
    const char* separator = "[";
    for (const JsonValue& element : *array) {
      out += std::exchange(separator, ",");
      AppendJson(element, out);
    }
    out += array->empty() ? "[]" : "]";
  } else if (const JsonValue::Object* object = value.object()) {
    const char* separator = "{";
    for (const auto& [key, member] : *object) {
      out += std::exchange(separator, ",");
      out += '"';
      AppendJsonEscaped(key, out);
      out += "\":";
      AppendJson(member, out);
    }
    out += object->empty() ? "{}" : "}";
  } else {
    out += "null";
  }
}

}  // namespace

const JsonValue* JsonValue::Find(std::string_view key) const {
  const Object* members = object();
  if (members == nullptr) return nullptr;
  for (const auto& [name, value] : *members) {
    if (name == key) return &value;
  }
  return nullptr;
}

const char* JsonValue::type_name() const {
  constexpr const char* kNames[] = {"null",   "boolean", "integer", "number",
                                    "string", "array",   "object"};
  return kNames[value_.index()];
}

absl::StatusOr<JsonValue> ParseJson(std::string_view text) {
  return Reader(text).Read();
}

void AppendJsonEscaped(std::string_view text, std::string& out) {
  constexpr char kHex[] = "0123456789abcdef";
  while (!text.empty()) {
    const char c = text.front();
    size_t used = 1;
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c == '\b') {
      out += "\\b";
    } else if (c == '\f') {
      out += "\\f";
    } else if (static_cast<uint8_t>(c) < 0x20) {
      out += "\\u00";
      out += kHex[c >> 4];
      out += kHex[c & 15];
    } else if (const size_t length = Utf8Length(text, &used)) {
      out += text.substr(0, length);
      used = length;
    } else {
      out += "\xEF\xBF\xBD";
    }
    text.remove_prefix(used);
  }
}

std::string ToJson(const JsonValue& value) {
  std::string out;
  AppendJson(value, out);
  return out;
}

}  // namespace braid
