// What eviction learns with: the model, the history, the hash table under it.
#include <algorithm>
#include <map>
#include <vector>

#include <gtest/gtest.h>

#include "base/rng.h"
#include "kvcache/reuse_class.h"
#include "kvcache/reuse_history.h"
#include "kvcache/reuse_model.h"
#include "kvcache/slot_table.h"

namespace braid {
namespace {

TEST(ReuseModelTest, BucketsAreHalfOctavesInOrder) {
  EXPECT_EQ(ReuseModel::Bucket(0), 0);
  EXPECT_EQ(ReuseModel::Bucket(~uint32_t{0}), ReuseModel::kBuckets - 1);
  int last = 0;
  for (uint64_t age = 0; age < 1u << 20; ++age) {
    const int bucket = ReuseModel::Bucket(static_cast<uint32_t>(age));
    EXPECT_TRUE(bucket == last || bucket == last + 1) << age;
    last = bucket;
  }
  for (uint32_t octave = 2; octave < 31; ++octave) {
    const uint32_t age = 1u << octave;
    EXPECT_EQ(ReuseModel::Bucket(age) + 1, ReuseModel::Bucket(age + age / 2));
    EXPECT_EQ(ReuseModel::Bucket(age) + 2, ReuseModel::Bucket(age * 2));
  }
}

TEST(ReuseModelTest, NothingSeenMeansLru) {
  const ReuseModel model(3);
  for (uint32_t age = 1; age < 1u << 30; age *= 2) {
    EXPECT_GT(model.Score(0, age), model.Score(0, age * 2)) << age;
    EXPECT_EQ(model.Score(0, age), model.Score(2, age));
  }
}

TEST(ReuseModelTest, WhatComesBackIsWorthMoreThanWhatDoesNot) {
  ReuseModel model(2);
  for (uint32_t i = 0; i < 10'000; ++i) {
    model.AddReuse(0, 1000 + i % 1000);
    model.AddLost(1, 100'000);
  }
  model.Refit();
  EXPECT_GT(model.Score(0, 0), 100 * model.Score(1, 0));
  EXPECT_GT(model.Score(0, 1000), 100 * model.Score(1, 1000));
}

// Blocks of a loop: the longer one has waited, the sooner its turn comes.
TEST(ReuseModelTest, InALoopTheYoungestIsWorthLeast) {
  ReuseModel model(1);
  for (int i = 0; i < 100'000; ++i) model.AddReuse(0, 10'000);
  model.Refit();
  EXPECT_LT(model.Score(0, 10), model.Score(0, 4000));
  EXPECT_LT(model.Score(0, 4000), model.Score(0, 8000));
  EXPECT_GT(model.Score(0, 8000), 10 * model.Score(0, 20'000));
}

TEST(ReuseModelTest, WaitingBlocksCountOnce) {
  ReuseModel model(1);
  for (int i = 0; i < 1000; ++i) model.AddReuse(0, 100);
  model.AddWaiting(0, 100'000, 100'000);
  model.Refit();
  const float doubtful = model.Score(0, 50);
  model.Refit();
  EXPECT_GT(model.Score(0, 50), 10 * doubtful);
}

TEST(SlotTableTest, AgreesWithAMap) {
  int found = 0;                                   // in two buckets
  for (const uint64_t tags : {3, 200, 1 << 30}) {  // Few tags: long searches.
    Rng rng(1);
    constexpr uint32_t kItems = 64;
    SlotTable table(kItems);
    std::map<uint32_t, uint32_t> twin;  // tags of the items in the table
    const auto some_tag = [&] {
      return static_cast<uint32_t>((rng.Below(tags) << 32) / tags);
    };
    const auto word = [](uint32_t item) {
      return item % 3 * (SlotTable::kNoWord / 4);  // of all its bits
    };
    for (int step = 0; step < 100'000; ++step) {
      const auto item = static_cast<uint32_t>(rng.Below(kItems));
      if (const auto it = twin.find(item); it != twin.end()) {
        table.Erase(it->second, item);
        twin.erase(it);
      } else {
        twin[item] = some_tag();
        table.Insert(twin[item], item, word(item));
      }
      const auto wanted = static_cast<uint32_t>(rng.Below(kItems));
      const auto it = twin.find(wanted);
      const uint32_t tag = it == twin.end() ? some_tag() : it->second;
      const auto is_wanted = [&](uint32_t i) { return i == wanted; };
      ASSERT_EQ(table.Find(tag, word(wanted), is_wanted),
                it == twin.end() ? SlotTable::kNone : wanted);
      ASSERT_EQ(table.Find(tag, word(wanted) + 1, is_wanted), SlotTable::kNone);
      const SlotTable::Entry candidate =
          table.Candidate(table.SecondBucket(table.FirstBucket(tag), tag), tag);
      if (candidate.item != SlotTable::kNone) {
        ASSERT_EQ(twin.at(candidate.item) & 0xffff, tag & 0xffff);
        ASSERT_EQ(candidate.word, word(candidate.item));
        found += candidate.item == wanted;
      }
    }
  }
  EXPECT_GT(found, 10'000);
}

TEST(ReuseHistoryTest, AgreesWithANaiveTwin) {
  constexpr uint32_t kCapacity = 50;
  ReuseModel model(kReuseClasses);
  ReuseHistory history(kCapacity, 1, 16, kReuseClasses);
  std::vector<uint32_t> order;  // one per record ever written
  std::map<uint32_t, ReuseHistory::Use> twin;
  Rng rng(1);
  for (uint32_t now = 1; now < 100'000; ++now) {
    const auto tag = static_cast<uint32_t>(rng.Below(120) * 0x9e3779b9);
    const ReuseHistory::Use use = {
        now, static_cast<ReuseClass>(rng.Below(kReuseClasses)),
        static_cast<uint8_t>(1 + rng.Below(255))};
    const bool reclassify = rng.Below(4) == 0;
    if (reclassify) {
      history.Reclassify(tag, use, model);
    } else {
      history.Record(tag, use, model);
    }
    if (!reclassify || twin.contains(tag)) {
      order.push_back(tag);
      twin[tag] = use;
      // The ring keeps as many records, used again or not.
      if (order.size() > kCapacity) {
        const uint32_t old = order[order.size() - kCapacity - 1];
        const auto kept = order.end() - kCapacity;
        if (std::find(kept, order.end(), old) == order.end()) twin.erase(old);
      }
    }
    const auto probe = static_cast<uint32_t>(rng.Below(120) * 0x9e3779b9);
    const auto found = history.Find(probe);
    const auto it = twin.find(probe);
    ASSERT_EQ(found.has_value(), it != twin.end()) << now;
    if (found) {
      ASSERT_EQ(found->when, it->second.when);
      ASSERT_EQ(found->as, it->second.as);
      ASSERT_EQ(found->uses, it->second.uses);
    }
    if (now % 100 == 0) history.AddWaiting(now, model);
  }
}

int Sampled(const ReuseHistory& history, int keys) {
  int sampled = 0;
  Rng rng(1);
  for (int i = 0; i < keys; ++i) sampled += history.Samples(rng());
  return sampled;
}

TEST(ReuseHistoryTest, SamplesFewerOfALargePool) {
  EXPECT_EQ(Sampled({1000, 250, 512, 1}, 1000), 1000);
  EXPECT_NEAR(Sampled({1000, 8000, 512, 1}, 32'000), 1000, 100);
  // Records for all, and yet no more than one in 512 tokens.
  EXPECT_NEAR(Sampled({1 << 20, 1 << 18, 16, 1}, 32'000), 1000, 100);
  EXPECT_EQ(Sampled({1 << 20, 1 << 18, 512, 1}, 1000), 1000);
  EXPECT_EQ(Sampled({1 << 16, 4096, 16, 1}, 1000), 1000);
}

TEST(ReuseClassTest, ClassesAreDistinctAndInRange) {
  EXPECT_LT(FreshClass(1 << 30), ContinuedClass(0, 0, 0));
  EXPECT_LT(ContinuedClass(1, 1 << 30, 1 << 30), ContinuedClass(2, 0, 0));
  EXPECT_LT(ContinuedClass(255, 1 << 30, 1 << 30), UsedAgainClass(2, 0));
  EXPECT_LT(UsedAgainClass(255, 1 << 30), SupersededClass(0));
  EXPECT_LT(SupersededClass(255), kHubClass);
  EXPECT_LT(kHubClass, kReuseClasses);
}

}  // namespace
}  // namespace braid
