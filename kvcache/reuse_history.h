// Remembers, of a sample of keys, when and how they were last used, also after
// their blocks were evicted: what an index alone cannot know, since what it
// evicts it never sees return.
//
// The sample is taken by key (one key of `stride`, always the same ones), so
// about one block in `stride` of every chain is in it. Bounded: the record that
// has waited longest makes room, and counts as lost.
//
// A record is known by the lower half of its key. Two keys that share it are
// taken for one: with 100,000 records, one observation in 40,000 is wrong.
//
// Thread safety: not thread-safe; lives on the engine thread.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "kvcache/reuse_model.h"
#include "kvcache/slot_table.h"

namespace braid {

class ReuseHistory final {
 public:
  struct Use {
    uint32_t when = 0;
    ReuseClass as = 0;
    uint8_t uses = 0;  // known so far, saturating; at least 1
  };

  // `capacity` records, sampled so that `blocks` indexed blocks take no more
  // than a quarter of them. Of many blocks no more are sampled than one in 512
  // tokens, since neighbours share their fate.
  ReuseHistory(uint32_t capacity, uint32_t blocks, uint32_t block_tokens,
               int classes);

  // Keys are hashes; the upper half decides, the lower one is the tag.
  bool Samples(uint64_t key) const { return ((key >> 40) & stride_mask_) == 0; }

  // Of keys that are sampled, by their tags:

  // The last use; nothing when none is remembered.
  std::optional<Use> Find(uint32_t tag) const;
  // Records a use; the model learns how long it took since the one before.
  void Record(uint32_t tag, Use use, ReuseModel& model);
  // The block's class has changed without a use. Does nothing if unknown.
  void Reclassify(uint32_t tag, Use use, ReuseModel& model);

  // Tells the model of all records, with ages rounded to an epoch's middle.
  void AddWaiting(uint32_t now, ReuseModel& model) const;

  size_t bytes() const {
    return ring_.size() * sizeof(Entry) + table_.bytes() +
           waiting_.size() * sizeof(float);
  }

 private:
  struct Entry {
    uint32_t tag = 0;
    Use use;  // uses == 0: dead
  };
  static_assert(sizeof(Entry) == 12);

  // How many live records were last used in each epoch of the clock, by class:
  // so that reading all ages does not take reading all records. The history
  // spans about half of the epochs.
  static constexpr uint32_t kEpochs = 1024;

  float& Waiting(Use use) {
    return waiting_[(use.when >> epoch_shift_) % kEpochs * classes_ + use.as];
  }
  uint32_t Place(uint32_t tag) const {
    return table_.Find(tag, tag, [](uint32_t) { return true; });
  }
  void Forget(uint32_t place);
  void Append(uint32_t tag, Use use, ReuseModel& model);

  const int classes_;
  uint64_t stride_mask_;
  int epoch_shift_;
  std::vector<float> waiting_;  // kEpochs * classes_
  // In order of last use. A key used again gets a new entry; its old one is
  // dead and is overwritten in its turn.
  std::vector<Entry> ring_;
  uint32_t next_ = 0;  // the entry to be written next
  SlotTable table_;    // of live entries
};

}  // namespace braid
