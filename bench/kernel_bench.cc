// The bare matrix products of a step of SmolLM2-135M-Instruct (Q4_1, head in
// Q8_0), per instruction set, over a working set of the whole model, beside
// the machine's read bandwidth and int8 peak in the same run.
//
//   kernel_bench [--rounds N] [isa ...]       (default: 10 rounds, every isa)
//
// Rounds interleave everything; the best of each is kept, since a shared
// machine only ever slows. Threads are pinned from processor 0 on and meet at
// a spin four times a layer, as in the runner.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/huge_memory.h"
#include "base/rng.h"
#include "bench/machine_probe.h"
#include "bench/pinned_team.h"
#include "cpu/kernels.h"

namespace braid::bench {
namespace {

using cpu::Activations;
using cpu::Isa;
using cpu::PackedMatrix;

constexpr int kLayers = 30;
constexpr int kTokenCounts[] = {1, 2, 4, 8, 16, 128, 256};
constexpr int kMaxTokens = 256;
constexpr int kMaxThreads = 2;

struct Shape {
  DType dtype;
  int64_t rows, columns;
  bool barrier;  // after it, the threads meet
};
constexpr Shape kLayer[] = {
    {DType::kQ4_1, 576, 576, false},   // q
    {DType::kQ4_1, 192, 576, false},   // k
    {DType::kQ4_1, 192, 576, true},    // v
    {DType::kQ4_1, 576, 576, true},    // o
    {DType::kQ4_1, 1536, 576, false},  // gate
    {DType::kQ4_1, 1536, 576, true},   // up
    {DType::kQ4_1, 576, 1536, true},   // down
};
constexpr Shape kHead = {DType::kQ8_0, 49152, 576, true};

// The weights of a whole model in one mapping, random.
class Weights {
 public:
  Weights() {
    std::vector<Shape> shapes;
    for (int layer = 0; layer < kLayers; ++layer) {
      shapes.insert(shapes.end(), std::begin(kLayer), std::end(kLayer));
    }
    shapes.push_back(kHead);
    for (const Shape& s : shapes) {
      bytes_ += cpu::PackedBytes(s.dtype, s.rows, s.columns);
    }
    // Kernels prefetch beyond the end of a matrix.
    auto memory = HugeMemory::Map(bytes_ + 65536);
    BRAID_CHECK(memory.ok());
    memory_ = *std::move(memory);
    std::byte* at = memory_.data();
    for (const Shape& s : shapes) {
      PackRandom(s, at);
      matrices_.push_back(
          {cpu::PackedFormatOf(s.dtype), s.rows, s.columns, at});
      barriers_.push_back(s.barrier);
      at += cpu::PackedBytes(s.dtype, s.rows, s.columns);
    }
  }

  size_t bytes() const { return bytes_; }
  size_t count() const { return matrices_.size(); }
  const PackedMatrix& matrix(size_t i) const { return matrices_[i]; }
  bool barrier_after(size_t i) const { return barriers_[i]; }

 private:
  void PackRandom(const Shape& s, std::byte* out) {
    Tensor w = {s.dtype, s.rows, s.columns, nullptr};
    std::vector<std::byte> file(w.bytes());
    for (std::byte& b : file) b = std::byte(rng_());
    const auto block = static_cast<size_t>(BlockBytes(s.dtype));
    const uint16_t scale = FloatToHalf(0.01f);
    for (size_t i = 0; i < file.size(); i += block) {
      std::memcpy(&file[i], &scale, 2);
      if (s.dtype == DType::kQ4_1) std::memcpy(&file[i + 2], &scale, 2);
    }
    w.data = file.data();
    cpu::PackRows(w, 0, w.rows, out);
  }

  Rng rng_{1};
  size_t bytes_ = 0;
  HugeMemory memory_;
  std::vector<PackedMatrix> matrices_;
  std::vector<bool> barriers_;
};

class Inputs {
 public:
  Inputs() {
    for (const int32_t columns : {576, 1536}) {
      auto memory = HugeMemory::Map(cpu::ActivationBytes(kMaxTokens, columns));
      BRAID_CHECK(memory.ok());
      memory_.push_back(*std::move(memory));
      Activations x =
          cpu::PlaceActivations(kMaxTokens, columns, memory_.back().data());
      Rng rng(2);
      for (int i = 0; i < kMaxTokens * columns; ++i) {
        x.values[i] = static_cast<float>(rng.Uniform() - 0.5);
      }
      cpu::KernelsFor(Isa::kPortable).quantize(x, 0, kMaxTokens);
      x_[columns] = x;
    }
    auto output = HugeMemory::Map(sizeof(float) * 49152 * 16);
    BRAID_CHECK(output.ok());
    memory_.push_back(*std::move(output));
    y_ = reinterpret_cast<float*>(memory_.back().data());
  }
  const Activations& x(int64_t columns) const { return x_.at(columns); }
  float* y() const { return y_; }

