// Requests by id and by slot. A slot is a small number that stays a request's
// own for its life, so what runs every step finds it without hashing; slots are
// used again, and their memory lies side by side.
//
// Thread safety: engine thread only.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/ids.h"
#include "scheduler/request.h"

namespace braid {

class RequestTable final {
 public:
  // REQUIRES: the id is not in it.
  Request& Add(RequestInput input);
  // Null: unknown, or forgotten.
  Request* Find(RequestId id) const;
  Request& at(uint32_t slot) const {
    return *(*pages_[slot / kPage])[slot % kPage];
  }
  // Its id finds it no more, and belongs to nobody. The slot stays its own.
  void Forget(RequestId id);
  // Destroys it. REQUIRES: it has been forgotten.
  void Free(uint32_t slot);

  // Those that can be found.
  size_t size() const { return by_id_.size(); }
  // Ever in use at once; Peek is null where nobody is.
  uint32_t slots() const { return slots_; }
  Request* Peek(uint32_t slot) const;

 private:
  static constexpr uint32_t kPage = 64;
  using Page = std::array<std::optional<Request>, kPage>;

  std::vector<std::unique_ptr<Page>> pages_;
  std::vector<uint32_t> free_;
  uint32_t slots_ = 0;
  absl::flat_hash_map<RequestId, Request*> by_id_;
};

}  // namespace braid
