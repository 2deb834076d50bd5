#include "server/openai/field_reader.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/request_error.h"
#include "server/text_view.h"

namespace braid::server {
namespace {

std::string WithArticle(absl::string_view noun) {
  if (noun == "null") return "null";
  const bool vowel = noun.find_first_of("aeio") == 0;
  return absl::StrCat(vowel ? "an " : "a ", noun);
}

}  // namespace

FieldReader::FieldReader(const JsonValue& object, std::string path)
    : object_(object), path_(std::move(path)) {}

const JsonValue* FieldReader::Get(absl::string_view key) const {
  const JsonValue* value = object_.Find(ToStd(key));
  return value == nullptr || value->is_null() ? nullptr : value;
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
  if (value->integer() == nullptr) {
    FailType(key, "an integer", *value);
    return std::nullopt;
  }
  const int64_t number = *value->integer();
  if (number < min || number > max) {
    Fail(key,
         absl::StrCat("must be between ", min, " and ", max, ", not ", number));
    return std::nullopt;
  }
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
