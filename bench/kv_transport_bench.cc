// What a hand-over of KV costs on this machine:
//
//   copy       bytes moved between two pools whose free blocks are scattered,
//              over memcpy of the same bytes in the same run (alternating, so
//              that a busy neighbour slows both)
//   latency    from the last Post to the terminal event in hand
//   index      prefix lookups and inserts, per block of 16 tokens
//
// Shapes are the default model's: 368,640 bytes per block, layer groups of 8.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <ctime>
#include <memory>
#include <semaphore>
#include <vector>

#include <benchmark/benchmark.h>

#include "base/check.h"
#include "base/rng.h"
#include "kvcache/block_pool.h"
#include "kvcache/block_table.h"
#include "kvcache/prefix_index.h"
#include "kvcache/transport/copy_transport.h"
#include "kvcache/transport/loopback_transport.h"

namespace braid {
namespace {

constexpr KvLayout kLayout{.layers = 30, .kv_heads = 3, .head_dim = 64};
constexpr uint32_t kGroup = 8;
constexpr PoolId kFrom{0}, kTo{1};

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
      .count();
}

std::vector<BlockId> ShuffledBlocks(uint32_t n, uint64_t seed) {
  std::vector<BlockId> blocks(n);
  for (uint32_t i = 0; i < n; ++i) blocks[i] = BlockId(i);
  std::shuffle(blocks.begin(), blocks.end(), Rng(seed));
  return blocks;
}

std::unique_ptr<KvArena> TouchedArena(uint32_t blocks) {
  auto arena = *KvArena::Create(kLayout, blocks);
  std::memset(arena->block(BlockId(0)), 1, blocks * kLayout.block_bytes());
  return arena;
}

// Two arenas of `blocks` blocks and a transport between them.
class Link {
 public:
  explicit Link(uint32_t blocks, uint32_t checked_share)
      : from(TouchedArena(blocks)), to(TouchedArena(blocks)) {
    CopyTransportOptions options;
    options.checked_share = checked_share;
    options.common.wake = [this] { wakes_.release(); };
    transport_ = std::make_unique<CopyTransport>(std::move(options));
    BRAID_CHECK(transport_->RegisterPool(kFrom, *from).ok());
    BRAID_CHECK(transport_->RegisterPool(kTo, *to).ok());
    spec_ = {TransferId(0), kFrom, kTo, {}};
    const auto sources = ShuffledBlocks(blocks, 1);
    const auto destinations = ShuffledBlocks(blocks, 2);
    for (uint32_t i = 0; i < blocks; ++i) {
      spec_.pairs.push_back({sources[i], destinations[i]});
    }
  }

  // Opens, posts group after group of layers and waits for the event.
  void Move() {
    spec_.id = TransferId(spec_.id.value() + 1);
    BRAID_CHECK(transport_->Open(spec_).ok());
    const auto pairs = static_cast<uint32_t>(spec_.pairs.size());
    for (uint32_t layer = 0; layer < kLayout.layers; layer += kGroup) {
      transport_->Post({spec_.id, 0, pairs, layer,
                        std::min(layer + kGroup, kLayout.layers)});
    }
    for (events_.clear(); events_.empty(); transport_->Poll(events_)) {
      (void)wakes_.try_acquire_for(std::chrono::seconds(10));
    }
    BRAID_CHECK(events_[0].outcome == TransferEvent::Outcome::kComplete);
  }

  std::unique_ptr<KvArena> from, to;

 private:
  std::counting_semaphore<> wakes_{0};
  TransferSpec spec_;
  std::vector<TransferEvent> events_;
  std::unique_ptr<CopyTransport> transport_;
};

// CPU time of all threads: what a copy costs even where neighbours make the
// mover wait for a core.
double CpuSeconds() {
  timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) +
         static_cast<double>(now.tv_nsec) * 1e-9;
}

// Wall and CPU time of repeated runs of one thing.
struct Timings {
  std::vector<double> wall, cpu;

  template <typename F>
  void Add(F&& run) {
    const auto start = std::chrono::steady_clock::now();
    const double cpu_start = CpuSeconds();
    run();
    wall.push_back(SecondsSince(start));
    cpu.push_back(CpuSeconds() - cpu_start);
  }
};

