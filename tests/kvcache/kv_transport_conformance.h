// What every KvTransport must do. Include it once in a test binary and
// instantiate KvTransportConformanceTest with the implementation:
//
//   INSTANTIATE_TEST_SUITE_P(Copy, KvTransportConformanceTest, Values(...));
//
// A failing random schedule names its seed.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <ostream>
#include <semaphore>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/rng.h"
#include "kvcache/kv_arena.h"
#include "kvcache/transport/kv_transport.h"

namespace braid {

struct TransportUnderTest {
  std::string name;
  std::function<std::unique_ptr<KvTransport>(TransportOptions)> make;
  // False: a change of owner. Source and destination are the same blocks.
  bool moves_bytes = true;

  friend void PrintTo(const TransportUnderTest& transport, std::ostream* os) {
    *os << transport.name;
  }
};

class KvTransportConformanceTest
    : public ::testing::TestWithParam<TransportUnderTest> {
 protected:
  using Outcome = TransferEvent::Outcome;

  static constexpr KvLayout kLayout{
      .layers = 30, .kv_heads = 1, .head_dim = 8, .block_tokens = 8};
  static constexpr uint32_t kCapacity = 24;
  static constexpr PoolId kSource{3}, kDestination{5}, kStranger{9};

  KvTransportConformanceTest() {
    source_ = *KvArena::Create(kLayout, kCapacity);
    if (moves_bytes()) destination_ = *KvArena::Create(kLayout, kCapacity);
    Restart({});
  }

  bool moves_bytes() const { return GetParam().moves_bytes; }
  PoolId destination_pool() const {
    return moves_bytes() ? kDestination : kSource;
  }
  const KvArena& destination() const {
    return moves_bytes() ? *destination_ : *source_;
  }

  void Restart(TransportOptions options) {
    options.wake = [this] { wakes_.release(); };
    transport_.reset();
    transport_ = GetParam().make(std::move(options));
    ASSERT_TRUE(transport_->RegisterPool(kSource, *source_).ok());
    if (moves_bytes()) {
      ASSERT_TRUE(transport_->RegisterPool(kDestination, *destination_).ok());
    }
  }

  // Pair i goes from block first + i to its mirror image at the other end.
  TransferSpec Spec(uint64_t id, uint32_t pairs, uint32_t first = 0) const {
    TransferSpec spec{TransferId(id), kSource, destination_pool(), {}};
    for (uint32_t i = first; i < first + pairs; ++i) {
      spec.pairs.push_back(
          {BlockId(i), BlockId(moves_bytes() ? kCapacity - 1 - i : i)});
    }
    return spec;
  }

  // `group` layers of `width` pairs each: 8 of 30 gives 8, 8, 8, 6.
  static std::vector<TransferPiece> Pieces(const TransferSpec& spec,
                                           uint32_t width, uint32_t group) {
    std::vector<TransferPiece> pieces;
    const auto pairs = static_cast<uint32_t>(spec.pairs.size());
    for (uint32_t pair = 0; pair < pairs; pair += width) {
      for (uint32_t layer = 0; layer < kLayout.layers; layer += group) {
        pieces.push_back({spec.id, pair, std::min(pair + width, pairs), layer,
                          std::min(layer + group, kLayout.layers)});
      }
    }
    return pieces;
  }

  static std::byte Expected(TransferId id, uint32_t pair, size_t offset) {
    return std::byte(id.value() * 131 + pair * 31 + offset * 7 + offset / 251);
  }
  // Makes the source bytes of a piece final.
  void Fill(const TransferSpec& spec, const TransferPiece& piece) {
    for (uint32_t pair = piece.first_pair; pair < piece.end_pair; ++pair) {
      std::byte* block = source_->block(spec.pairs[pair].source);
      for (size_t i = piece.first_layer * kLayout.layer_bytes();
           i < piece.end_layer * kLayout.layer_bytes(); ++i) {
        block[i] = Expected(spec.id, pair, i);
      }
    }
  }
  void FillAndPost(const TransferSpec& spec, const TransferPiece& piece) {
    Fill(spec, piece);
    transport_->Post(piece);
  }
  void ExpectArrived(const TransferSpec& spec) {
    for (uint32_t pair = 0; pair < spec.pairs.size(); ++pair) {
      const std::byte* block =
          destination().block(spec.pairs[pair].destination);
      for (size_t i = 0; i < kLayout.block_bytes(); ++i) {
        ASSERT_EQ(block[i], Expected(spec.id, pair, i))
            << "transfer " << spec.id << " pair " << pair << " byte " << i;
      }
    }
  }

  // Polls until `n` events are there or ten seconds have passed without one.
  std::vector<TransferEvent> WaitForEvents(size_t n) {
    std::vector<TransferEvent> events;
    transport_->Poll(events);
    while (events.size() < n) {
      const size_t before = events.size();
      const auto start = std::chrono::steady_clock::now();
      (void)wakes_.try_acquire_for(std::chrono::seconds(10));
      transport_->Poll(events);
      if (events.size() == before &&
          std::chrono::steady_clock::now() - start > std::chrono::seconds(9)) {
        ADD_FAILURE() << "only " << before << " of " << n << " events came";
        break;
      }
    }
    return events;
  }

  std::unique_ptr<KvArena> source_, destination_;
  std::counting_semaphore<> wakes_{0};
  std::unique_ptr<KvTransport> transport_;  // the first to go
};

TEST_P(KvTransportConformanceTest, BytesArriveInGroupsOfLayers) {
  for (uint32_t group : {30u, 8u, 7u, 1u}) {
    const TransferSpec spec = Spec(group, 5);
    ASSERT_TRUE(transport_->Open(spec).ok());
    for (const TransferPiece& piece : Pieces(spec, 5, group)) {
      FillAndPost(spec, piece);
    }
    const auto events = WaitForEvents(1);
    ASSERT_EQ(events.size(), 1u);
    EXPECT_EQ(events[0].id, spec.id);
    EXPECT_EQ(events[0].outcome, Outcome::kComplete) << events[0].status;
    EXPECT_EQ(events[0].bytes, moves_bytes() ? 5 * kLayout.block_bytes() : 0);
    ExpectArrived(spec);
  }
  EXPECT_EQ(transport_->stats().transfers_completed, 4u);
}

TEST_P(KvTransportConformanceTest, LayersThatStayBehindAreNotTouched) {
  TransferSpec spec = Spec(1, 3);
  spec.first_layer = 2;
  for (const BlockPair& pair : spec.pairs) {
    std::fill_n(destination().block(pair.destination), kLayout.block_bytes(),
                std::byte{0xab});
  }
  ASSERT_TRUE(transport_->Open(spec).ok());
  FillAndPost(spec, {spec.id, 0, 3, spec.first_layer, kLayout.layers});
  const auto events = WaitForEvents(1);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].outcome, Outcome::kComplete) << events[0].status;
  const size_t begin = spec.first_layer * kLayout.layer_bytes();
  for (uint32_t pair = 0; pair < 3; ++pair) {
    const std::byte* block = destination().block(spec.pairs[pair].destination);
    for (size_t i = 0; i < kLayout.block_bytes(); ++i) {
      ASSERT_EQ(block[i],
                i < begin ? std::byte{0xab} : Expected(spec.id, pair, i));
    }
  }
}

