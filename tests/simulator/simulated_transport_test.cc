// The conformance suite on the simulated network, and what each of its faults
// comes to.
#include "simulator/simulated_transport.h"

#include <utility>

#include "tests/kvcache/kv_transport_conformance.h"

namespace braid {
namespace {

using Outcome = TransferEvent::Outcome;

// A network of its own, in which time passes whenever it is polled.
class SelfDriven final : public KvTransport {
 public:
  SelfDriven(TransportOptions options, FaultSet faults, uint64_t seed)
      : world_(seed, faults, ~uint64_t{0}) {
    SimulatedTransportOptions simulated;
    simulated.common = std::move(options);
    simulated.timeout = std::chrono::seconds(1);
    inner_ = std::make_unique<SimulatedTransport>(std::move(simulated), world_);
  }

  std::string_view name() const override { return inner_->name(); }
  absl::Status RegisterPool(PoolId pool, const KvArena& arena) override {
    return inner_->RegisterPool(pool, arena);
  }
  absl::Status Open(const TransferSpec& spec) override {
    return inner_->Open(spec);
  }
  void Post(const TransferPiece& piece) override { inner_->Post(piece); }
  void Cancel(TransferId id) override { inner_->Cancel(id); }
  void Poll(std::vector<TransferEvent>& events) override {
    inner_->Poll(events);
    const size_t before = events.size();
    while (events.size() == before && world_.queue.RunNext()) {
      inner_->Poll(events);
    }
  }
  TransportStats stats() const override { return inner_->stats(); }

  World& world() { return world_; }
  SimulatedTransport& inner() { return *inner_; }

 private:
  World world_;
  std::unique_ptr<SimulatedTransport> inner_;
};

const TransportUnderTest kTransports[] = {
    {.name = "Simulated",
     .make =
         [](TransportOptions options) {
           return std::make_unique<SelfDriven>(std::move(options),
                                               FaultSet::None(), 1);
         }},
    {.name = "SimulatedWithinOnePool",
     .make =
         [](TransportOptions options) {
           return std::make_unique<SelfDriven>(std::move(options),
                                               FaultSet::None(), 1);
         },
     .moves_bytes = false},
    // What these do to a message the transfer does not notice.
    {.name = "SimulatedOutOfOrder",
     .make =
         [](TransportOptions options) {
           return std::make_unique<SelfDriven>(
               std::move(options),
               *FaultSet::Parse("message-delay,message-reorder,message-"
                                "duplicate,late-completion"),
               3);
         }},
};

const auto kNameOf =
    [](const ::testing::TestParamInfo<TransportUnderTest>& info) {
      return info.param.name;
    };
INSTANTIATE_TEST_SUITE_P(All, KvTransportConformanceTest,
                         ::testing::ValuesIn(kTransports), kNameOf);
INSTANTIATE_TEST_SUITE_P(All, KvTransportRandomTest,
                         ::testing::ValuesIn(kTransports), kNameOf);

constexpr KvLayout kLayout{.layers = 4, .kv_heads = 1, .head_dim = 8};

// Transfers of two blocks, one after the other, until a fault ends one.
class FaultTest : public ::testing::Test {
 protected:
  TransferEvent UntilOneFails(FaultKind kind) {
    const FaultSet only = *FaultSet::Parse(ToString(kind));
    uint64_t seed = 1;  // one that takes this kind
    while (!FaultSource(seed, only, 1).on(kind)) ++seed;
    SelfDriven transport({}, only, seed);
    EXPECT_TRUE(transport.RegisterPool(PoolId(0), *from_).ok());
    EXPECT_TRUE(transport.RegisterPool(PoolId(1), *to_).ok());
    for (uint64_t id = 1; id < 2000; ++id) {
      const TransferSpec spec{
          TransferId(id),
          PoolId(0),
          PoolId(1),
          {{BlockId(0), BlockId(2)}, {BlockId(1), BlockId(3)}}};
      EXPECT_TRUE(transport.Open(spec).ok());
      transport.Post({TransferId(id), 0, 2, 0, 4});
      std::vector<TransferEvent> events;
      const TimePoint start = transport.world().queue.now();
      while (events.empty()) transport.Poll(events);
      took_ = transport.world().queue.now() - start;
      EXPECT_FALSE(transport.world().log.violated());
      if (events[0].outcome != Outcome::kComplete) return events[0];
    }
    ADD_FAILURE() << "no fault in 2000 transfers";
    return {};
  }

