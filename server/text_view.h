// server/ speaks absl::string_view, as StrCat and its kin do; model/ speaks
// std::string_view. Where Abseil was built for C++14 (Debian 12) these are two
// types.
#pragma once

#include <string_view>

#include "absl/strings/string_view.h"

namespace braid::server {

inline std::string_view ToStd(absl::string_view text) {
  return {text.data(), text.size()};
}
inline absl::string_view ToAbsl(std::string_view text) {
  return {text.data(), text.size()};
}

}  // namespace braid::server