TEST_P(KvTransportConformanceTest, PiecesMayComeInAnyOrder) {
  const TransferSpec spec = Spec(1, 7);
  ASSERT_TRUE(transport_->Open(spec).ok());
  auto pieces = Pieces(spec, 2, 8);
  std::shuffle(pieces.begin(), pieces.end(), Rng(1));
  for (const TransferPiece& piece : pieces) FillAndPost(spec, piece);
  ASSERT_EQ(WaitForEvents(1).size(), 1u);
  ExpectArrived(spec);
}

TEST_P(KvTransportConformanceTest, NothingIsCompleteBeforeAllIsPosted) {
  const TransferSpec spec = Spec(1, 2);
  ASSERT_TRUE(transport_->Open(spec).ok());
  auto pieces = Pieces(spec, 1, 8);
  const TransferPiece last = pieces.back();
  pieces.pop_back();
  for (const TransferPiece& piece : pieces) FillAndPost(spec, piece);
  // A second transfer behind it shows that the first had its chance.
  const TransferSpec other = Spec(2, 1, 2);
  ASSERT_TRUE(transport_->Open(other).ok());
  for (const TransferPiece& piece : Pieces(other, 1, 30)) {
    FillAndPost(other, piece);
  }
  auto events = WaitForEvents(1);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].id, other.id);
  FillAndPost(spec, last);
  events = WaitForEvents(1);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].id, spec.id);
}