double Median(std::vector<double>& values) {
  const auto middle = values.begin() + values.size() / 2;
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// Args: blocks, one byte in how many is checksummed.
void BM_CopyOverMemcpy(benchmark::State& state) {
  const auto blocks = static_cast<uint32_t>(state.range(0));
  Link link(blocks, static_cast<uint32_t>(state.range(1)));
  const size_t bytes = blocks * kLayout.block_bytes();
  link.Move();
  Timings moves, memcpys;
  for (auto _ : state) {
    memcpys.Add([&] {
      std::memcpy(link.to->block(BlockId(0)), link.from->block(BlockId(0)),
                  bytes);
      benchmark::ClobberMemory();
    });
    moves.Add([&] { link.Move(); });
    state.SetIterationTime(moves.wall.back());
  }
  const double move = Median(moves.wall), memcpy = Median(memcpys.wall);
  state.counters["GB/s"] = static_cast<double>(bytes) / move * 1e-9;
  state.counters["memcpy_GB/s"] = static_cast<double>(bytes) / memcpy * 1e-9;
  state.counters["over_memcpy"] = memcpy / move;
  state.counters["cpu_over_memcpy"] = Median(memcpys.cpu) / Median(moves.cpu);
}
BENCHMARK(BM_CopyOverMemcpy)
    ->ArgNames({"blocks", "checked_share"})
    ->Args({512, 32})
    ->Args({512, 1 << 20})
    ->Args({64, 32})
    ->Args({16, 32})
    ->UseManualTime()
    ->MinTime(2)
    ->Unit(benchmark::kMillisecond);

// One block, one layer group: what is exposed after prefill's last layer.
void BM_CopyLastGroupOfOneBlock(benchmark::State& state) {
  Link link(1, 32);
  for (auto _ : state) link.Move();
}
BENCHMARK(BM_CopyLastGroupOfOneBlock)->UseRealTime();

void BM_LoopbackLastPostToEvent(benchmark::State& state) {
  const auto blocks = static_cast<uint32_t>(state.range(0));
  const auto arena = *KvArena::Create(kLayout, blocks);
  LoopbackTransport transport({});
  BRAID_CHECK(transport.RegisterPool(kFrom, *arena).ok());
  TransferSpec spec{TransferId(0), kFrom, kFrom, {}};
  for (BlockId id : ShuffledBlocks(blocks, 1)) spec.pairs.push_back({id, id});
  std::vector<TransferEvent> events;
  for (auto _ : state) {
    spec.id = TransferId(spec.id.value() + 1);
    BRAID_CHECK(transport.Open(spec).ok());
    transport.Post({spec.id, 0, blocks, 0, 24});
    const auto start = std::chrono::steady_clock::now();
    transport.Post({spec.id, 0, blocks, 24, 30});
    events.clear();
    transport.Poll(events);
    state.SetIterationTime(SecondsSince(start));
    BRAID_CHECK(events.size() == 1);
  }
}
BENCHMARK(BM_LoopbackLastPostToEvent)->Arg(16)->Arg(512)->UseManualTime();

std::vector<TokenId> RandomTokens(size_t n, uint64_t seed) {
  Rng rng(seed);
  std::vector<TokenId> tokens(n);
  for (TokenId& token : tokens) token = static_cast<TokenId>(rng.Below(49152));
  return tokens;
}

// A prompt of 8,192 tokens among `prompts` others that are cached.
void BM_PrefixMatch(benchmark::State& state) {
  const auto prompts = static_cast<uint64_t>(state.range(0));
  constexpr uint32_t kBlocks = 512;
  BlockPool pool(kFrom, static_cast<uint32_t>(prompts) * kBlocks);
  PrefixIndex index(pool, 16);
  std::vector<std::vector<TokenId>> texts;
  for (uint64_t i = 0; i < prompts; ++i) {
    texts.push_back(RandomTokens(size_t{kBlocks} * 16, i));
    BlockTable table(pool);
    BRAID_CHECK(pool.Reserve(table, kBlocks));
    table.UseUpTo(kBlocks);
    index.Publish(0, texts.back(), table);
  }
  size_t next = 0;
  for (auto _ : state) {
    const PrefixMatch match = index.Match(0, texts[next++ % texts.size()]);
    BRAID_CHECK(match.blocks.size() == kBlocks);
  }
  state.counters["blocks/s"] =
      benchmark::Counter(static_cast<double>(state.iterations()) * kBlocks,
                         benchmark::Counter::kIsRate);
}
BENCHMARK(BM_PrefixMatch)->ArgName("prompts")->Arg(1)->Arg(64);

// The life of a prompt in a full pool: evict, reserve, publish, release.
void BM_PrefixInsertAndEvict(benchmark::State& state) {
  constexpr uint32_t kBlocks = 512;
  BlockPool pool(kFrom, 8 * kBlocks);
  PrefixIndex index(pool, 16);
  auto tokens = RandomTokens(size_t{kBlocks} * 16, 1);
  for (auto _ : state) {
    ++tokens[0];  // Another prompt from the first block on.
    BlockTable table(pool);
    BRAID_CHECK(index.MakeRoom(kBlocks) && pool.Reserve(table, kBlocks));
    table.UseUpTo(kBlocks);
    index.Publish(0, tokens, table);
  }
  state.counters["blocks/s"] =
      benchmark::Counter(static_cast<double>(state.iterations()) * kBlocks,
                         benchmark::Counter::kIsRate);
}
BENCHMARK(BM_PrefixInsertAndEvict);

}  // namespace
}  // namespace braid
