// Runs of whole clusters. The many seeds run as `simulate_seeds`, on the
// command itself.
#include "simulator/simulation.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "simulator/seed_swarm.h"
#include "simulator/shrink.h"

namespace braid {
namespace {

struct Outcome {
  uint64_t events, faults, digest;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

Outcome RunOne(uint64_t seed, const SimulationOptions& options) {
  Simulation simulation(seed, options);
  simulation.Run();
  EXPECT_FALSE(simulation.log().violated())
      << simulation.log().violation() << "\n"
      << ReplayCommand(seed, options);
  return {simulation.events(), simulation.faults(), simulation.log().digest()};
}

TEST(SimulationTest, EqualSeedsMakeEqualRuns) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    const Outcome first = RunOne(seed, {});
    EXPECT_EQ(RunOne(seed, {}), first);
    EXPECT_NE(RunOne(seed + 1, {}).digest, first.digest);
  }
}

TEST(SimulationTest, NothingGoesWrongWithoutFaults) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    EXPECT_EQ(RunOne(seed, {.faults = FaultSet::None()}).faults, 0u);
  }
}

TEST(SimulationTest, FaultsCanBeLimited) {
  EXPECT_EQ(RunOne(5, {.max_faults = 7}).faults, 7u);
}

TEST(SimulationTest, EveryKindOfFaultHappens) {
  std::array<uint64_t, kFaultKindCount> injected{};
  for (uint64_t seed = 1; seed <= 150; ++seed) {
    Simulation simulation(seed, {});
    simulation.Run();
    for (int i = 0; i < kFaultKindCount; ++i) {
      injected[i] +=
          simulation.fault_source().injected(static_cast<FaultKind>(i));
    }
  }
  for (int i = 0; i < kFaultKindCount; ++i) {
    EXPECT_GT(injected[i], 0u) << ToString(static_cast<FaultKind>(i));
  }
}

TEST(ScenarioTest, LeavingRequestsOutChangesNoOther) {
  FaultSource faults(3, FaultSet::None(), 0);
  const Scenario all = DrawScenario(3, {}, faults);
  const Scenario some = DrawScenario(3, {.only = {2, 5}}, faults);
  ASSERT_EQ(some.requests.size(), 2u);
  EXPECT_EQ(some.requests[1].number, 5u);
  EXPECT_EQ(some.requests[1].request.prompt, all.requests[5].request.prompt);
  EXPECT_EQ(some.requests[1].arrival, all.requests[5].arrival);
}

TEST(ScenarioTest, MinutesSayHowLong) {
  FaultSource faults(3, FaultSet::None(), 0);
  const Scenario scenario = DrawScenario(3, {.minutes = 0.2}, faults);
  EXPECT_GT(scenario.requests.size(), 100u);
  EXPECT_LE(scenario.requests.back().arrival, std::chrono::seconds(12));
}

TEST(FaultSetTest, ReadsWhatItWrites) {
  for (const char* list : {"all", "none", "message-loss,cancel"}) {
    const auto set = FaultSet::Parse(list);
    ASSERT_TRUE(set.ok());
    EXPECT_EQ(ToString(*set), list);
  }
  const auto unknown = FaultSet::Parse("cancel,earthquake");
  EXPECT_EQ(unknown.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(unknown.status().message().find("byte-flip"),
            absl::string_view::npos);
}

TEST(FaultSourceTest, AKindStrikesTheSameWithoutTheOthers) {
  const FaultSet only = *FaultSet::Parse("message-loss");
  uint64_t seed = 1;  // one that takes this kind
  while (!FaultSource(seed, only, 1).on(FaultKind::kMessageLoss)) ++seed;
  FaultSource all(seed, FaultSet::All(), ~uint64_t{0});
  FaultSource one(seed, only, ~uint64_t{0});
  int losses = 0;
  for (int i = 0; i < 1000; ++i) {
    (void)all.Happens(FaultKind::kCancel, 0.5);
    const bool lost = all.Happens(FaultKind::kMessageLoss, 0.1);
    EXPECT_EQ(one.Happens(FaultKind::kMessageLoss, 0.1), lost);
    losses += lost;
  }
  EXPECT_GT(losses, 0);
}

// Violated as long as requests 2 and 7, losses and four faults are there.
TEST(ShrinkTest, KeepsWhatTheViolationNeeds) {
  int violated = 0;
  const Shrunk shrunk = Shrink(
      3, {},
      [&](const SimulationOptions& options) -> std::optional<std::string> {
        const auto has = [&](uint32_t number) {
          return options.only.empty() ||
                 std::ranges::count(options.only, number) > 0;
        };
        if (!has(2) || !has(7) || options.max_faults < 4 ||
            !options.faults.contains(FaultKind::kMessageLoss)) {
          return std::nullopt;
        }
        ++violated;
        return "bad";
      });
  EXPECT_EQ(shrunk.text, "bad");
  EXPECT_EQ(shrunk.options.only, (std::vector<uint32_t>{2, 7}));
  EXPECT_EQ(ToString(shrunk.options.faults), "message-loss");
  EXPECT_EQ(shrunk.options.max_faults, 4u);
  EXPECT_EQ(shrunk.options.nodes, 1u);
  EXPECT_GT(static_cast<int>(shrunk.runs), violated);
  EXPECT_EQ(ReplayCommand(3, shrunk.options),
            "braid simulate --seeds 3:3 --faults message-loss --max-faults 4 "
            "--nodes 1 --only 2,7");
}

TEST(SwarmTest, CountsWhatItsWorkersDid) {
  const SwarmTotals one = RunSwarm({.from = 1, .to = 12, .jobs = 1}, stdout);
  const SwarmTotals three = RunSwarm({.from = 1, .to = 12, .jobs = 3}, stdout);
  EXPECT_EQ(one.seeds, 12u);
  EXPECT_EQ(one.violations, 0u);
  EXPECT_GT(one.faults, 0u);
  EXPECT_EQ(three.events, one.events);
  EXPECT_EQ(three.faults, one.faults);
}

}  // namespace
}  // namespace braid