TEST_P(KvTransportConformanceTest, ATransferOfNothingCompletes) {
  ASSERT_TRUE(transport_->Open(Spec(1, 0)).ok());
  const auto events = WaitForEvents(1);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].outcome, Outcome::kComplete);
  EXPECT_EQ(events[0].bytes, 0u);
}

TEST_P(KvTransportConformanceTest, RefusalsLeaveNoTrace) {
  TransportOptions options;
  options.max_in_flight = 2;
  Restart(options);
  ASSERT_TRUE(transport_->Open(Spec(1, 1)).ok());
  EXPECT_EQ(transport_->Open(Spec(1, 1, 1)).code(),
            absl::StatusCode::kAlreadyExists);
  TransferSpec unknown = Spec(2, 1, 1);
  unknown.source = kStranger;
  EXPECT_EQ(transport_->Open(unknown).code(), absl::StatusCode::kNotFound);
  unknown = Spec(2, 1, 1);
  unknown.destination = kStranger;
  EXPECT_EQ(transport_->Open(unknown).code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(transport_->Open(Spec(2, 1, 1)).ok());
  EXPECT_EQ(transport_->Open(Spec(3, 1, 2)).code(),
            absl::StatusCode::kResourceExhausted);
  transport_->Cancel(TransferId(1));
  transport_->Cancel(TransferId(2));
  transport_->Cancel(TransferId(3));
  EXPECT_EQ(WaitForEvents(2).size(), 2u);
  std::vector<TransferEvent> more;
  transport_->Poll(more);
  EXPECT_TRUE(more.empty());
  EXPECT_TRUE(transport_->Open(Spec(3, 1, 2)).ok());  // There is room again.
}

TEST_P(KvTransportConformanceTest, AnIdIsTakenUntilItsEventIsReported) {
  ASSERT_TRUE(transport_->Open(Spec(1, 1)).ok());
  transport_->Cancel(TransferId(1));
  EXPECT_EQ(transport_->Open(Spec(1, 1)).code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(WaitForEvents(1).size(), 1u);
}

TEST_P(KvTransportConformanceTest, PoolsAgreeOnTheLayout) {
  KvLayout other = kLayout;
  other.block_tokens = 16;
  const auto odd = *KvArena::Create(other, 2);
  const absl::Status status = transport_->RegisterPool(kStranger, *odd);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(), ::testing::HasSubstr(ToString(other)));
  EXPECT_EQ(transport_->RegisterPool(kSource, *source_).code(),
            absl::StatusCode::kAlreadyExists);
}

TEST_P(KvTransportConformanceTest, RepeatedAndLatePiecesAreDropped) {
  const TransferSpec spec = Spec(1, 1);
  const TransferPiece all = Pieces(spec, 1, 30)[0];
  transport_->Post(all);  // unknown yet
  ASSERT_TRUE(transport_->Open(spec).ok());
  FillAndPost(spec, all);
  transport_->Post(all);  // a second time
  const auto events = WaitForEvents(1);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].outcome, Outcome::kComplete);
  std::memset(destination().block(spec.pairs[0].destination), 0xEE,
              kLayout.block_bytes());
  transport_->Post(all);  // dead
  transport_->Cancel(spec.id);
  EXPECT_EQ(transport_->stats().late_pieces_dropped, 3u);
  const TransferSpec other = Spec(2, 1, 1);
  ASSERT_TRUE(transport_->Open(other).ok());
  FillAndPost(other, Pieces(other, 1, 30)[0]);
  EXPECT_EQ(WaitForEvents(1).size(), 1u);
  EXPECT_EQ(destination().block(spec.pairs[0].destination)[0], std::byte{0xEE});
}

