// PARSCALE sets of random weights for small models, and gangs of their streams
// driven step by step.
#pragma once

#include <cstdint>
#include <deque>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "model/parscale.h"
#include "tests/cpu/random_weights.h"
#include "tests/cpu/runner_driver.h"
#include "tests/cpu/tiny_model.h"

namespace braid::cpu {

struct StreamsShape {
  ParscaleKind kind = ParscaleKind::kNested;
  int32_t streams = 4;
  int32_t prefix_tokens = 10;
  DType dtype = DType::kBF16;
};

class TinyStreams {
 public:
  TinyStreams(const ModelConfig& config, const StreamsShape& shape,
              uint64_t seed = 5)
      : rng_(seed) {
    set_.kind = shape.kind;
    set_.name = "tiny";
    set_.streams = shape.streams;
    set_.prefix_tokens = shape.prefix_tokens;
    set_.smoothing = 0.1f;
    set_.prefix_k.resize(shape.streams);
    set_.prefix_v.resize(shape.streams);
    const int64_t rows = int64_t{config.kv_heads} * shape.prefix_tokens;
    for (int32_t s = 0; s < shape.streams; ++s) {
      for (int32_t l = 0; set_.PrefixOf(s) > 0 && l < config.layers; ++l) {
        set_.prefix_k[s].push_back(Matrix(shape.dtype, rows, config.head_dim));
        set_.prefix_v[s].push_back(Matrix(shape.dtype, rows, config.head_dim));
      }
      set_.w1.push_back(Matrix(shape.dtype, config.hidden, config.hidden));
      set_.b2.push_back(static_cast<float>(rng_.Uniform() - 0.5));
    }
    set_.w2 = Matrix(shape.dtype, shape.streams, config.hidden);
    for (int32_t i = 0; i < config.hidden; ++i) {
      set_.b1.push_back(static_cast<float>(rng_.Uniform() - 0.5));
    }
  }

  const ParscaleSet& set() const { return set_; }
  ParscaleSet& set() { return set_; }
  Tensor Matrix(DType dtype, int64_t rows, int64_t columns) {
    matrices_.emplace_back(dtype, rows, columns, rng_);
    return matrices_.back().tensor();
  }

 private:
  Rng rng_;
  ParscaleSet set_;
  std::deque<RandomWeights> matrices_;
};

inline std::shared_ptr<const CpuModel> PackWithSets(
    const TinyModel& tiny, std::span<const ParscaleSet> sets, Isa isa) {
  auto model = CpuModel::Pack(tiny.config(), tiny.weights(), isa, 2, sets);
  BRAID_CHECK_MSG(model.ok(), model.status().ToString());
  return *model;
}

// A request: the same tokens in all streams, each with its own KV.
struct Gang {
  Gang(uint32_t set, size_t most_streams, std::vector<TokenId> text)
      : set(set), tokens(std::move(text)) {
    for (size_t s = 0; s < most_streams; ++s) {
      streams.push_back({.tokens = tokens});
    }
  }

  uint32_t set;
  std::vector<TokenId> tokens;
  std::vector<RunnerDriver::Sequence> streams;
};

// The rows of one stream from what is written of it up to `end`, to be written
// by the step they are put in.
inline SequenceRows RowsOf(RunnerDriver& driver, Gang& gang, size_t stream,
                           uint32_t end) {
  driver.Reserve(gang.streams[0]);
  RunnerDriver::Sequence& sequence = gang.streams[stream];
  SequenceRows rows = driver.Rows(sequence, end - sequence.written);
  sequence.written = end;
  rows.set = gang.set;
  rows.stream = static_cast<uint32_t>(stream);
  if (stream > 0) rows.stream0_blocks = gang.streams[0].blocks;
  return rows;
}

// The first `p` streams up to `end`, answering together; the leader's index.
inline size_t AddGang(RunnerDriver& driver, Gang& gang, size_t p, uint32_t end,
                      ForwardBatch& batch) {
  const size_t leader = batch.sequences.size();
  for (size_t s = 0; s < p; ++s) {
    batch.sequences.push_back(RowsOf(driver, gang, s, end));
  }
  batch.sequences[leader].gang = static_cast<uint32_t>(p);
  return leader;
}

// Has all of the leader's rows scored that have a next token.
inline void ScoreRows(const Gang& gang, int32_t top, SequenceRows& leader) {
  const uint32_t start = leader.start;
  const auto n = static_cast<uint32_t>(leader.tokens.size());
  const auto last = static_cast<uint32_t>(gang.tokens.size()) - 1;
  leader.score_top_logprobs = top;
  leader.score_targets =
      std::span(gang.tokens).subspan(start + 1, std::min(n, last - start));
}

}  // namespace braid::cpu
