// CPU runners driven step by step from a test: blocks are handed out from one
// arena, and every step is waited for.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include "base/check.h"
#include "cpu/cpu_runner.h"

namespace braid::cpu {

class RunnerDriver {
 public:
  struct Config {
    std::vector<std::vector<int>> cores = {{0}};  // by device
    uint32_t blocks = 256;
    uint32_t block_tokens = 16;
    KvDType dtype = KvDType::kF16;
    CpuOptions options = {.pin_threads = false};
    uint32_t shuffle_blocks = 0;  // a seed; 0: handed out in order
  };

  // A sequence's tokens so far and where their KV is.
  struct Sequence {
    std::vector<TokenId> tokens;
    std::vector<BlockId> blocks;
    uint32_t written = 0;  // tokens whose KV is there
  };

  RunnerDriver(std::shared_ptr<const CpuModel> model, const Config& config) {
    KvLayout layout = model->MakeKvLayout(config.block_tokens);
    layout.dtype = config.dtype;
    auto arena = KvArena::Create(layout, config.blocks);
    BRAID_CHECK(arena.ok());
    arena_ = *std::move(arena);
    std::vector<CpuDeviceSpec> devices;
    for (size_t i = 0; i < config.cores.size(); ++i) {
      devices.push_back(
          {DeviceId(static_cast<uint32_t>(i)), config.cores[i], arena_.get()});
    }
    auto runners = MakeCpuRunners(model, devices, config.options);
    BRAID_CHECK_MSG(runners.ok(), runners.status().ToString());
    runners_ = *std::move(runners);
    for (uint32_t i = 0; i < config.blocks; ++i) free_.emplace_back(i);
    if (config.shuffle_blocks != 0) {
      std::mt19937 rng(config.shuffle_blocks);
      std::shuffle(free_.begin(), free_.end(), rng);
    }
    // Unwritten KV is whatever was there before: NaN is the worst of it.
    for (const BlockId id : free_) {
      std::fill_n(arena_->block(id), layout.block_bytes(), std::byte{0xff});
    }
  }

  // Room for the sequence's tokens and one more.
  void Reserve(Sequence& sequence) {
    while (sequence.blocks.size() * arena_->layout().block_tokens <
           sequence.tokens.size() + 1) {
      BRAID_CHECK(!free_.empty());
      sequence.blocks.push_back(free_.back());
      free_.pop_back();
    }
  }

  ForwardResult Step(const ForwardBatch& batch, size_t device = 0,
                     std::function<void(uint32_t)> on_progress = nullptr) {
    std::optional<ForwardResult> result;
    std::atomic<bool> done{false};
    runners_[device]->Launch(batch, {.on_progress = std::move(on_progress),
                                     .on_done = [&](ForwardResult r) {
                                       result = std::move(r);
                                       done.store(true);
                                       done.notify_all();
                                     }});
    done.wait(false);
    BRAID_CHECK(result->status.ok());
    return *std::move(result);
  }

  // The next `n` tokens after what is written, as rows.
  SequenceRows Rows(Sequence& sequence, uint32_t n) {
    Reserve(sequence);
    return {.tokens = std::span(sequence.tokens).subspan(sequence.written, n),
            .start = sequence.written,
            .blocks = sequence.blocks};
  }

  // Prefill in one chunk, then `n` greedy tokens.
  std::vector<TokenId> Greedy(std::vector<TokenId> prompt, int n) {
    const SamplingParams greedy = {.temperature = 0};
    Sequence sequence{.tokens = std::move(prompt)};
    std::vector<TokenId> output;
    for (int i = 0; i < n; ++i) {
      SequenceRows rows =
          Rows(sequence, static_cast<uint32_t>(sequence.tokens.size()) -
                             sequence.written);
      rows.sampling = &greedy;
      rows.context.position = sequence.tokens.size();
      ForwardBatch batch;
      batch.sequences = {rows};
      const ForwardResult result = Step(batch);
      sequence.written = static_cast<uint32_t>(sequence.tokens.size());
      output.push_back(result.sequences[0].token->token);
      sequence.tokens.push_back(output.back());
    }
    return output;
  }

  // Every token after the first, with the best in its place.
  std::vector<SampledToken> Score(const std::vector<TokenId>& tokens) {
    constexpr uint32_t kChunk = 512;
    Sequence sequence{.tokens = tokens};
    const auto n = static_cast<uint32_t>(tokens.size()) - 1;
    std::vector<SampledToken> scores;
    while (sequence.written < n) {
      const uint32_t chunk = std::min(kChunk, n - sequence.written);
      SequenceRows rows = Rows(sequence, chunk);
      rows.score_top_logprobs = 1;
      rows.score_targets =
          std::span(tokens).subspan(sequence.written + 1, chunk);
      ForwardBatch batch;
      batch.sequences = {rows};
      const ForwardResult result = Step(batch);
      const std::vector<SampledToken>& more = result.sequences[0].scores;
      scores.insert(scores.end(), more.begin(), more.end());
      sequence.written += chunk;
    }
    return scores;
  }

  // Keys and values of the sequence's written tokens, in order of layer (from
  // `first_layer` on), head and token.
  std::vector<std::byte> KvOf(const Sequence& sequence,
                              uint32_t first_layer = 0) const {
    const KvLayout& layout = arena_->layout();
    std::vector<std::byte> kv;
    const size_t element = layout.element_bytes();
    for (uint32_t layer = first_layer; layer < layout.layers; ++layer) {
      for (uint32_t head = 0; head < layout.kv_heads; ++head) {
        for (uint32_t t = 0; t < sequence.written; ++t) {
          const std::byte* block =
              arena_->block(sequence.blocks[t / layout.block_tokens]);
          const uint32_t slot = t % layout.block_tokens;
          for (uint32_t d = 0; d < layout.head_dim; ++d) {
            const std::byte* k = block + layout.KeyPage(layer, head) +
                                 (d * layout.block_tokens + slot) * element;
            kv.insert(kv.end(), k, k + element);
          }
          const std::byte* v = block + layout.ValuePage(layer, head) +
                               slot * layout.head_dim * element;
          kv.insert(kv.end(), v, v + layout.head_dim * element);
        }
      }
    }
    return kv;
  }

  const KvArena& arena() const { return *arena_; }
  ModelRunner& runner(size_t device = 0) { return *runners_[device]; }

 private:
  std::unique_ptr<KvArena> arena_;
  std::vector<std::unique_ptr<ModelRunner>> runners_;
  std::vector<BlockId> free_;
};

}  // namespace braid::cpu