TEST_P(KvTransportConformanceTest, CancelIsTerminalOnceAndIdempotent) {
  const TransferSpec spec = Spec(1, 4);
  ASSERT_TRUE(transport_->Open(spec).ok());
  FillAndPost(spec, Pieces(spec, 4, 8)[0]);
  transport_->Cancel(spec.id);
  transport_->Cancel(spec.id);
  transport_->Post(Pieces(spec, 4, 8)[1]);
  const auto events = WaitForEvents(1);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].outcome, Outcome::kCancelled);
  transport_->Cancel(spec.id);
  std::vector<TransferEvent> more;
  transport_->Poll(more);
  EXPECT_TRUE(more.empty());
  EXPECT_EQ(transport_->stats().transfers_cancelled, 1u);
  EXPECT_EQ(transport_->stats().late_pieces_dropped, 1u);
}

TEST_P(KvTransportConformanceTest, CanBeDestroyedWithTransfersInFlight) {
  for (int round = 0; round < 20; ++round) {
    Restart({});
    for (uint64_t id = 0; id < 4; ++id) {
      const TransferSpec spec = Spec(id, 6, static_cast<uint32_t>(id) * 6);
      ASSERT_TRUE(transport_->Open(spec).ok());
      for (const TransferPiece& piece : Pieces(spec, 1 + round % 6, 8)) {
        if (id == 3 && piece.first_layer == 24) continue;  // never complete
        transport_->Post(piece);
      }
    }
    transport_.reset();
    // Nobody writes any more.
    std::memset(destination().block(BlockId(0)), 0, kLayout.block_bytes());
  }
}

// Opens, posts, cancels and polls at random, and holds blocks as the engine
// does: until the terminal event. Then both sides are poisoned at once.
class RandomTransfers {
 public:
  struct Live {
    TransferSpec spec;
    std::vector<TransferPiece> unposted;
  };

  RandomTransfers(uint64_t seed, uint32_t capacity, bool same_blocks)
      : rng(seed), same_blocks_(same_blocks) {
    for (uint32_t i = 0; i < capacity; ++i) {
      free_sources_.push_back(BlockId(i));
      free_destinations_.push_back(BlockId(i));
    }
  }

  // Fills in the pairs of `spec`; false when there are no blocks for it.
  bool Take(TransferSpec& spec) {
    for (uint64_t n = rng.Below(5); n > 0; --n) {
      if (free_sources_.empty()) break;
      const BlockId source = TakeAny(free_sources_);
      spec.pairs.push_back(
          {source, same_blocks_ ? source : TakeAny(free_destinations_)});
    }
    return !spec.pairs.empty() || rng.Below(4) == 0;
  }
  void GiveBack(const TransferSpec& spec) {
    for (const BlockPair& pair : spec.pairs) {
      free_sources_.push_back(pair.source);
      if (!same_blocks_) free_destinations_.push_back(pair.destination);
    }
  }
  const std::vector<BlockId>& idle_destinations() const {
    return same_blocks_ ? free_sources_ : free_destinations_;
  }

  Rng rng;
  std::map<TransferId, Live> live;
  std::map<TransferId, TransferSpec> finished;

 private:
  BlockId TakeAny(std::vector<BlockId>& from) {
    std::swap(from[rng.Below(from.size())], from.back());
    const BlockId id = from.back();
    from.pop_back();
    return id;
  }

  const bool same_blocks_;
  std::vector<BlockId> free_sources_, free_destinations_;
};

class KvTransportRandomTest : public KvTransportConformanceTest {
 protected:
  void Run(uint64_t seed, int steps) {
    Restart({});
    RandomTransfers transfers(seed, kCapacity, !moves_bytes());
    uint64_t opened = 0;
    for (int step = 0; step < steps && !HasFatalFailure(); ++step) {
      switch (transfers.rng.Below(8)) {
        case 0:
          opened += OpenOne(transfers, TransferId(opened));
          break;
        case 1:
          if (transfers.rng.Below(4) == 0) CancelOne(transfers, opened);
          break;
        case 2: {
          std::vector<TransferEvent> events;
          transport_->Poll(events);
          for (const auto& event : events) Finish(transfers, event);
          break;
        }
        case 3:
          PostLate(transfers);
          break;
        default:
          PostOne(transfers);
      }
    }
    while (!transfers.live.empty() && !HasFailure()) {
      for (const auto& [id, live] : transfers.live) transport_->Cancel(id);
      for (const auto& event : WaitForEvents(1)) Finish(transfers, event);
    }
    ExpectPoisoned(transfers);
    const TransportStats stats = transport_->stats();
    EXPECT_EQ(stats.transfers_completed + stats.transfers_cancelled, opened);
    EXPECT_EQ(stats.transfers_failed, 0u);
    EXPECT_EQ(transfers.finished.size(), opened);
    completed_ += stats.transfers_completed;
    cancelled_ += stats.transfers_cancelled;
  }

