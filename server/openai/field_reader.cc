#include "server/openai/field_reader.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "server/request_error.h"
#include "server/text_view.h"

namespace braid::server {
namespace {

// Up to here a double has every integer.
constexpr double kExactIntegers = 9007199254740992;  // 2^53

std::string WithArticle(absl::string_view noun) {
  if (noun == "null") return "null";
  const bool vowel = noun.find_first_of("aeio") == 0;
  return absl::StrCat(vowel ? "an " : "a ", noun);
}

bool IsFieldName(absl::string_view text) {
  return !text.empty() && text.size() <= 64 &&
         std::ranges::all_of(text, [](unsigned char c) {
           return absl::ascii_isalnum(c) || c == '_' || c == '-' || c == '.';
         });
}

}  // namespace

absl::StatusOr<JsonValue> ParseBody(absl::string_view body) {
  if (absl::StripAsciiWhitespace(body).empty()) {
    return absl::InvalidArgumentError("the body is empty; send a JSON object");
  }
  absl::StatusOr<JsonValue> document = ParseJson(ToStd(body));
  if (!document.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the body cannot be read: ", document.status().message()));
  }
  if (document->object() == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("the body must be a JSON object, not ",
                     WithArticle(document->type_name())));
  }
  return document;
}

FieldReader::FieldReader(const JsonValue& object, std::string path)
    : object_(object), path_(std::move(path)) {
  if (object_.object() != nullptr) read_.resize(object_.object()->size());
}

const JsonValue* FieldReader::Get(absl::string_view key) {
  for (size_t i = 0; i < read_.size(); ++i) {
    const auto& [name, value] = (*object_.object())[i];
    if (name != key) continue;
    read_[i] = true;
    return value.is_null() ? nullptr : &value;
  }
  return nullptr;
}

std::vector<std::string> FieldReader::Unread() const {
  std::vector<std::string> unread = unread_below_;
  for (size_t i = 0; i < read_.size() && unread.size() < kMostUnread; ++i) {
    const auto& [name, value] = (*object_.object())[i];
    if (read_[i] || value.is_null()) continue;
    unread.push_back(IsFieldName(name) ? absl::StrCat(path_, name) : "other");
  }
  return unread;
}

void FieldReader::Fail(absl::string_view key, absl::string_view message) {
  if (!status_.ok()) return;
  status_ = InvalidField(absl::StrCat(path_, key), message);
}

void FieldReader::FailType(absl::string_view key, absl::string_view wanted,
                           const JsonValue& got) {
  Fail(key, absl::StrCat("must be ", wanted, ", not ",
                         WithArticle(got.type_name())));
}

void FieldReader::Adopt(const FieldReader& nested) {
  if (status_.ok()) status_ = nested.status_;
  const std::vector<std::string> unread = nested.Unread();
  unread_below_.insert(unread_below_.end(), unread.begin(), unread.end());
}

bool FieldReader::Bool(absl::string_view key, bool fallback) {
  const JsonValue* value = Get(key);
  if (value == nullptr) return fallback;
  if (value->boolean() == nullptr) {
    FailType(key, "a boolean", *value);
    return fallback;
  }
  return *value->boolean();
}

std::optional<int64_t> FieldReader::OptionalInteger(absl::string_view key,
                                                    int64_t min, int64_t max) {
  const JsonValue* value = Get(key);
  if (value == nullptr) return std::nullopt;
  const auto out_of_range = [&](auto number) {
    Fail(key,
         absl::StrCat("must be between ", min, " and ", max, ", not ", number));
    return std::nullopt;
  };
  if (const double* real = value->real()) {
    // 4.0 is an integer to JSON, as is one of more than 64 bits.
    if (*real != std::floor(*real)) {
      Fail(key, absl::StrCat("must be an integer, not ", *real));
      return std::nullopt;
    }
    if (!(std::abs(*real) <= kExactIntegers)) return out_of_range(*real);
  } else if (value->integer() == nullptr) {
    FailType(key, "an integer", *value);
    return std::nullopt;
  }
  const int64_t number = value->integer() != nullptr
                             ? *value->integer()
                             : static_cast<int64_t>(*value->real());
  if (number < min || number > max) return out_of_range(number);
  return number;
}

int64_t FieldReader::Integer(absl::string_view key, int64_t fallback,
                             int64_t min, int64_t max) {
  return OptionalInteger(key, min, max).value_or(fallback);
}

double FieldReader::Number(absl::string_view key, double fallback, double min,
                           double max) {
  const JsonValue* value = Get(key);
  if (value == nullptr) return fallback;
  double number = 0;
  if (value->integer() != nullptr) {
    number = static_cast<double>(*value->integer());
  } else if (value->real() != nullptr) {
    number = *value->real();
  } else {
    FailType(key, "a number", *value);
    return fallback;
  }
  if (!(number >= min && number <= max)) {
    Fail(key,
         absl::StrCat("must be between ", min, " and ", max, ", not ", number));
    return fallback;
  }
  return number;
}

std::string FieldReader::String(absl::string_view key, std::string fallback) {
  const JsonValue* value = Get(key);
  if (value == nullptr) return fallback;
  if (value->string() == nullptr) {
    FailType(key, "a string", *value);
    return fallback;
  }
  return *value->string();
}

}  // namespace braid::server