  std::unique_ptr<KvArena> from_ = *KvArena::Create(kLayout, 8);
  std::unique_ptr<KvArena> to_ = *KvArena::Create(kLayout, 8);
  Duration took_{0};
};

TEST_F(FaultTest, ALostMessageFailsTheTransferInBoundedTime) {
  const TransferEvent event = UntilOneFails(FaultKind::kMessageLoss);
  EXPECT_EQ(event.outcome, Outcome::kFailed);
  EXPECT_EQ(event.status.code(), absl::StatusCode::kUnavailable);
  EXPECT_GE(took_, std::chrono::seconds(1));
  EXPECT_LE(took_, std::chrono::seconds(3));
}

TEST_F(FaultTest, AFlippedByteIsDataLoss) {
  const TransferEvent event = UntilOneFails(FaultKind::kByteFlip);
  EXPECT_EQ(event.outcome, Outcome::kFailed);
  EXPECT_EQ(event.status.code(), absl::StatusCode::kDataLoss);
}

TEST_F(FaultTest, ABrokenConnectionIsUnavailable) {
  const FaultSet only = *FaultSet::Parse("transfer-failure");
  uint64_t seed = 1;
  while (!FaultSource(seed, only, 1).on(FaultKind::kTransferFailure)) ++seed;
  SelfDriven transport({}, only, seed);
  ASSERT_TRUE(transport.RegisterPool(PoolId(0), *from_).ok());
  ASSERT_TRUE(transport.RegisterPool(PoolId(1), *to_).ok());
  for (uint64_t id = 1; id <= 500; ++id) {
    ASSERT_TRUE(transport
                    .Open({TransferId(id),
                           PoolId(0),
                           PoolId(1),
                           {{BlockId(0), BlockId(0)}}})
                    .ok());
  }
  std::vector<TransferEvent> events;
  for (size_t before = 1; events.size() != before;) {
    before = events.size();
    transport.Poll(events);
  }
  EXPECT_GT(events.size(), 5u);
  EXPECT_LT(events.size(), 400u);
  for (const TransferEvent& event : events) {
    EXPECT_EQ(event.outcome, Outcome::kFailed);
    EXPECT_EQ(event.status.code(), absl::StatusCode::kUnavailable);
  }
}

TEST_F(FaultTest, BytesThatChangeAfterTheyWerePostedAreSeen) {
  SelfDriven transport({}, FaultSet::None(), 1);
  ASSERT_TRUE(transport.RegisterPool(PoolId(0), *from_).ok());
  ASSERT_TRUE(transport.RegisterPool(PoolId(1), *to_).ok());
  ASSERT_TRUE(
      transport
          .Open(
              {TransferId(1), PoolId(0), PoolId(1), {{BlockId(0), BlockId(0)}}})
          .ok());
  transport.Post({TransferId(1), 0, 1, 0, 4});
  from_->block(BlockId(0))[5] = std::byte{1};
  std::vector<TransferEvent> events;
  transport.Poll(events);
  EXPECT_TRUE(transport.world().log.violated());
}

TEST_F(FaultTest, APoolThatIsLostEndsItsTransfers) {
  SelfDriven transport({}, FaultSet::None(), 1);
  ASSERT_TRUE(transport.RegisterPool(PoolId(0), *from_).ok());
  ASSERT_TRUE(transport.RegisterPool(PoolId(1), *to_).ok());
  ASSERT_TRUE(
      transport
          .Open(
              {TransferId(1), PoolId(0), PoolId(1), {{BlockId(0), BlockId(0)}}})
          .ok());
  transport.inner().FailPool(PoolId(1));
  std::vector<TransferEvent> events;
  transport.Poll(events);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].outcome, Outcome::kFailed);
  EXPECT_EQ(transport.inner().open(), 0u);
}

}  // namespace
}  // namespace braid
