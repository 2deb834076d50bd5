// prefix_bench [TRACE.jsonl.gz]: what the prefix index costs on one core.
//
//   keys    GB/s of token ids hashed, 8,192 ids in blocks of 16
//   match   ns of a Match of 128 known blocks in a full index of 10 M tokens,
//           p50 and p99 over prompts in random order, that were just made and
//           hashed; and the bytes of metadata per block. `apart`: how far in
//           the pool a block is from the one before it, as requests took turns
//           when blocks were taken; at the end of `trace` it is 1 for 98 of 100
//   trace   block operations per second: each of the trace's blocks of 512
//           tokens as 32 blocks of 16, a pool of 3 M tokens. Counted as
//           Dynamo's mooncake_bench does: the blocks of every request that
//           Match is asked about, wherever it may stop, and those that Publish
//           stores. `m_touched_per_s` counts fewer: of Match's, those that it
//           found and the first that it did not. Eviction, and taking and
//           giving back the blocks, are in the time and never counted.
//           Keys are computed before (`keys_in`: in the time as well)
//
// One line of JSON per run. Time is the thread's own on a core; of a match,
// which is short, that on the wall.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <numeric>

#include <time.h>

#include "base/rng.h"
#include "bench/hit_share.h"
#include "kvcache/block_table.h"
#include "kvcache/prefix_index.h"

