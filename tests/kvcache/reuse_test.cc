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
  Rng rng(1);
  constexpr uint32_t kItems = 64;
  SlotTable table(kItems);
  std::map<uint64_t, uint32_t> twin;
  std::vector<uint64_t> keys(kItems);
  for (int step = 0; step < 100'000; ++step) {
    const auto item = static_cast<uint32_t>(rng.Below(kItems));
    if (const auto it = twin.find(keys[item]);
        it != twin.end() && it->second == item) {
      table.Erase(keys[item], item);
      twin.erase(it);
    } else {
      const uint64_t key = rng.Below(200);  // Few homes: long clusters.
      if (twin.contains(key)) continue;
      keys[item] = key;
      table.Insert(key, item);
      twin[key] = item;
    }
    const uint64_t probe = rng.Below(200);
    const auto it = twin.find(probe);
    ASSERT_EQ(table.Find(probe, [&](uint32_t i) { return keys[i] == probe; }),
              it == twin.end() ? SlotTable::kNone : it->second);
  }
}

TEST(ReuseHistoryTest, AgreesWithANaiveTwin) {
  constexpr uint32_t kCapacity = 50;
  ReuseModel model(kReuseClasses);
  ReuseHistory history(kCapacity, 1, kReuseClasses);
  std::vector<uint64_t> order;  // one per record ever written
  std::map<uint64_t, ReuseHistory::Use> twin;
  Rng rng(1);
  for (uint32_t now = 1; now < 100'000; ++now) {
    const uint64_t key = rng.Below(120) * 0x9e3779b97f4a7c15;
    const ReuseHistory::Use use = {
        now, static_cast<ReuseClass>(rng.Below(kReuseClasses)),
        static_cast<uint8_t>(1 + rng.Below(255))};
    const bool reclassify = rng.Below(4) == 0;
    if (reclassify) {
      history.Reclassify(key, use, model);
    } else {
      history.Record(key, use, model);
    }
    if (!reclassify || twin.contains(key)) {
      order.push_back(key);
      twin[key] = use;
      // The ring keeps as many records, used again or not.
      if (order.size() > kCapacity) {
        const uint64_t old = order[order.size() - kCapacity - 1];
        const auto kept = order.end() - kCapacity;
        if (std::find(kept, order.end(), old) == order.end()) twin.erase(old);
      }
    }
    const uint64_t probe = rng.Below(120) * 0x9e3779b97f4a7c15;
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

TEST(ReuseHistoryTest, SamplesFewerOfALargePool) {
  const ReuseHistory all(1000, 100, 1), some(1000, 8000, 1);
  int sampled = 0;
  Rng rng(1);
  for (int i = 0; i < 32'000; ++i) {
    const uint64_t key = rng();
    EXPECT_TRUE(all.Samples(key));
    sampled += some.Samples(key);
  }
  EXPECT_NEAR(sampled, 1000, 100);
}

TEST(ReuseClassTest, ClassesAreDistinctAndInRange) {
  EXPECT_LT(FreshClass(1 << 30), ContinuedClass(0, 0));
  EXPECT_LT(ContinuedClass(1 << 30, 1 << 30), UsedAgainClass(2, 0));
  EXPECT_LT(UsedAgainClass(255, 1 << 30), SupersededClass(0));
  EXPECT_LT(SupersededClass(255), kHubClass);
  EXPECT_LT(kHubClass, kReuseClasses);
}

}  // namespace
}  // namespace braid
