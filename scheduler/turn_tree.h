// The queue of one class: keys in order of service, each with the tag that says
// when its tenant's turn is, and a search by tag.
//
// A treap over the keys in which every node knows the latest tag below it. Its
// shape follows from the ids alone. Nodes are recycled: no allocation once the
// queue has been as long as it gets.
//
// Thread safety: engine thread only.
#pragma once

#include <compare>
#include <cstdint>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"

namespace braid {

// Place in the order of service; smaller is served earlier. Who stands beside
// another for fairness's sake has all of its key but the id.
struct QueueKey {
  TimePoint due;
  int64_t urgency = 0;  // minus the priority
  TimePoint arrival;
  RequestId place;  // its own id
  RequestId id;
  friend auto operator<=>(const QueueKey&, const QueueKey&) = default;
};

class TurnTree final {
 public:
  // REQUIRES: not in it.
  void Insert(const QueueKey& key, double tag);
  // REQUIRES: in it.
  void Erase(const QueueKey& key);

  // The first in order of service whose tag is later. Null: none is.
  const QueueKey* FirstLaterThan(double tag) const;
  // The last in order of service. Null: it is empty.
  const QueueKey* Last() const;
  uint32_t size() const { return size_; }

 private:
  using Index = uint32_t;  // into nodes_
  static constexpr Index kNone = ~0u;
  struct Node {
    QueueKey key;
    double tag;
    double latest;  // tag in its subtree
    uint64_t rank;  // of a node; its children's are lower
    Index left, right;
  };

  void Update(Index node);
  // Keys before `key`, and the others.
  void Split(Index node, const QueueKey& key, Index* before, Index* rest);
  Index Merge(Index before, Index rest);

  std::vector<Node> nodes_;
  std::vector<Index> free_, path_;
  Index root_ = kNone;
  uint32_t size_ = 0;
};

}  // namespace braid