namespace braid {
namespace {

constexpr uint32_t kBlockTokens = 16;
constexpr int kRuns = 5;

double SecondsOf(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) +
         static_cast<double>(now.tv_nsec) / 1e9;
}
// Of this thread on a core: other work on the machine does not count.
double Now() { return SecondsOf(CLOCK_THREAD_CPUTIME_ID); }
// For what takes so little that it is seldom interrupted: no system call.
double Wall() { return SecondsOf(CLOCK_MONOTONIC); }

std::vector<TokenId> RandomTokens(Rng& rng, size_t n) {
  std::vector<TokenId> tokens(n);
  for (TokenId& token : tokens) {
    token = static_cast<TokenId>(rng.Below(150'000));
  }
  return tokens;
}

void BenchKeys() {
  Rng rng(1);
  const auto tokens = RandomTokens(rng, 8192);
  constexpr int kTimes = 20'000;
  uint64_t sum = 0;
  const double start = Now();
  for (int i = 0; i < kTimes; ++i) {
    PrefixKeys keys(static_cast<uint64_t>(i), kBlockTokens);
    keys.Extend(tokens);
    sum += keys[keys.size() - 1];
  }
  const double seconds = Now() - start;
  std::printf("{\"bench\": \"keys\", \"gb_per_s\": %.2f, \"check\": %d}\n",
              kTimes * 4.0 * static_cast<double>(tokens.size()) / seconds / 1e9,
              static_cast<int>(sum & 1));
}

constexpr uint32_t kPrompts = 4882;  // of 128 blocks: 10 M tokens

// `apart`: how far in the pool a block is from the one before it in its prompt.
void BenchMatch(uint32_t apart) {
  constexpr uint32_t kChain = 128;
  BlockPool pool(PoolId(0), kChain * kPrompts);
  PrefixIndex index(pool, kBlockTokens);
  // Made in some microseconds: matches follow each other as on a busy server.
  const auto prompt = [](uint64_t i) {
    std::vector<TokenId> tokens(kChain * kBlockTokens);
    for (uint64_t j = 0; j < tokens.size(); ++j) {
      const uint64_t mixed = (i << 32 | j) * 0x9e3779b97f4a7c15;
      tokens[j] = static_cast<TokenId>((mixed >> 32) * 150'000 >> 32);
    }
    return tokens;
  };
  const auto keys_of = [](const std::vector<TokenId>& tokens) {
    PrefixKeys keys(7, kBlockTokens);
    keys.Extend(tokens);
    return keys;
  };
  if (kPrompts % apart != 0) std::abort();
  for (uint32_t i = 0; i < kPrompts; i += apart) {
    std::vector<BlockTable> tables(apart);
    for (BlockTable& table : tables) table = BlockTable(pool);
    for (uint32_t n = 0; n < kChain; ++n) {
      for (BlockTable& table : tables) {
        if (!pool.Reserve(table, 1)) std::abort();
      }
    }
    for (uint32_t j = 0; j < apart; ++j) {
      tables[j].UseUpTo(kChain);
      const auto tokens = prompt(i + j);
      index.Publish(keys_of(tokens), tokens, tables[j]);
    }
  }
  Rng rng(2);
  PrefixMatch match;
  std::vector<double> times;
  double clock_ns = 1e9;  // what reading the clock takes, at least
  for (int i = 0; i < 1000; ++i) {
    const double start = Wall();
    clock_ns = std::min(clock_ns, (Wall() - start) * 1e9);
  }
  for (int i = 0; i < 20'000; ++i) {
    const uint64_t which = rng.Below(kPrompts);
    // The prompt was just read and hashed; the index was not.
    const auto tokens = prompt(which);
    const PrefixKeys keys = keys_of(tokens);
    const double start = Wall();
    match = index.Match(keys, tokens, std::move(match));
    times.push_back((Wall() - start) * 1e9 - clock_ns);
    if (match.blocks.size() != kChain) std::abort();
  }
  std::ranges::sort(times);
  std::printf(
      "{\"bench\": \"match\", \"apart\": %u, \"p50_ns\": %.0f, \"p99_ns\": "
      "%.0f, "
      "\"bytes_per_block\": %.1f, \"history_bytes_per_block\": %.1f}\n",
      apart, times[times.size() / 2], times[times.size() * 99 / 100],
      static_cast<double>(index.metadata_bytes()) / pool.capacity(),
      static_cast<double>(index.history_bytes()) / pool.capacity());
}

struct Prompt {
  std::vector<TokenId> tokens;
  PrefixKeys keys;
};

// The tokens of a block are a function of its id.
std::vector<Prompt> PromptsOf(const BlockTrace& trace, size_t requests) {
  std::vector<Prompt> prompts;
  for (size_t r = 0; r < std::min(requests, trace.size()); ++r) {
    Prompt prompt{.keys = PrefixKeys(0, kBlockTokens)};
    for (const uint32_t id : trace[r].blocks) {
      Rng rng(id);
      const auto block = RandomTokens(rng, kTraceBlockTokens);
      prompt.tokens.insert(prompt.tokens.end(), block.begin(), block.end());
    }
    prompt.tokens.resize(trace[r].input_tokens);
    prompt.keys.Extend(prompt.tokens);
    prompts.push_back(std::move(prompt));
  }
  return prompts;
}

void BenchTrace(const std::vector<Prompt>& prompts, EvictionOrder order,
                bool hash) {
  BlockPool pool(PoolId(0), 3'000'000 / kBlockTokens);
  PrefixIndex index(pool, kBlockTokens, {.order = order});
  PrefixMatch match;
  uint64_t asked = 0, looked_up = 0;
  const double start = Now();
  for (const Prompt& prompt : prompts) {
    PrefixKeys own;
    if (hash) {
      own = PrefixKeys(0, kBlockTokens);
      own.Extend(prompt.tokens);
    }
    const PrefixKeys& keys = hash ? own : prompt.keys;
    match = index.Match(keys, prompt.tokens, std::move(match));
    const auto hit = static_cast<uint32_t>(match.blocks.size());
    asked += keys.size();
    looked_up += hit + (hit < keys.size());
    BlockTable table = pool.Share(match.blocks);
    if (!index.MakeRoom(keys.size() - hit)) std::abort();
    if (!pool.Reserve(table, keys.size() - hit)) std::abort();
    table.UseUpTo(keys.size());
    index.Publish(keys, prompt.tokens, table);
  }
  const double seconds = Now() - start;
  const uint64_t stored = index.stats().blocks_inserted;
  const auto per_second = [&](uint64_t count) {
    return static_cast<double>(count) / seconds / 1e6;
  };
  std::printf(
      "{\"bench\": \"trace\", \"order\": \"%s\", \"keys_in\": %s, "
      "\"asked\": %llu, \"looked_up\": %llu, \"stored\": %llu, "
      "\"evicted\": %llu, \"m_ops_per_s\": %.2f, "
      "\"m_touched_per_s\": %.2f}\n",
      order == EvictionOrder::kLru ? "lru" : "expected_reuse",
      hash ? "true" : "false", static_cast<unsigned long long>(asked),
      static_cast<unsigned long long>(looked_up),
      static_cast<unsigned long long>(stored),
      static_cast<unsigned long long>(index.stats().blocks_evicted),
      per_second(asked + stored), per_second(looked_up + stored));
  std::fflush(stdout);
}

}  // namespace
}  // namespace braid

int main(int argc, char** argv) {
  using namespace braid;  // NOLINT(build/namespaces)
  for (int i = 0; i < kRuns; ++i) BenchKeys();
  for (const uint32_t apart : {1u, 2u, kPrompts}) {
    for (int i = 0; i < kRuns; ++i) BenchMatch(apart);
  }
  if (argc < 2) return 0;
  const auto trace = ReadMooncakeTrace(argv[1]);
  if (!trace.ok()) {
    std::fprintf(stderr, "%s\n", trace.status().ToString().c_str());
    return 1;
  }
  const auto prompts = PromptsOf(*trace, 3000);
  for (int i = 0; i < kRuns; ++i) {
    BenchTrace(prompts, EvictionOrder::kExpectedReuse, false);
    BenchTrace(prompts, EvictionOrder::kExpectedReuse, true);
    BenchTrace(prompts, EvictionOrder::kLru, false);
  }
}
