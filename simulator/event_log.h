// What happened in a run: the last events as readable lines, a digest of all of
// them, and the first thing that went wrong.
//
// Adding costs a few nanoseconds: events are plain numbers, lines are made of
// those that are asked for.
//
// Thread safety: one thread.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"

namespace braid {

enum class LogKind : uint8_t {
  kArrive,
  kSubmit,
  kRefused,
  kTurn,
  kLaunch,
  kProgress,
  kStepDone,
  kStepFailed,
  kOpen,
  kOpenRefused,
  kPost,
  kSend,
  kLost,
  kDuplicated,
  kFlipped,
  kDelivered,
  kLateDropped,
  kTransferEnd,
  kTransferCancel,
  kScores,
  kToken,
  kFinish,
  kCancel,
  kReplay,
  kDeviceCrash,
  kDeviceBack,
  kSlowDevice,
  kNodeCrash,
  kNodeBack,
  kClockJump,
};
inline constexpr int kLogKindCount = 30;

class EventLog final {
 public:
  static constexpr size_t kKept = 64;

  // What `a`, `b` and `c` are depends on the kind (event_log.cc).
  void Add(TimePoint time, uint32_t node, LogKind kind, int64_t a = 0,
           int64_t b = 0, int64_t c = 0);

  // The first one counts.
  void Violate(std::string what) {
    if (violation_.empty()) violation_ = std::move(what);
  }
  bool violated() const { return !violation_.empty(); }
  const std::string& violation() const { return violation_; }

  uint64_t digest() const { return digest_; }
  // Oldest first.
  std::vector<std::string> LastLines() const;
  // Every line goes there as well, as it happens.
  void EchoTo(int descriptor) { echo_ = descriptor; }

 private:
  struct Entry {
    TimePoint time;
    uint32_t node;
    LogKind kind;
    int64_t a, b, c;
  };
  static std::string Line(const Entry& entry);

  std::array<Entry, kKept> ring_;
  uint64_t added_ = 0;
  uint64_t digest_ = 0;
  std::string violation_;
  int echo_ = -1;
};

}  // namespace braid
