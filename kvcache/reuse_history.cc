#include "kvcache/reuse_history.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace braid {

ReuseHistory::ReuseHistory(uint32_t capacity, uint32_t blocks)
    : capacity_(capacity), table_(capacity) {
  BRAID_CHECK(capacity > 0 && capacity <= 1u << 30);
  const uint64_t wanted = (uint64_t{blocks} * 4 + capacity - 1) / capacity;
  const uint64_t stride = std::bit_ceil(std::max<uint64_t>(1, wanted));
  BRAID_CHECK(stride <= 1 << 24);
  stride_mask_ = stride - 1;
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
    table_.Erase(ring_[entry].key, entry,
                 [this](uint32_t i) { return ring_[i].key; });
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
  next_ = next_ + 1 == capacity_ ? 0 : next_ + 1;
}

void ReuseHistory::AddWaiting(uint32_t now, ReuseModel& model) const {
  for (const Entry& entry : ring_) {
    if (entry.use.uses > 0) {
      model.AddWaiting(entry.use.as, now - entry.use.when);
    }
  }
}

void ReuseHistory::Clear() {
  ring_.clear();
  next_ = 0;
  table_.Clear();
}

}  // namespace braid
