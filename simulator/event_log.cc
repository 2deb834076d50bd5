#include "simulator/event_log.h"

#include <algorithm>

#include <unistd.h>

#include "absl/strings/str_format.h"
#include "simulator/hash_model.h"

namespace braid {
namespace {

// %d takes a, b and c in this order.
constexpr std::array<const char*, kLogKindCount> kFormats = {
    "request %d arrives: %d prompt tokens, at most %d to follow",
    "request %d submitted, known there as r%d",
    "request %d refused, status %d",
    "turn, active %d",
    "device %d starts a step of %d rows",
    "device %d has %d layers done",
    "device %d ends its step",
    "device %d fails its step, status %d",
    "transfer %d opened, %d blocks",
    "transfer %d refused",
    "transfer %d: piece posted, blocks [%d, %d)",
    "transfer %d: message %d leaves",
    "transfer %d: message %d is lost",
    "transfer %d: message %d will come twice",
    "transfer %d: message %d, a byte is flipped",
    "transfer %d: message %d arrives",
    "transfer %d: message %d arrives late, dropped",
    "transfer %d ends, outcome %d",
    "transfer %d is cancelled",
    "request %d: %d prompt scores",
    "request %d: token number %d is %d",
    "request %d finished, reason %d, %d tokens",
    "request %d: the client cancels",
    "request %d is replayed from %d tokens",
    "device %d crashes",
    "device %d is back",
    "device %d is %d times slower",
    "node crashes",
    "node is back",
    "clock jumps by %d us",
};

}  // namespace

void EventLog::Add(TimePoint time, uint32_t node, LogKind kind, int64_t a,
                   int64_t b, int64_t c) {
  const auto mix = [this](uint64_t value) {
    digest_ = hash_model::Mix(digest_, value);
  };
  mix(static_cast<uint64_t>(time.time_since_epoch().count()));
  mix(uint64_t{node} << 8 | static_cast<uint64_t>(kind));
  mix(static_cast<uint64_t>(a));
  mix(static_cast<uint64_t>(b));
  mix(static_cast<uint64_t>(c));
  Entry& entry = ring_[added_++ % kKept];
  entry = {time, node, kind, a, b, c};
  if (echo_ < 0) return;
  const std::string line = Line(entry) + "\n";
  [[maybe_unused]] const auto written = write(echo_, line.data(), line.size());
}

std::vector<std::string> EventLog::LastLines() const {
  std::vector<std::string> lines;
  for (uint64_t i = added_ - std::min<uint64_t>(added_, kKept); i < added_;
       ++i) {
    lines.push_back(Line(ring_[i % kKept]));
  }
  return lines;
}

std::string EventLog::Line(const Entry& entry) {
  // The formats are this file's own; each takes a, then b, then c.
  std::string text = kFormats[static_cast<size_t>(entry.kind)];
  const int64_t values[] = {entry.a, entry.b, entry.c};
  for (int64_t value : values) {
    const size_t at = text.find("%d");
    if (at == std::string::npos) break;
    text.replace(at, 2, std::to_string(value));
  }
  return absl::StrFormat("%12.6f s  node %d  %s",
                         ToSeconds(entry.time.time_since_epoch()), entry.node,
                         text);
}

}  // namespace braid
