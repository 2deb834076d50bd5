// Writes JSON with every number printed the same way every time: nine
// significant digits, no locale. Keys come in the order of the calls.
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace braid {

class JsonWriter final {
 public:
  JsonWriter& BeginObject();
  JsonWriter& EndObject();
  JsonWriter& BeginArray();
  JsonWriter& EndArray();
  JsonWriter& Key(absl::string_view key);
  JsonWriter& Value(double value);
  JsonWriter& Value(uint64_t value);
  JsonWriter& Value(uint32_t value) { return Value(uint64_t{value}); }
  JsonWriter& Value(absl::string_view text);
  JsonWriter& Value(const char* text) { return Value(absl::string_view(text)); }
  JsonWriter& Value(bool value);
  template <typename T>
  JsonWriter& Field(absl::string_view key, const T& value) {
    return Key(key).Value(value);
  }

  // The finished text, with a newline at its end.
  std::string Take();

 private:
  void Separate();
  std::string text_;
  bool first_ = true;  // of its object or array
  bool after_key_ = false;
};

}  // namespace braid
