#include "kvcache/reuse_history.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace braid {

ReuseHistory::ReuseHistory(uint32_t capacity, uint32_t blocks, int classes)
    : classes_(classes),
      waiting_(size_t{kEpochs} * classes),
      capacity_(capacity),
      table_(capacity) {
  BRAID_CHECK(capacity > 0 && capacity <= 1u << 30);
  const uint64_t wanted = (uint64_t{blocks} * 4 + capacity - 1) / capacity;
  const uint64_t stride = std::bit_ceil(std::max<uint64_t>(1, wanted));
  BRAID_CHECK(stride <= 1 << 24);
  stride_mask_ = stride - 1;
  const uint64_t span = capacity * stride;  // blocks used, while one waits
  epoch_shift_ =
      std::bit_width(std::max<uint64_t>(1, span / (kEpochs / 2))) - 1;
}

std::optional<ReuseHistory::Use> ReuseHistory::Find(uint64_t key) const {
  const uint32_t entry =
      table_.Find(key, [&](uint32_t i) { return ring_[i].key == key; });
  if (entry == SlotTable::kNone) return std::nullopt;
  return ring_[entry].use;
}

void ReuseHistory::Record(uint64_t key, Use use, ReuseModel& model) {
  if (const auto last = Find(key)) {
    model.AddReuse(last->as, use.when - last->when);
  }
  Append(key, use, model);
}

void ReuseHistory::Reclassify(uint64_t key, Use use, ReuseModel& model) {
  const auto last = Find(key);
  if (!last) return;
  model.AddLost(last->as, use.when - last->when);
  Append(key, use, model);
}

void ReuseHistory::Append(uint64_t key, Use use, ReuseModel& model) {
  BRAID_CHECK(use.uses > 0);
  const auto erase = [this](uint32_t entry) {
    table_.Erase(ring_[entry].key, entry);
    --Waiting(ring_[entry].use);
    ring_[entry].use.uses = 0;
  };
  const uint32_t old =
      table_.Find(key, [&](uint32_t i) { return ring_[i].key == key; });
  if (old != SlotTable::kNone) erase(old);
  if (next_ == ring_.size()) {
    ring_.push_back({key, use});
  } else {
    const Use oldest = ring_[next_].use;
    if (oldest.uses > 0) {
      model.AddLost(oldest.as, use.when - oldest.when);
      erase(next_);
    }
    ring_[next_] = {key, use};
  }
  table_.Insert(key, next_);
  ++Waiting(use);
  next_ = next_ + 1 == capacity_ ? 0 : next_ + 1;
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

void ReuseHistory::Clear() {
  ring_.clear();
  next_ = 0;
  table_.Clear();
  std::ranges::fill(waiting_, 0.0f);
}

}  // namespace braid
