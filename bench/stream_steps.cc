#include "bench/stream_steps.h"

#include <array>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <thread>
#include <utility>

#include "base/check.h"
#include "base/huge_memory.h"
#include "bench/pinned_team.h"
#include "bench/step_team.h"

namespace braid::cpu {

RandomStreams::RandomStreams(const ModelConfig& config, int32_t streams,
                             int32_t prefix_tokens) {
  set_.name = "random";
  set_.streams = streams;
  set_.prefix_tokens = prefix_tokens;
  set_.smoothing = 0.1f;
  set_.prefix_k.resize(streams);
  set_.prefix_v.resize(streams);
  for (int32_t s = 0; s < streams; ++s) {
    for (int32_t l = 0; s > 0 && l < config.layers; ++l) {
      const int64_t rows = int64_t{config.kv_heads} * prefix_tokens;
      set_.prefix_k[s].push_back(Random(rows, config.head_dim));
      set_.prefix_v[s].push_back(Random(rows, config.head_dim));
    }
    set_.w1.push_back(Random(config.hidden, config.hidden));
  }
  set_.b1.resize(config.hidden);
  set_.w2 = Random(streams, config.hidden);
  set_.b2.resize(streams);
}

Tensor RandomStreams::Random(int64_t rows, int64_t columns) {
  std::vector<std::byte>& bytes = bytes_.emplace_back(rows * columns * 2);
  for (int64_t i = 0; i < rows * columns; ++i) {
    state_ = state_ * 1664525 + 1013904223;
    const uint16_t value = FloatToBFloat16(
        static_cast<float>(state_ >> 8) / float{1 << 24} - 0.5f);
    std::memcpy(&bytes[i * 2], &value, 2);
  }
  return {DType::kBF16, rows, columns, bytes.data()};
}

namespace {

constexpr uint32_t kContext = 128;
constexpr int kSteps = 15;  // of each number of streams, in a round
constexpr std::array kStreams = {1, 2, 4, 8};
constexpr int kMost = kStreams.back();
constexpr int32_t kMaxRows = 64;

// The matrix products of a step, and nothing between them but the meetings of
// threads that the data would force.
class BareProducts {
 public:
  explicit BareProducts(const PackedModel& model) : model_(model) {
    const ModelConfig& c = model.config;
    for (const int32_t columns : {c.hidden, model.q_width(), c.ffn}) {
      auto memory = HugeMemory::Map(ActivationBytes(kMaxRows, columns));
      BRAID_CHECK(memory.ok());
      memory_.push_back(*std::move(memory));
      Activations x =
          PlaceActivations(kMaxRows, columns, memory_.back().data());
      for (int32_t i = 0; i < kMaxRows * columns; ++i) {
        x.values[i] = static_cast<float>(i % 7) - 3;
      }
      KernelsFor(model.isa).quantize(x, 0, kMaxRows);
      x_[columns] = x;
    }
    auto output = HugeMemory::Map(sizeof(float) * kMaxRows *
                                  (static_cast<size_t>(c.vocabulary) + 16));
    BRAID_CHECK(output.ok());
    memory_.push_back(*std::move(output));
  }

  // `rows` through the layers, `heads` of them through the output head.
  double Seconds(bench::PinnedTeam& team, int32_t rows, int32_t heads) const {
    return team.Run([&](int thread) {
      const auto multiply = [&](const PackedMatrix& w, int32_t n) {
        const int64_t tiles = (w.rows + kRowTile - 1) / kRowTile;
        const int64_t first = tiles * thread / team.threads() * kRowTile;
        const int64_t end =
            std::min(w.rows, tiles * (thread + 1) / team.threads() * kRowTile);
        KernelsFor(model_.isa)
            .matmul(w, x_.at(static_cast<int32_t>(w.columns)), 0, n, first, end,
                    reinterpret_cast<float*>(memory_.back().data()),
                    (w.rows + 15) / 16 * 16);
      };
      for (const PackedLayer& layer : model_.layers) {
        for (const PackedMatrix* w : {&layer.q, &layer.k, &layer.v}) {
          multiply(*w, rows);
        }
        team.Barrier(thread);
        multiply(layer.o, rows);
        team.Barrier(thread);
        multiply(layer.gate, rows);
        multiply(layer.up, rows);
        team.Barrier(thread);
        multiply(layer.down, rows);
        team.Barrier(thread);
      }
      multiply(model_.output, heads);
    });
  }

