// The conformance suite on every transport, and what each promises beyond it.
#include "kvcache/transport/kv_transport.h"

#include "kvcache/transport/copy_transport.h"
#include "kvcache/transport/loopback_transport.h"
#include "tests/kvcache/kv_transport_conformance.h"
#include "tests/support/faulty_kv_transport.h"

namespace braid {
namespace {

using ::testing::HasSubstr;
using Outcome = TransferEvent::Outcome;

std::unique_ptr<KvTransport> MakeCopy(TransportOptions options,
                                      uint32_t movers = 1) {
  CopyTransportOptions copy;
  copy.common = std::move(options);
  copy.movers = movers;
  return std::make_unique<CopyTransport>(std::move(copy));
}

const TransportUnderTest kTransports[] = {
    {.name = "Loopback",
     .make =
         [](TransportOptions options) {
           return std::make_unique<LoopbackTransport>(std::move(options));
         },
     .moves_bytes = false},
    {.name = "Copy",
     .make =
         [](TransportOptions options) { return MakeCopy(std::move(options)); }},
    {.name = "CopyWithThreeMovers",
     .make =
         [](TransportOptions options) {
           return MakeCopy(std::move(options), 3);
         }},
    {.name = "FaultyWithoutFaults",
     .make =
         [](TransportOptions options) {
           const auto wake = options.wake;
           return std::make_unique<FaultyKvTransport>(
               MakeCopy(std::move(options)), TransportFaults{}, wake);
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

constexpr KvLayout kLayout{.layers = 6, .kv_heads = 2, .head_dim = 8};

class CopyTransportTest : public ::testing::Test {
 protected:
  void Start(CopyTransportOptions options, TransportFaults faults = {}) {
    const auto wake = [this] { wakes_.release(); };
    options.common.wake = wake;
    transport_ = std::make_unique<FaultyKvTransport>(
        std::make_unique<CopyTransport>(std::move(options)), faults, wake);
    ASSERT_TRUE(transport_->RegisterPool(PoolId(0), *from_).ok());
    ASSERT_TRUE(transport_->RegisterPool(PoolId(1), *to_).ok());
    for (uint32_t i = 0; i < from_->capacity(); ++i) {
      std::memset(from_->block(BlockId(i)), static_cast<int>(i + 1),
                  kLayout.block_bytes());
    }
  }
  absl::Status Open(uint64_t id, std::vector<BlockPair> pairs) {
    return transport_->Open(
        {TransferId(id), PoolId(0), PoolId(1), std::move(pairs)});
  }
  TransferEvent WaitForEvent() {
    std::vector<TransferEvent> events;
    for (int tries = 0; tries < 100 && events.empty(); ++tries) {
      transport_->Poll(events);
      if (!events.empty()) break;
      // One wake-up stands for all that have come.
      (void)wakes_.try_acquire_for(std::chrono::seconds(1));
      while (wakes_.try_acquire()) continue;
    }
    EXPECT_EQ(events.size(), 1u);
    return events.empty() ? TransferEvent() : events[0];
  }

  std::unique_ptr<KvArena> from_ = *KvArena::Create(kLayout, 8);
  std::unique_ptr<KvArena> to_ = *KvArena::Create(kLayout, 8);
  std::counting_semaphore<> wakes_{0};
  std::unique_ptr<FaultyKvTransport> transport_;
};

// Two sources that land in one block are what a wrong block id looks like.
TEST_F(CopyTransportTest, ABlockInTheWrongPlaceIsDataLoss) {
  Start({});
  ASSERT_TRUE(
      Open(1, {{BlockId(0), BlockId(5)}, {BlockId(1), BlockId(5)}}).ok());
  transport_->Post({TransferId(1), 0, 2, 0, 2});
  const TransferEvent event = WaitForEvent();
  EXPECT_EQ(event.outcome, Outcome::kFailed);
  EXPECT_EQ(event.status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(event.status.message(), HasSubstr("KV block 0 of pool 0"));
  transport_->Post({TransferId(1), 0, 2, 2, 6});  // The id is dead.
  EXPECT_EQ(transport_->stats().transfers_failed, 1u);
  EXPECT_EQ(transport_->stats().late_pieces_dropped, 1u);
}

// The mover finds damage while the engine is still posting.
TEST_F(CopyTransportTest, DamageInMidTransferIsOneTerminalEvent) {
  Start({.movers = 2});
  for (uint64_t id = 0; id < 200; ++id) {
    ASSERT_TRUE(
        Open(id, {{BlockId(0), BlockId(5)}, {BlockId(1), BlockId(5)}}).ok());
    for (uint32_t layer = 0; layer < kLayout.layers; ++layer) {
      transport_->Post({TransferId(id), 0, 2, layer, layer + 1});
    }
    EXPECT_EQ(WaitForEvent().outcome, Outcome::kFailed);
    std::memset(to_->block(BlockId(5)), 0, kLayout.block_bytes());
  }
  EXPECT_EQ(transport_->stats().transfers_failed, 200u);
}

TEST_F(CopyTransportTest, AFullQueueFailsTheTransfer) {
  Start({.max_queued_pieces = 0});
  ASSERT_TRUE(Open(1, {{BlockId(0), BlockId(0)}}).ok());
  transport_->Post({TransferId(1), 0, 1, 0, 6});
  const TransferEvent event = WaitForEvent();
  EXPECT_EQ(event.outcome, Outcome::kFailed);
  EXPECT_EQ(event.status.code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(CopyTransportTest, SurvivesRepeatedPiecesAndLateEvents) {
  Start({}, {.seed = 1, .max_delay_polls = 3, .repeat_probability = 1});
  for (uint64_t id = 0; id < 8; ++id) {
    const BlockId block(static_cast<uint32_t>(id));
    ASSERT_TRUE(Open(id, {{block, block}}).ok());
    transport_->Post({TransferId(id), 0, 1, 0, 4});
    transport_->Post({TransferId(id), 0, 1, 4, 6});
    EXPECT_EQ(WaitForEvent().outcome, Outcome::kComplete);
    EXPECT_EQ(std::memcmp(from_->block(block), to_->block(block),
                          kLayout.block_bytes()),
              0);
  }
  EXPECT_EQ(transport_->stats().late_pieces_dropped, 32u);
}

TEST_F(CopyTransportTest, InjectedFaultsHappen) {
  Start({}, {.fail_open_every = 2, .damage_every = 1});
  ASSERT_TRUE(Open(1, {{BlockId(0), BlockId(0)}}).ok());
  EXPECT_EQ(Open(2, {}).code(), absl::StatusCode::kUnavailable);
  transport_->Post({TransferId(1), 0, 1, 0, 6});
  EXPECT_EQ(WaitForEvent().outcome, Outcome::kComplete);
  EXPECT_NE(std::memcmp(from_->block(BlockId(0)), to_->block(BlockId(0)),
                        kLayout.block_bytes()),
            0);
}

TEST(LoopbackTransportTest, PoolsWithoutSharedMemoryNameTheRemedy) {
  const auto a = *KvArena::Create(kLayout, 1), b = *KvArena::Create(kLayout, 1);
  LoopbackTransport transport({});
  ASSERT_TRUE(transport.RegisterPool(PoolId(0), *a).ok());
  ASSERT_TRUE(transport.RegisterPool(PoolId(1), *b).ok());
  const absl::Status status =
      transport.Open({TransferId(1), PoolId(0), PoolId(1), {}});
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(), HasSubstr("--kv-transport copy"));
}

}  // namespace
}  // namespace braid
