// Strong integers: an id of one kind is never taken for another.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <ostream>
#include <string>

namespace braid {

// An integer with a tag. Comparable, hashable, printable; no arithmetic.
template <typename Tag, typename Rep>
class StrongId {
 public:
  using rep = Rep;

  constexpr StrongId() = default;
  constexpr explicit StrongId(Rep value) : value_(value) {}
  constexpr Rep value() const { return value_; }

  friend constexpr auto operator<=>(StrongId, StrongId) = default;
  friend std::ostream& operator<<(std::ostream& os, StrongId id) {
    return os << +id.value_;
  }
  template <typename H>
  friend H AbslHashValue(H h, StrongId id) {
    return H::combine(std::move(h), id.value_);
  }

 private:
  Rep value_ = 0;
};

// A request of a client, unique for the life of the process. 0 is no request.
using RequestId = StrongId<struct RequestTag, uint64_t>;
// An index into one BlockPool. Meaningless without its PoolId.
using BlockId = StrongId<struct BlockTag, uint32_t>;
// A memory that holds KV blocks: one BlockPool and one KvArena.
using PoolId = StrongId<struct PoolTag, uint32_t>;
// One hand-over of blocks between two pools, unique across the cluster.
using TransferId = StrongId<struct TransferTag, uint64_t>;
// A stream that is computed apart from its request (stream_catch_up.h), unique
// for the life of the process. 0 is none.
using CatchUpId = StrongId<struct CatchUpTag, uint64_t>;
// A device of this node: a set of CPU cores, or a GPU.
using DeviceId = StrongId<struct DeviceTag, uint32_t>;

// Tokens are what models compute with, so they stay plain integers.
using TokenId = int32_t;

}  // namespace braid

template <typename Tag, typename Rep>
struct std::hash<braid::StrongId<Tag, Rep>> {
  size_t operator()(braid::StrongId<Tag, Rep> id) const {
    return std::hash<Rep>()(id.value());
  }
};
