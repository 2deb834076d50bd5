#include "engine/stage_times.h"

#include <algorithm>

namespace braid {

const char* ToString(Stage stage) {
  switch (stage) {
    case Stage::kQueue:
      return "queue";
    case Stage::kPrefillWait:
      return "prefill_wait";
    case Stage::kPrefill:
      return "prefill";
    case Stage::kTransfer:
      return "transfer";
    case Stage::kDecodeWait:
      return "decode_wait";
    case Stage::kDecode:
      return "decode";
  }
  return "?";
}

StageClock::StageClock(TimePoint received) : since_(received) {
  times_.received = received;
}

void StageClock::Enter(Stage stage, TimePoint now) {
  if (stage == stage_) return;
  now = std::max(now, since_);
  times_.spent[static_cast<size_t>(stage_)] += now - since_;
  since_ = now;
  stage_ = stage;
}

void StageClock::TokenDrawn(TimePoint now) {
  if (has_token_) return;
  has_token_ = true;
  times_.first_token = std::max(now, since_);
}

StageTimes StageClock::Finish(TimePoint now) {
  now = std::max(now, since_);
  times_.spent[static_cast<size_t>(stage_)] += now - since_;
  since_ = now;
  times_.finished = now;
  if (!has_token_) times_.first_token = now;
  return times_;
}

}  // namespace braid
