// Any bytes as JSON: what is read, written and read again is the same.

#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "model/json_value.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto value = braid::ParseJson(text);
  if (value.ok()) {
    const std::string written = braid::ToJson(*value);
    const auto again = braid::ParseJson(written);
    BRAID_CHECK_MSG(again.ok(), written);
    BRAID_CHECK_MSG(braid::ToJson(*again) == written, written);
  }
  std::string escaped = "\"";
  braid::AppendJsonEscaped(text, escaped);
  BRAID_CHECK(braid::ParseJson(escaped + "\"").ok());
  return 0;
}
