#include "model/merge_queue.h"

#include <algorithm>
#include <functional>

#include "base/check.h"

namespace braid {
namespace {

template <typename T>
void PushMin(std::vector<T>& heap, T value) {
  heap.push_back(value);
  std::push_heap(heap.begin(), heap.end(), std::greater<>());
}

template <typename T>
void PopMin(std::vector<T>& heap) {
  std::pop_heap(heap.begin(), heap.end(), std::greater<>());
  heap.pop_back();
}

}  // namespace

void MergeQueue::Merge(const MergeTable& merges, std::vector<TokenId>& tokens,
                       size_t first) {
  const size_t count = tokens.size() - first;
  BRAID_CHECK(count < INT32_MAX);
  if (count == 0) return;
  buckets_.resize(merges.ranks());
  symbols_.resize(count);
  const auto end = static_cast<int32_t>(count);
  for (int32_t i = 0; i < end; ++i) {
    symbols_[i] = {.token = tokens[first + i],
                   .left = i - 1,
                   .right = i + 1 < end ? i + 1 : kNone,
                   .rank = MergeTable::kNoRank,
                   .before = kNone,
                   .after = kNone};
  }
  for (int32_t i = 0; i < end; ++i) Enqueue(merges, i);
  for (int32_t best = Best(); best != kNone; best = Best()) {
    MergeAt(merges, best);
  }

  // The first symbol is never the right one of a pair, so it is still there.
  size_t kept = first;
  for (int32_t i = 0; i != kNone; i = symbols_[i].right) {
    tokens[kept++] = symbols_[i].token;
  }
  tokens.resize(kept);
}

int32_t MergeQueue::Best() {
  while (!ranks_.empty() && buckets_[ranks_.front()].head == kNone) {
    buckets_[ranks_.front()].ranked = false;
    PopMin(ranks_);
  }
  return ranks_.empty() ? kNone : buckets_[ranks_.front()].head;
}

void MergeQueue::MergeAt(const MergeTable& merges, int32_t position) {
  ++steps_;
  Symbol& symbol = symbols_[position];
  const int32_t left = symbol.left;
  const int32_t right = symbol.right;
  // Within a rank the next pair is often far away.
  if (symbol.after != kNone) __builtin_prefetch(&symbols_[symbol.after]);
  const TokenId merged = merges.Result(symbol.rank);
  if (left != kNone) Dequeue(left);
  Dequeue(position);
  Dequeue(right);

  symbol.token = merged;
  symbol.right = symbols_[right].right;
  if (symbol.right != kNone) symbols_[symbol.right].left = position;
  if (left != kNone) Enqueue(merges, left);
  Enqueue(merges, position);
}

void MergeQueue::Enqueue(const MergeTable& merges, int32_t position) {
  Symbol& symbol = symbols_[position];
  if (symbol.right == kNone) return;
  const MergeTable::Merge merge =
      merges.Lookup(symbol.token, symbols_[symbol.right].token);
  if (merge.rank == MergeTable::kNoRank) return;
  ++steps_;
  symbol.rank = merge.rank;

  Bucket& bucket = buckets_[merge.rank];
  symbol.after = kNone;
  BRAID_CHECK(bucket.tail < position);
  symbol.before = bucket.tail;
  (bucket.tail == kNone ? bucket.head : symbols_[bucket.tail].after) = position;
  bucket.tail = position;
  if (!bucket.ranked) {
    bucket.ranked = true;
    PushMin(ranks_, merge.rank);
  }
}

void MergeQueue::Dequeue(int32_t position) {
  Symbol& symbol = symbols_[position];
  if (symbol.rank != MergeTable::kNoRank) {
    Bucket& bucket = buckets_[symbol.rank];
    (symbol.before == kNone ? bucket.head : symbols_[symbol.before].after) =
        symbol.after;
    (symbol.after == kNone ? bucket.tail : symbols_[symbol.after].before) =
        symbol.before;
  }
  symbol.rank = MergeTable::kNoRank;
}

}  // namespace braid
