// What the world does to a simulated cluster, by seed. Every kind draws from a
// stream of its own, so that leaving one out changes nothing about when the
// others would have struck: a failing seed can be shrunk.
//
// Thread safety: one thread.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/rng.h"

namespace braid {

enum class FaultKind : uint8_t {
  kMessageLoss,
  kMessageDelay,
  kMessageDuplicate,
  kMessageReorder,
  kTransferFailure,
  kOpenRefused,
  kByteFlip,
  kDeviceCrash,
  kNodeCrash,
  kStepFailure,
  kSlowDevice,
  kFullPool,
  kCancel,
  kDeadline,
  kSlowReader,
  kClockJump,
  kLateCompletion,
  kDuplicateCompletion,
};
inline constexpr int kFaultKindCount = 18;

absl::string_view ToString(FaultKind kind);  // "message-loss", as --faults has
absl::string_view Describe(FaultKind kind);  // one line, for --help

class FaultSet {
 public:
  static FaultSet All() { return FaultSet((1u << kFaultKindCount) - 1); }
  static FaultSet None() { return FaultSet(0); }
  // "message-loss,cancel", "all" or "none". INVALID_ARGUMENT names what is
  // unknown, and what is known.
  static absl::StatusOr<FaultSet> Parse(absl::string_view list);

  bool contains(FaultKind kind) const {
    return (bits_ >> static_cast<int>(kind)) & 1;
  }
  void Remove(FaultKind kind) { bits_ &= ~(1u << static_cast<int>(kind)); }
  bool empty() const { return bits_ == 0; }
  friend bool operator==(FaultSet, FaultSet) = default;

 private:
  explicit FaultSet(uint32_t bits) : bits_(bits) {}
  uint32_t bits_;
};
std::string ToString(FaultSet faults);  // as Parse takes it

class FaultSource final {
 public:
  // Of the allowed kinds a seed takes about two thirds, each at a rate of its
  // own: what one kind hides another run shows. After `limit` faults none
  // happens any more.
  FaultSource(uint64_t seed, FaultSet allowed, uint64_t limit);

  // Whether a fault of this kind happens here and now. `share` is the
  // probability at the rate 1.
  bool Happens(FaultKind kind, double share);
  // Whether it is on in this seed at all.
  bool on(FaultKind kind) const;
  // A value of the kind's own stream: how much, where, when.
  uint64_t Below(FaultKind kind, uint64_t bound);
  double Uniform(FaultKind kind);

  uint64_t injected() const { return injected_; }
  uint64_t injected(FaultKind kind) const {
    return by_kind_[static_cast<size_t>(kind)];
  }

 private:
  struct Stream {
    Rng rng{0};
    double rate = 0;  // 0: off in this seed
  };
  Stream& stream(FaultKind kind) { return streams_[static_cast<size_t>(kind)]; }

  const uint64_t limit_;
  uint64_t injected_ = 0;
  std::array<uint64_t, kFaultKindCount> by_kind_{};
  std::array<Stream, kFaultKindCount> streams_;
};

}  // namespace braid