 private:
  const PackedModel& model_;
  std::vector<HugeMemory> memory_;
  std::map<int32_t, Activations> x_;
};

// Requests with a context behind them, in all of their streams.
class Gangs {
 public:
  Gangs(Team& team, int batch, int32_t vocabulary)
      : batch_(batch), kv_(batch * kMost, kContext + 1, vocabulary) {
    for (int i = 0; i < batch; ++i) {
      for (int stream = 0; stream < kMost; ++stream) {
        (void)team.Seconds(Rows(i, stream, stream + 1, 0, kContext));
      }
    }
  }

  // One more token of every request.
  ForwardBatch Step(int streams) const {
    ForwardBatch step;
    for (int i = 0; i < batch_; ++i) {
      ForwardBatch one = Rows(i, 0, streams, kContext, 1);
      one.sequences[0].sampling = &greedy_;
      one.sequences[0].gang = static_cast<uint32_t>(streams);
      step.sequences.insert(step.sequences.end(), one.sequences.begin(),
                            one.sequences.end());
    }
    return step;
  }

 private:
  ForwardBatch Rows(int request, int first_stream, int end_stream,
                    uint32_t start, uint32_t n) const {
    ForwardBatch batch;
    const size_t leader = static_cast<size_t>(request) * kMost;
    for (int s = first_stream; s < end_stream; ++s) {
      batch.sequences.push_back(
          {.tokens = std::span(kv_.tokens[leader]).subspan(start, n),
           .start = start,
           .blocks = kv_.blocks[leader + s],
           .set = 1,
           .stream = static_cast<uint32_t>(s)});
      if (s > 0) batch.sequences.back().stream0_blocks = kv_.blocks[leader];
    }
    return batch;
  }

  const int batch_;
  const Sequences kv_;
  const SamplingParams greedy_ = {.temperature = 0};
};

// Seconds by round, of one kind of work at every number of streams.
using Times = std::array<std::vector<double>, kStreams.size()>;

void PrintRatio(const char* what, const Times& times, size_t i) {
  std::vector<double> ratios;
  for (size_t round = 0; round < times[i].size(); ++round) {
    ratios.push_back(times[i][round] / times[0][round]);
  }
  const auto [least, most] = std::minmax_element(ratios.begin(), ratios.end());
  std::printf("  %s %7.3f ms %5.2fx (%.2f-%.2f)", what, Median(times[i]) * 1e3,
              Median(ratios), *least, *most);
}

}  // namespace

void MeasureStreams(const PackedModel& model, const KvArena& arena, int cores,
                    int rounds, bool stages) {
  const BareProducts products(model);
  Team team(model, arena, cores);
  for (const int batch : {1, 2, 8}) {
    const Gangs gangs(team, batch, model.config.vocabulary);
    Times steps, bare;
    std::array<std::vector<StageTicks>, kStreams.size()> ticks;
    ticks.fill(std::vector<StageTicks>(cores, StageTicks{}));
    for (int round = 0; round < rounds; ++round) {
      Times in_round;
      for (int step = 0; step < kSteps; ++step) {
        for (size_t i = 0; i < kStreams.size(); ++i) {
          const ForwardBatch rows = gangs.Step(kStreams[i]);
          if (stages) team.Profile(&ticks[i]);
          in_round[i].push_back(team.Seconds(rows));
        }
      }
      team.Profile(nullptr);
      for (size_t i = 0; i < kStreams.size(); ++i) {
        steps[i].push_back(Median(in_round[i]));
        in_round[i].clear();
      }
      // On a thread of its own, which the team pins.
      std::thread([&] {
        bench::PinnedTeam pinned(cores);
        for (int step = 0; step < kSteps; ++step) {
          for (size_t i = 0; i < kStreams.size(); ++i) {
            in_round[i].push_back(
                products.Seconds(pinned, batch * kStreams[i], batch));
          }
        }
      }).join();
      for (size_t i = 0; i < kStreams.size(); ++i) {
        bare[i].push_back(Median(in_round[i]));
      }
    }
    for (size_t i = 0; i < kStreams.size(); ++i) {
      std::printf("batch %d, %d stream(s):", batch, kStreams[i]);
      PrintRatio("step", steps, i);
      PrintRatio("products", bare, i);
      std::printf("\n");
      if (stages) PrintStages(ticks[i]);
    }
    std::fflush(stdout);
  }
}

}  // namespace braid::cpu
