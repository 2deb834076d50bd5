// The policy and its costs on random fleets, compared with plainer ones: every
// pair, one after the other, and steps that are counted one by one.
#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <tuple>
#include <vector>

#include "base/rng.h"
#include "gtest/gtest.h"
#include "scheduler/placement_cost.h"
#include "scheduler/placement_policy.h"

namespace braid {
namespace {

// A random fleet at a random moment.
struct World {
  explicit World(uint64_t seed) : rng(seed) {
    for (StepTimeModel& model : models) {
      model = StepTimeModel({.base = 0.02 * rng.Uniform(),
                             .chunk_token = 1e-3 * rng.Uniform(),
                             .chunk_attended = 1e-7 * rng.Uniform(),
                             .decode_row = 1e-3 * rng.Uniform(),
                             .decode_attended = 1e-6 * rng.Uniform()});
    }
    const uint64_t count = 1 + rng.Below(8);
    const bool even = rng.Below(3) == 0;  // many ties
    for (uint64_t i = 0; i < count; ++i) {
      DeviceView device{.id = DeviceId(static_cast<uint32_t>(20 - i)),
                        .node = static_cast<uint32_t>(rng.Below(5) / 4),
                        .role = static_cast<DeviceRole>(rng.Below(3)),
                        .up = rng.Below(10) != 0,
                        .time = &models[even ? 0 : rng.Below(models.size())]};
      device.pool =
          PoolId(device.node * 4 + static_cast<uint32_t>(rng.Below(4)));
      if (rng.Below(5) == 0) device.all_blocks = 90;
      if (!even) {
        if (rng.Below(2) == 0) device.prefill_wait = 3 * rng.Uniform();
        if (rng.Below(4) == 0) device.credit_wait = 3 * rng.Uniform();
        device.cached_tokens = static_cast<uint32_t>(rng.Below(4000));
        device.prefilling = rng.Below(2) == 0;
        device.decoding = rng.Below(2) == 0;
        if (rng.Below(2) == 0) {
          device.decode_rows = static_cast<uint32_t>(rng.Below(40));
          device.decode_attended = device.decode_rows * rng.Below(4000);
          device.tightest_tpot =
              device.decode_rows > 0 ? 0.2 * rng.Uniform() : 0;
        }
      }
      devices.push_back(device);
    }
    query = {.prompt_tokens = 1 + static_cast<uint32_t>(rng.Below(8000)),
             .expected_output = static_cast<uint32_t>(rng.Below(500)),
             .blocks = static_cast<uint32_t>(rng.Below(100)),
             .ttft_target = rng.Below(4) == 0 ? 0 : 4 * rng.Uniform(),
             .tpot_target = rng.Below(4) == 0 ? 0 : 0.2 * rng.Uniform(),
             .split = static_cast<SplitMode>(rng.Below(3)),
             .max_chunk = 1 + static_cast<uint32_t>(rng.Below(2048)),
             .transfer = [this](PoolId from, PoolId to, uint32_t tokens) {
               const double link = links[from.value()][to.value()];
               return link < 0 ? kNoLink : link * tokens;
             }};
    for (auto& row : links) {
      for (double& link : row) {
        link = rng.Below(5) == 0 ? kNoLink : even ? 1e-6 : 1e-4 * rng.Uniform();
      }
    }
  }
  std::optional<Placement> Choose() {
    query.devices = devices;
    return ChoosePlacement(query);
  }

