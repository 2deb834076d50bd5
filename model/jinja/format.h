// Values as text: Python's str() and repr(), json.dumps, strftime.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "model/jinja/value.h"

namespace braid::jinja {

std::string FloatRepr(double value);
// Marks of strings inside lists and dicts are kept. An error for what Python
// would print as an address.
absl::StatusOr<Text> Str(Budget& budget, const Value& value);
absl::StatusOr<Text> Repr(Budget& budget, const Value& value);

struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  bool indented = false;
  std::string indent;  // per level
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};
// As a whole user text if any string in it is: the quotes of a user's string
// must not become part of something special either.
absl::StatusOr<Text> DumpJson(Budget& budget, const Value& value,
                              const JsonStyle& style);

// UTC, C locale.
absl::StatusOr<std::string> FormatTime(int64_t unix_seconds,
                                       const std::string& format);

}  // namespace braid::jinja
