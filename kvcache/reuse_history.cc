#include "kvcache/reuse_history.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace braid {
namespace {

// Records for each sampled block that is in the index.
constexpr uint64_t kRecordsPerBlock = 4;
constexpr uint32_t kTokensPerSample = 512;
// Of the index: enough to learn from, whatever their distance.
constexpr uint32_t kEnoughBlocks = 4096;

}  // namespace

ReuseHistory::ReuseHistory(uint32_t capacity, uint32_t blocks,
                           uint32_t block_tokens, int classes)
    : classes_(classes),
      waiting_(size_t{kEpochs} * classes),
      ring_(capacity),
      table_(capacity) {
  BRAID_CHECK(capacity > 0 && capacity <= 1u << 30);
  const uint64_t needed =
      (uint64_t{blocks} * kRecordsPerBlock + capacity - 1) / capacity;
  const uint64_t enough =
      std::min(kTokensPerSample / block_tokens, blocks / kEnoughBlocks);
  const uint64_t stride =
      std::max(std::bit_ceil(needed), std::bit_floor(enough));
  BRAID_CHECK(stride <= 1 << 24);
  stride_mask_ = stride - 1;
  const uint64_t span = capacity * stride;  // blocks used, while one waits
  epoch_shift_ =
      std::bit_width(std::max<uint64_t>(1, span / (kEpochs / 2))) - 1;
}

std::optional<ReuseHistory::Use> ReuseHistory::Find(uint32_t tag) const {
  const uint32_t place = Place(tag);
  if (place == SlotTable::kNone) return std::nullopt;
  return ring_[place].use;
}

void ReuseHistory::Record(uint32_t tag, Use use, ReuseModel& model) {
  const uint32_t place = Place(tag);
  if (place != SlotTable::kNone) {
    const Use last = ring_[place].use;
    model.AddReuse(last.as, use.when - last.when);
    Forget(place);
  }
  Append(tag, use, model);
}

void ReuseHistory::Reclassify(uint32_t tag, Use use, ReuseModel& model) {
  const uint32_t place = Place(tag);
  if (place == SlotTable::kNone) return;
  const Use last = ring_[place].use;
  model.AddLost(last.as, use.when - last.when);
  Forget(place);
  Append(tag, use, model);
}

void ReuseHistory::Forget(uint32_t place) {
  table_.Erase(ring_[place].tag, place);
  --Waiting(ring_[place].use);
  ring_[place].use.uses = 0;
}

void ReuseHistory::Append(uint32_t tag, Use use, ReuseModel& model) {
  BRAID_CHECK(use.uses > 0);
  const Use oldest = ring_[next_].use;
  if (oldest.uses > 0) {
    model.AddLost(oldest.as, use.when - oldest.when);
    Forget(next_);
  }
  ring_[next_] = {tag, use};
  table_.Insert(tag, next_, tag);
  ++Waiting(use);
  next_ = next_ + 1 == ring_.size() ? 0 : next_ + 1;
}

void ReuseHistory::AddWaiting(uint32_t now, ReuseModel& model) const {
  const uint32_t epoch_now = now >> epoch_shift_;
  const uint32_t half = (1u << epoch_shift_) / 2;
  for (uint32_t back = 0; back < std::min(kEpochs, epoch_now + 1); ++back) {
    const uint32_t epoch = epoch_now - back;
    const uint32_t middle = (epoch << epoch_shift_) + half;
    const uint32_t age =
        back == 0 ? (now - (epoch << epoch_shift_)) / 2 : now - middle;
    const float* waiting = &waiting_[size_t{epoch % kEpochs} * classes_];
    for (int i = 0; i < classes_; ++i) {
      if (waiting[i] != 0) {
        model.AddWaiting(static_cast<ReuseClass>(i), age, waiting[i]);
      }
    }
  }
}

}  // namespace braid