  Rng rng;
  std::array<StepTimeModel, 3> models;
  std::vector<DeviceView> devices;
  PlacementQuery query;
  double links[8][8];
};

struct Naive {
  std::optional<Placement> best;
  double cost = 0;
  double best_of_two = std::numeric_limits<double>::infinity();
  double best_of_one = std::numeric_limits<double>::infinity();
};

// Every pair, one after the other.
Naive AllPairs(const World& world) {
  const PlacementQuery& query = world.query;
  const PlacementWeights weights;
  const bool decodes = query.expected_output > 1;
  Naive naive;
  const auto usable = [&](const DeviceView& device) {
    return device.up && query.blocks <= device.all_blocks;
  };
  const auto consider = [&](const DeviceView& p, const DeviceView& d) {
    double transfer = 0;
    if (p.pool != d.pool) {
      const uint32_t known = std::min(d.cached_tokens, query.prompt_tokens);
      transfer = query.transfer(p.pool, d.pool, query.prompt_tokens - known);
      if (transfer < 0) return;
    }
    const PrefillCost prefill = PrefillCostOf(query, weights, p);
    const DecodeCost decode = DecodeCostOf(query, weights, d);
    const double credit = p.pool == d.pool
                              ? d.credit_wait
                              : std::max(p.credit_wait, d.credit_wait);
    const double hand_over = &p == &d ? 0 : transfer + decode.join;
    const PairCost price =
        PairCostOf(query, weights, prefill, decode, credit, hand_over);
    double& class_best = &p == &d ? naive.best_of_one : naive.best_of_two;
    class_best = std::min(class_best, price.cost);
    if (!naive.best ||
        std::tuple(price.cost, p.id, d.id) <
            std::tuple(naive.cost, naive.best->prefill, naive.best->decode)) {
      naive.cost = price.cost;
      naive.best = {.prefill = p.id,
                    .decode = d.id,
                    .ttft = price.ttft,
                    .tpot = decode.tpot,
                    .damage = prefill.damage + decode.damage};
    }
  };
  for (const bool alone : {false, true}) {
    for (const DeviceView& p : world.devices) {
      for (const DeviceView& d : world.devices) {
        if (!usable(p) || !usable(d) || p.node != d.node) continue;
        const bool one = &p == &d;
        if (query.split == SplitMode::kOff || !decodes) {
          if (!one) continue;
        } else if (query.split == SplitMode::kOn && one != alone) {
          continue;
        }
        if (query.split == SplitMode::kOn) {
          if (p.role == DeviceRole::kDecode) continue;
          if (decodes && d.role == DeviceRole::kPrefill) continue;
        }
        consider(p, d);
      }
    }
    if (naive.best) break;
  }
  return naive;
}

TEST(PlacementPolicyRandomTest, EqualsAllPairs) {
  int placed = 0;
  std::map<PlacementReason, int> reasons;
  for (uint64_t seed = 0; seed < 20000; ++seed) {
    World world(seed);
    const auto fast = world.Choose();
    Naive naive = AllPairs(world);
    ASSERT_EQ(fast.has_value(), naive.best.has_value()) << seed;
    if (!fast) continue;
    ++placed;
    ++reasons[fast->reason];
    naive.best->reason = fast->reason;
    ASSERT_EQ(*fast, *naive.best) << seed;
    // What the reason says is so.
    const bool two = fast->prefill != fast->decode;
    switch (fast->reason) {
      case PlacementReason::kSplitFaster:
      case PlacementReason::kSplitHarmless:
        EXPECT_TRUE(two);
        EXPECT_LE(naive.best_of_two, naive.best_of_one);
        break;
      case PlacementReason::kBypassFaster:
      case PlacementReason::kDecodeStays:
        EXPECT_FALSE(two);
        EXPECT_LE(naive.best_of_one, naive.best_of_two);
        EXPECT_LT(naive.best_of_two, std::numeric_limits<double>::infinity());
        break;
      case PlacementReason::kSplitForced:
        EXPECT_TRUE(two);
        EXPECT_EQ(world.query.split, SplitMode::kOn);
        break;
      case PlacementReason::kOneDevice:
      case PlacementReason::kNoDecode:
        EXPECT_FALSE(two);
        break;
      case PlacementReason::kCacheNear:
        break;
    }
  }
  EXPECT_GT(placed, 15000);
  EXPECT_EQ(reasons.size(), 8u);  // each occurs
  for (const auto& [reason, count] : reasons) {
    RecordProperty(ToString(reason), count);
  }
}

// More of the prompt known to a device that is part of the choice, and it stays
// part of it; a longer queue at one that is not, and it stays out of it.
TEST(PlacementPolicyRandomTest, CachesAttractAndQueuesRepel) {
  for (uint64_t seed = 0; seed < 5000; ++seed) {
    World world(seed);
    const auto chosen = world.Choose();
    if (!chosen) continue;
    const auto part_of = [&](const Placement& placement, DeviceId id) {
      return placement.prefill == id || placement.decode == id;
    };
    for (DeviceView& device : world.devices) {
      const DeviceView before = device;
      if (part_of(*chosen, device.id)) {
        device.cached_tokens += static_cast<uint32_t>(world.rng.Below(3000));
      } else {
        device.prefill_wait += world.rng.Uniform();
        device.credit_wait += world.rng.Below(2) * world.rng.Uniform();
      }
      const auto then = world.Choose();
      ASSERT_TRUE(then);
      EXPECT_EQ(part_of(*then, device.id), part_of(*chosen, device.id))
          << seed << " " << device.id;
      device = before;
    }
  }
}

// The closed form against the steps themselves.
TEST(PlacementCostTest, ComputeIsTheSumOfTheSteps) {
  for (uint64_t seed = 0; seed < 500; ++seed) {
    World world(seed);
    DeviceView& device = world.devices[0];
    const PlacementQuery& query = world.query;
    const PrefillCost cost = PrefillCostOf(query, PlacementWeights(), device);
    uint32_t done = std::min(device.cached_tokens, query.prompt_tokens - 1);
    double seconds = 0;
    while (done < query.prompt_tokens) {
      StepShape step{.decode_rows = device.decode_rows,
                     .decode_attended = device.decode_attended};
      uint32_t chunk = query.max_chunk;
      if (device.decode_rows > 0 && device.tightest_tpot > 0) {
        chunk = device.time->LargestChunk(step, query.prompt_tokens / 2, chunk,
                                          device.tightest_tpot);
        chunk = std::max(chunk, std::min(query.min_chunk, query.max_chunk));
      }
      chunk = std::min(chunk, query.prompt_tokens - done);
      step.AddChunk(done, chunk);
      seconds += device.time->Predict(step);
      done += chunk;
    }
    EXPECT_NEAR(cost.compute, seconds, 1e-6 * seconds) << seed;
  }
}

}  // namespace
}  // namespace braid