 private:
  std::vector<HugeMemory> memory_;
  std::map<int64_t, Activations> x_;
  float* y_ = nullptr;
};

// A prompt samples one token at its end; a batch of decode samples all.
int HeadTokens(int tokens) { return tokens > 16 ? 1 : tokens; }

double Operations(const Weights& weights, int tokens) {
  double operations = 0;
  for (size_t i = 0; i < weights.count(); ++i) {
    const bool head = i + 1 == weights.count();
    const PackedMatrix& w = weights.matrix(i);
    operations += 2.0 * static_cast<double>(w.rows * w.columns) *
                  (head ? HeadTokens(tokens) : tokens);
  }
  return operations;
}

double RunStep(PinnedTeam& team, const cpu::Kernels& kernels,
               const Weights& weights, const Inputs& inputs, int tokens) {
  return team.Run([&](int thread) {
    for (size_t i = 0; i < weights.count(); ++i) {
      const PackedMatrix& w = weights.matrix(i);
      const bool head = i + 1 == weights.count();
      const int64_t tiles = w.rows / cpu::kRowTile;
      const int64_t first = tiles * thread / team.threads() * cpu::kRowTile;
      const int64_t end = tiles * (thread + 1) / team.threads() * cpu::kRowTile;
      kernels.matmul(w, inputs.x(w.columns), 0,
                     head ? HeadTokens(tokens) : tokens, first, end, inputs.y(),
                     w.rows);
      if (weights.barrier_after(i)) team.Barrier(thread);
    }
  });
}

struct Best {
  double read = 0, vnni = 0, amx = 0, fma = 0;  // per second
  std::map<std::pair<Isa, int>, double> step;   // (isa, tokens) -> seconds
};

void RunRound(PinnedTeam& team, const std::vector<Isa>& isas,
              const Weights& weights, const Inputs& inputs,
              const ReadProbe& read, bool slow_too, Best& best) {
  const auto keep = [](double value, double& kept) {
    kept = std::max(kept, value);
  };
  for (const int tokens : kTokenCounts) {
    keep(read.Measure(team), best.read);
    keep(MeasureVnni(team), best.vnni);
    keep(MeasureAmx(team), best.amx);
    keep(MeasureFma(team), best.fma);
    for (const Isa isa : isas) {
      const bool slow = isa == Isa::kPortable || isa == Isa::kAvx2;
      if (slow && !slow_too && tokens > 1) continue;
      const double seconds =
          RunStep(team, cpu::KernelsFor(isa), weights, inputs, tokens);
      double& kept =
          best.step.try_emplace({isa, tokens}, seconds).first->second;
      kept = std::min(kept, seconds);
    }
  }
}

void Print(int threads, const Weights& weights, const Best& best) {
  std::printf(
      "\n%d thread(s): read %.1f GB/s, int8 VNNI %.0f GOP/s, AMX %.0f GOP/s, "
      "FMA %.0f GFLOP/s; weights %.1f MB\n",
      threads, best.read / 1e9, best.vnni / 1e9, best.amx / 1e9, best.fma / 1e9,
      static_cast<double>(weights.bytes()) / 1e6);
  std::printf("%-9s %6s %9s %9s %8s %8s %8s %9s\n", "isa", "tokens", "ms",
              "tok/s", "GB/s", "of read", "GOP/s", "of VNNI");
  for (const auto& [key, seconds] : best.step) {
    const auto& [isa, tokens] = key;
    const double bytes = static_cast<double>(weights.bytes()) / seconds;
    const double operations = Operations(weights, tokens) / seconds;
    std::printf("%-9s %6d %9.3f %9.0f %8.1f %8.2f %8.0f %9.2f\n",
                std::string(cpu::ToString(isa)).c_str(), tokens, seconds * 1e3,
                tokens / seconds, bytes / 1e9, bytes / best.read,
                operations / 1e9, operations / best.vnni);
  }
}

int Main(int argc, char** argv) {
  int rounds = 10;
  std::vector<Isa> isas;
  for (int i = 1; i < argc; ++i) {
    if (std::string(argv[i]) == "--rounds" && i + 1 < argc) {
      rounds = std::max(1, std::atoi(argv[++i]));
      continue;
    }
    const auto isa = cpu::ParseIsa(argv[i]);
    if (!isa.ok()) {
      std::fprintf(stderr, "%s\n", std::string(isa.status().message()).c_str());
      return 2;
    }
    isas.push_back(*isa);
  }
  if (isas.empty()) isas = cpu::SupportedIsas();

  const Weights weights;
  const Inputs inputs;
  const ReadProbe read(weights.bytes());
  for (int threads = 1; threads <= kMaxThreads; ++threads) {
    PinnedTeam team(threads);
    Best best;
    for (int round = 0; round < rounds; ++round) {
      RunRound(team, isas, weights, inputs, read, round == 0, best);
    }
    Print(threads, weights, best);
  }
  return 0;
}

}  // namespace
}  // namespace braid::bench

int main(int argc, char** argv) { return braid::bench::Main(argc, argv); }
