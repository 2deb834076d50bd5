// Which blocks are alike, for ReuseModel: what a request did with a block says
// how soon the next one will want it.
//
//   fresh       first block(s) of a sequence that nobody has seen before: will
//               there be a second turn? Depends on the length of the first
//   continued   new tokens behind a known prefix: the answer and the next
//               question (short, comes back as history), or a document pasted
//               for this turn alone (long, does not); the oftener the end of
//               that prefix was used, the surer
//   used again  part of a known prefix: the more turns, the surer the next
//   hub         a common root (a system prompt, a document that many ask
//               about): used again at once, by anybody
//   spare       of a sequence that is a luxury (PARSCALE streams in idle rows):
//               leaves first, and teaches nothing about the others
//   superseded  the sequence came back and took another branch here; what hung
//               below has next to no future
//
// Lengths are in tokens, so that classes do not depend on the block size.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "kvcache/reuse_model.h"

namespace braid {

inline constexpr int kFreshClasses = 8;
inline constexpr int kMostPrefixUses = 4;
inline constexpr int kContinuedClasses = 4 * kMostPrefixUses;
inline constexpr int kUsedAgainClasses = 6;
inline constexpr int kSupersededClasses = 3;
inline constexpr int kReuseClasses = kFreshClasses + kContinuedClasses +
                                     kUsedAgainClasses + kSupersededClasses + 1;
inline constexpr uint8_t kHubClass = kReuseClasses - 1;
inline constexpr uint8_t kSpareClass = kReuseClasses;  // not the model's

// A block with so many children or more is a hub: who branches off there does
// not supersede anybody.
inline constexpr int kHubChildren = 4;
// More new tokens than that are more than a turn of a conversation.
inline constexpr uint64_t kTurnTokens = 4096;

inline ReuseClass FreshClass(uint64_t new_tokens) {
  const int octave = std::bit_width(new_tokens / 512);
  return static_cast<ReuseClass>(std::min(octave, kFreshClasses - 1));
}

// `prefix_uses`: of the last block of the known prefix, without this one.
// `distance`: tokens between that prefix and the block.
inline ReuseClass ContinuedClass(int prefix_uses, uint64_t new_tokens,
                                 uint64_t distance) {
  const int uses = std::clamp(prefix_uses, 1, kMostPrefixUses) - 1;
  return static_cast<ReuseClass>(kFreshClasses + 4 * uses +
                                 2 * (distance >= 1024) +
                                 (new_tokens >= kTurnTokens));
}

// `uses`: this one included, so at least 2.
inline ReuseClass UsedAgainClass(int uses, uint64_t new_tokens) {
  return static_cast<ReuseClass>(kFreshClasses + kContinuedClasses +
                                 2 * (std::clamp(uses, 2, 4) - 2) +
                                 (new_tokens >= kTurnTokens));
}

// `children`: how many the block above had before the new branch.
inline ReuseClass SupersededClass(int children) {
  return static_cast<ReuseClass>(kHubClass - kSupersededClasses +
                                 std::clamp(children, 1, 3) - 1);
}

}  // namespace braid
