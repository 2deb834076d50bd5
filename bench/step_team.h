// Steps of the CPU runner run back to back, for benchmarks.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <vector>

#include "base/check.h"
#include "cpu/core_team.h"
#include "cpu/forward.h"
#include "cpu/packed_model.h"
#include "cpu/parscale_weights.h"

namespace braid::cpu {

inline constexpr uint32_t kBlockTokens = 16;

// A team of cores that runs steps back to back, as a busy device does.
class Team {
 public:
  static constexpr uint32_t kMaxRows = 512;

  Team(const PackedModel& model, const KvArena& arena, int cores)
      : cores_(cores) {
    std::vector<int> list;
    for (int i = 0; i < cores; ++i) list.push_back(i);
    auto threads = CoreThreads::Start(list, {});
    BRAID_CHECK_MSG(threads.ok(), threads.status().ToString());
    threads_ = *std::move(threads);
    auto prefixes = PrefixPages::Make(model.sets, arena.layout(), model.isa);
    BRAID_CHECK(prefixes.ok());
    auto forward = Forward::Create(
        model, arena, *prefixes, {.max_rows = kMaxRows, .max_threads = cores});
    BRAID_CHECK(forward.ok());
    forward_ = *std::move(forward);
  }

  double Seconds(const ForwardBatch& batch) {
    const auto start = std::chrono::steady_clock::now();
    forward_->Begin(batch, nullptr, cores_);
    done_.store(false);
    for (int i = 0; i < cores_; ++i) {
      threads_->Post(
          i,
          [](void* self, int index) {
            auto* team = static_cast<Team*>(self);
            team->forward_->Run(index);
            if (index != 0) return;
            for (int i = 1; i < team->cores_; ++i) {
              team->threads_->AwaitIdle(i);
            }
            team->done_.store(true);
            team->done_.notify_all();
          },
          this, i);
    }
    // Asleep, so as not to take a core from the team.
    done_.wait(false);
    const auto end = std::chrono::steady_clock::now();
    (void)forward_->Take();
    return std::chrono::duration<double>(end - start).count();
  }

  void Profile(std::vector<StageTicks>* ticks) { forward_->Profile(ticks); }

 private:
  const int cores_;
  std::unique_ptr<Forward> forward_;
  std::unique_ptr<CoreThreads> threads_;
  std::atomic<bool> done_{false};
};

// Sequences of random tokens, each with its own blocks.
struct Sequences {
  std::vector<std::vector<TokenId>> tokens;
  std::vector<std::vector<BlockId>> blocks;

  Sequences(size_t count, size_t length, int32_t vocabulary) {
    uint32_t next = 0, state = 1;
    for (size_t s = 0; s < count; ++s) {
      tokens.emplace_back();
      blocks.emplace_back();
      for (size_t i = 0; i < length; ++i) {
        state = state * 1664525 + 1013904223;
        tokens.back().push_back(
            static_cast<TokenId>((state >> 8) % uint32_t(vocabulary)));
      }
      for (size_t i = 0; i < length; i += kBlockTokens) {
        blocks.back().emplace_back(next++);
      }
    }
  }
};

inline double Median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}

inline void PrintStages(const std::vector<StageTicks>& ticks) {
  static const char* const kNames[kStages] = {"embed", "norm",   "qkv", "rope",
                                              "attn",  "o",      "ffn", "mix",
                                              "head",  "sample", "wait"};
  for (const StageTicks& thread : ticks) {
    uint64_t total = 0;
    for (const uint64_t t : thread) total += t;
    std::printf("    ");
    for (int i = 0; i < kStages; ++i) {
      std::printf(" %s %.1f%%", kNames[i],
                  100.0 * static_cast<double>(thread[i]) /
                      static_cast<double>(std::max<uint64_t>(total, 1)));
    }
    std::printf("\n");
  }
}

}  // namespace braid::cpu
