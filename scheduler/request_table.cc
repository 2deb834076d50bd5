#include "scheduler/request_table.h"

#include <utility>

#include "base/check.h"

namespace braid {

Request& RequestTable::Add(RequestInput input) {
  if (free_.empty()) {
    if (slots_ == pages_.size() * kPage) {
      pages_.push_back(std::make_unique<Page>());
    }
    free_.push_back(slots_++);
  }
  const uint32_t slot = free_.back();
  free_.pop_back();
  const RequestId id = input.id;
  Request& request =
      (*pages_[slot / kPage])[slot % kPage].emplace(std::move(input), slot);
  BRAID_CHECK(by_id_.emplace(id, &request).second);
  return request;
}

Request* RequestTable::Find(RequestId id) const {
  const auto it = by_id_.find(id);
  return it == by_id_.end() ? nullptr : it->second;
}

Request* RequestTable::Peek(uint32_t slot) const {
  std::optional<Request>& entry = (*pages_[slot / kPage])[slot % kPage];
  return entry ? &*entry : nullptr;
}

void RequestTable::Forget(RequestId id) { BRAID_CHECK(by_id_.erase(id) == 1); }

void RequestTable::Free(uint32_t slot) {
  (*pages_[slot / kPage])[slot % kPage].reset();
  free_.push_back(slot);
}

}  // namespace braid
