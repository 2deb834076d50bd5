// The bound on PARSCALE streams that the model's sets and the scheduler's
// gangs, which do not know each other, have in common.
#pragma once

#include <cstdint>

namespace braid {

// Most streams that a request has, of any set; stream 0 is one of them.
inline constexpr int32_t kMostStreams = 8;

}  // namespace braid
