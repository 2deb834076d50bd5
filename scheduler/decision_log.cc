#include "scheduler/decision_log.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "base/check.h"

namespace braid {

const char* ToString(DecisionKind kind) {
  switch (kind) {
    case DecisionKind::kPlaced:
      return "placed";
    case DecisionKind::kRefused:
      return "refused";
    case DecisionKind::kShed:
      return "shed";
    case DecisionKind::kPreempted:
      return "preempted";
    case DecisionKind::kRole:
      return "role";
    case DecisionKind::kDevice:
      return "device";
    case DecisionKind::kPair:
      return "pair";
    case DecisionKind::kStreams:
      return "streams";
  }
  return "?";
}

std::string ToString(const Decision& decision) {
  std::string text = absl::StrFormat(
      "#%d %.3f s %s", decision.sequence,
      ToSeconds(decision.time.time_since_epoch()), ToString(decision.kind));
  if (decision.request != RequestId()) {
    absl::StrAppendFormat(&text, " r%d", decision.request.value());
  }
  const uint32_t prefill = decision.prefill.value();
  const uint32_t decode = decision.decode.value();
  switch (decision.kind) {
    case DecisionKind::kPlaced:
      absl::StrAppendFormat(&text, " d%d>d%d %s %.3f s, damage %.3f s", prefill,
                            decode, decision.reason, decision.predicted,
                            decision.other);
      break;
    case DecisionKind::kRefused:
    case DecisionKind::kShed:
      absl::StrAppendFormat(&text, " %s %.3f s, retry after %.3f s",
                            decision.reason, decision.predicted,
                            decision.other);
      break;
    case DecisionKind::kPreempted:
      absl::StrAppendFormat(&text, " d%d>d%d %s %.3f s, for %.3f s", prefill,
                            decode, decision.reason, decision.predicted,
                            decision.other);
      break;
    case DecisionKind::kRole:
    case DecisionKind::kDevice:
      absl::StrAppendFormat(&text, " d%d %s", prefill, decision.reason);
      break;
    case DecisionKind::kPair:
      absl::StrAppendFormat(&text, " d%d>d%d %s", prefill, decode,
                            decision.reason);
      break;
    case DecisionKind::kStreams:
      absl::StrAppendFormat(&text, " d%d %s %.0f", decode, decision.reason,
                            decision.predicted);
      break;
  }
  return text;
}

DecisionLog::DecisionLog(size_t capacity) : ring_(capacity) {
  BRAID_CHECK(capacity > 0);
}

void DecisionLog::Add(Decision decision) {
  decision.sequence = ++last_;
  ring_[last_ % ring_.size()] = decision;
}

std::vector<Decision> DecisionLog::Since(uint64_t sequence) const {
  std::vector<Decision> out;
  const uint64_t oldest = last_ > ring_.size() ? last_ - ring_.size() + 1 : 1;
  if (sequence >= last_) return out;
  const uint64_t first = std::max(oldest, sequence + 1);
  out.reserve(last_ - first + 1);
  for (uint64_t i = first; i <= last_; ++i) {
    out.push_back(ring_[i % ring_.size()]);
  }
  return out;
}

}  // namespace braid