  uint64_t completed_ = 0, cancelled_ = 0;  // over all seeds

 private:
  bool OpenOne(RandomTransfers& transfers, TransferId id) {
    ExpectPoisoned(transfers);
    TransferSpec spec{id, kSource, destination_pool(), {}};
    if (!transfers.Take(spec)) return false;
    EXPECT_TRUE(transport_->Open(spec).ok());
    const uint32_t groups[] = {30, 8, 7, 1};
    auto pieces =
        Pieces(spec, 1 + static_cast<uint32_t>(transfers.rng.Below(4)),
               groups[transfers.rng.Below(4)]);
    std::shuffle(pieces.begin(), pieces.end(), transfers.rng);
    transfers.live.emplace(id, RandomTransfers::Live{spec, std::move(pieces)});
    return true;
  }

  void PostOne(RandomTransfers& transfers) {
    if (transfers.live.empty()) return;
    auto it = transfers.live.begin();
    std::advance(it, transfers.rng.Below(transfers.live.size()));
    auto& [spec, unposted] = it->second;
    for (uint64_t n = transfers.rng.Below(6); n > 0 && !unposted.empty(); --n) {
      FillAndPost(spec, unposted.back());
      unposted.pop_back();
    }
  }

  void CancelOne(RandomTransfers& transfers, uint64_t opened) {
    transport_->Cancel(TransferId(transfers.rng.Below(opened + 1)));
  }

  void PostLate(RandomTransfers& transfers) {
    if (transfers.finished.empty()) return;
    auto it = transfers.finished.begin();
    std::advance(it, transfers.rng.Below(transfers.finished.size()));
    for (const TransferPiece& piece : Pieces(it->second, 1, 30)) {
      transport_->Post(piece);
    }
  }

  void Finish(RandomTransfers& transfers, const TransferEvent& event) {
    const auto it = transfers.live.find(event.id);
    ASSERT_NE(it, transfers.live.end()) << "no second terminal event";
    const TransferSpec spec = it->second.spec;
    if (event.outcome == Outcome::kComplete) {
      EXPECT_TRUE(it->second.unposted.empty());
      ExpectArrived(spec);
    } else {
      EXPECT_EQ(event.outcome, Outcome::kCancelled) << event.status;
    }
    for (const BlockPair& pair : spec.pairs) {
      Poison(source_->block(pair.source));
      Poison(destination().block(pair.destination));
    }
    transfers.GiveBack(spec);
    transfers.live.erase(it);
    transfers.finished.emplace(spec.id, spec);
  }

  static void Poison(std::byte* block) {
    std::memset(block, 0xEE, kLayout.block_bytes());
  }

  // Nothing was written after a terminal event. Blocks that were never in a
  // transfer are zero.
  void ExpectPoisoned(const RandomTransfers& transfers) {
    for (BlockId id : transfers.idle_destinations()) {
      const std::byte* block = destination().block(id);
      const std::byte first = block[0];
      ASSERT_TRUE(first == std::byte{0xEE} || first == std::byte{0});
      ASSERT_TRUE(std::all_of(block, block + kLayout.block_bytes(),
                              [first](std::byte b) { return b == first; }))
          << "block " << id << " was written after its terminal event";
    }
  }
};

TEST_P(KvTransportRandomTest, OneTerminalEventInEveryInterleaving) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    Run(seed, 300);
    if (HasFailure()) return;
  }
  // The schedules are worth something only if they meet both ends.
  EXPECT_GT(completed_, 100u);
  EXPECT_GT(cancelled_, 100u);
}

}  // namespace braid
