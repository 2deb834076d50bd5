#include "scheduler/turn_tree.h"

#include <algorithm>

#include "base/check.h"

namespace braid {
namespace {

// A bijection that looks like chance (the finaliser of SplitMix64).
uint64_t Mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

}  // namespace

void TurnTree::Update(Index node) {
  Node& n = nodes_[node];
  n.latest = n.tag;
  if (n.left != kNone) n.latest = std::max(n.latest, nodes_[n.left].latest);
  if (n.right != kNone) n.latest = std::max(n.latest, nodes_[n.right].latest);
}

void TurnTree::Split(Index node, const QueueKey& key, Index* before,
                     Index* rest) {
  if (node == kNone) {
    *before = *rest = kNone;
    return;
  }
  Node& n = nodes_[node];
  if (n.key < key) {
    Split(n.right, key, &n.right, rest);
    *before = node;
  } else {
    Split(n.left, key, before, &n.left);
    *rest = node;
  }
  Update(node);
}

TurnTree::Index TurnTree::Merge(Index before, Index rest) {
  if (before == kNone) return rest;
  if (rest == kNone) return before;
  if (nodes_[before].rank > nodes_[rest].rank) {
    nodes_[before].right = Merge(nodes_[before].right, rest);
    Update(before);
    return before;
  }
  nodes_[rest].left = Merge(before, nodes_[rest].left);
  Update(rest);
  return rest;
}

void TurnTree::Insert(const QueueKey& key, double tag) {
  Index node;
  if (free_.empty()) {
    node = static_cast<Index>(nodes_.size());
    nodes_.emplace_back();
  } else {
    node = free_.back();
    free_.pop_back();
  }
  nodes_[node] = {.key = key,
                  .tag = tag,
                  .latest = tag,
                  .rank = Mix(key.id.value()),
                  .left = kNone,
                  .right = kNone};
  // Down to where its rank is the highest; then what is below becomes its
  // children.
  Index* place = &root_;
  while (*place != kNone && nodes_[*place].rank > nodes_[node].rank) {
    Node& n = nodes_[*place];
    n.latest = std::max(n.latest, tag);
    place = n.key < key ? &n.right : &n.left;
  }
  Index before, rest;
  Split(*place, key, &before, &rest);
  nodes_[node].left = before;
  nodes_[node].right = rest;
  Update(node);
  *place = node;
  ++size_;
}

void TurnTree::Erase(const QueueKey& key) {
  // All above it must be updated, from the bottom: the path is short.
  Index* place = &root_;
  for (;;) {
    BRAID_CHECK(*place != kNone);
    Node& n = nodes_[*place];
    if (n.key == key) break;
    path_.push_back(*place);
    place = n.key < key ? &n.right : &n.left;
  }
  const Index node = *place;
  *place = Merge(nodes_[node].left, nodes_[node].right);
  while (!path_.empty()) {
    Update(path_.back());
    path_.pop_back();
  }
  free_.push_back(node);
  --size_;
}

const QueueKey* TurnTree::FirstLaterThan(double tag) const {
  Index node = root_;
  if (node == kNone || nodes_[node].latest <= tag) return nullptr;
  for (;;) {
    const Node& n = nodes_[node];
    if (n.left != kNone && nodes_[n.left].latest > tag) {
      node = n.left;
    } else if (n.tag > tag) {
      return &n.key;
    } else {
      node = n.right;
    }
  }
}

const QueueKey* TurnTree::Last() const {
  if (root_ == kNone) return nullptr;
  Index node = root_;
  while (nodes_[node].right != kNone) node = nodes_[node].right;
  return &nodes_[node].key;
}

}  // namespace braid
