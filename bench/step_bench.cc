// Speed of single steps of the CPU runner on a real model: prefill and batched
// decode, on one core and on all, and with --stages where the time goes.
//
//   step_bench [--model PATH] [--cores N] [--isa NAME] [--repeats N] [--stages]
//              [--only prefill|decode] [--context N] [--streams]
//
// A decoding sequence has a context of N tokens, or 128.
//
// With --streams instead: decode steps of several PARSCALE streams over those
// of one, with all cores (stream_steps.h).
//
// Times are medians over the repeats. Next to each stands its share of what the
// machine can do, probed beside it: of the read bandwidth, for the bytes of
// weights and KV a decode step must read, and of the int8 peak, for the
// multiply-adds of the prompt.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "base/check.h"
#include "bench/machine_probe.h"
#include "bench/pinned_team.h"
#include "bench/step_team.h"
#include "bench/stream_steps.h"
#include "cpu/cpu_runner.h"
#include "cpu/packed_model.h"

namespace braid::cpu {
namespace {

constexpr std::array kBatches = {1, 2, 4, 8, 16};
constexpr uint32_t kSteps = 24;  // of decode that are timed together

struct Arguments {
  std::string model;
  int cores = static_cast<int>(std::thread::hardware_concurrency());
  std::string isa = "auto";
  int repeats = 9;
  uint32_t context = 128;
  bool stages = false;
  bool streams = false;
  std::string only;
};

Arguments Parse(int argc, char** argv) {
  Arguments a;
  const char* home = std::getenv("HOME");
  a.model = std::string(home == nullptr ? "" : home) +
            "/.cache/braid/models/SmolLM2-135M-Instruct.Q4_1.gguf";
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    const auto value = [&] {
      BRAID_CHECK_MSG(i + 1 < argc, flag + " needs a value");
      return std::string(argv[++i]);
    };
    if (flag == "--model") {
      a.model = value();
    } else if (flag == "--cores") {
      a.cores = std::stoi(value());
    } else if (flag == "--isa") {
      a.isa = value();
    } else if (flag == "--repeats") {
      a.repeats = std::stoi(value());
    } else if (flag == "--only") {
      a.only = value();
    } else if (flag == "--context") {
      a.context = static_cast<uint32_t>(std::stoul(value()));
    } else if (flag == "--streams") {
      a.streams = true;
    } else if (flag == "--stages") {
      a.stages = true;
    } else {
      std::fprintf(stderr, "unknown flag %s\n", flag.c_str());
      std::exit(2);
    }
  }
  return a;
}

class Bench {
 public:
  Bench(const PackedModel& model, const KvArena& arena, const Arguments& a)
      : model_(model), arena_(arena), arguments_(a) {}

  void Run(int cores) {
    Probe(cores);
    Team team(model_, arena_, cores);
    if (arguments_.only != "decode") {
      Prefill(team, cores, 512, 256);
      Prefill(team, cores, 512, 512);
    }
    if (arguments_.only != "prefill") {
      for (const int batch : kBatches) Decode(team, cores, batch);
    }
  }

 private:
  // The limits of the machine, with that many cores.
  void Probe(int cores) {
    // On a thread of its own, which the team pins.
    std::thread([&] {
      bench::PinnedTeam team(cores);
      const bench::ReadProbe read(model_.weight_bytes);
      std::vector<double> rates, peaks;
      for (int i = 0; i < 9; ++i) {
        rates.push_back(read.Measure(team));
        peaks.push_back(
            std::max(bench::MeasureVnni(team), bench::MeasureAmx(team)));
      }
      bandwidth_ = Median(rates);
      int8_peak_ = Median(peaks);
    }).join();
    std::printf("%d core(s): reads %.1f GB/s, int8 %.0f GOP/s\n", cores,
                bandwidth_ / 1e9, int8_peak_ / 1e9);
  }

  // Multiplications and additions of one token in the layers.
  double LayerOps() const {
    double weights = 0;
    for (const PackedLayer& layer : model_.layers) {
      for (const PackedMatrix* w : {&layer.q, &layer.k, &layer.v, &layer.o,
                                    &layer.gate, &layer.up, &layer.down}) {
        weights +=
            static_cast<double>(w->rows) * static_cast<double>(w->columns);
      }
    }
    return 2 * weights;
  }

  template <typename Repeat>
  double Report(const char* what, int size, Team& team, int cores,
                double tokens, Repeat repeat) {
    std::vector<StageTicks> ticks(cores, StageTicks{});
    std::vector<double> seconds;
    (void)repeat();
    if (arguments_.stages) team.Profile(&ticks);
    for (int i = 0; i < arguments_.repeats; ++i) seconds.push_back(repeat());
    team.Profile(nullptr);
    const double median = Median(seconds);
    const double best = *std::min_element(seconds.begin(), seconds.end());
    std::printf("%d core(s) %s %4d: %8.3f ms %8.1f tok/s (best %.1f)", cores,
                what, size, median * 1e3, tokens / median, tokens / best);
    if (arguments_.stages) {
      std::printf("\n");
      PrintStages(ticks);
    }
    std::fflush(stdout);
    return tokens / median;
  }

  void Prefill(Team& team, int cores, uint32_t length, uint32_t chunk) {
    const Sequences s(1, length, model_.config.vocabulary);
    const double rate =
        Report("prefill 512, chunk", static_cast<int>(chunk), team, cores,
               length, [&] {
                 double seconds = 0;
                 for (uint32_t at = 0; at < length; at += chunk) {
                   ForwardBatch batch;
                   batch.sequences.push_back(
                       {.tokens = std::span(s.tokens[0]).subspan(at, chunk),
                        .start = at,
                        .blocks = s.blocks[0]});
                   if (at + chunk == length) {
                     batch.sequences[0].sampling = &greedy_;
                   }
                   seconds += team.Seconds(batch);
                 }
                 return seconds;
               });
    std::printf(" %5.2f of int8 peak\n", rate * LayerOps() / int8_peak_);
  }

  void Decode(Team& team, int cores, int n) {
    const uint32_t context = arguments_.context;
    const Sequences s(n, context + kSteps, model_.config.vocabulary);
    for (int i = 0; i < n; ++i) {
      for (uint32_t at = 0; at < context; at += Team::kMaxRows) {
        const uint32_t chunk = std::min(Team::kMaxRows, context - at);
        ForwardBatch batch;
        batch.sequences.push_back(
            {.tokens = std::span(s.tokens[i]).subspan(at, chunk),
             .start = at,
             .blocks = s.blocks[i]});
        (void)team.Seconds(batch);
      }
    }
    const double rate =
        Report("decode, batch", n, team, cores, double(n) * kSteps, [&] {
          double seconds = 0;
          for (uint32_t step = 0; step < kSteps; ++step) {
            ForwardBatch batch;
            for (int i = 0; i < n; ++i) {
              const uint32_t at = context + step;
              batch.sequences.push_back(
                  {.tokens = std::span(s.tokens[i]).subspan(at, 1),
                   .start = at,
                   .blocks = s.blocks[i],
                   .sampling = &greedy_});
            }
            seconds += team.Seconds(batch);
          }
          return seconds;
        });
    const KvLayout& layout = arena_.layout();
    const double kv = double(n) * (context + kSteps / 2) / kBlockTokens *
                      static_cast<double>(layout.block_bytes());
    std::printf(" %5.2f of read bandwidth\n",
                rate / n * (static_cast<double>(model_.weight_bytes) + kv) /
                    bandwidth_);
  }

  const PackedModel& model_;
  const KvArena& arena_;
  const Arguments& arguments_;
  double bandwidth_ = 0;  // bytes/s
  double int8_peak_ = 0;  // operations/s
  const SamplingParams greedy_ = {.temperature = 0};
};

int Main(int argc, char** argv) {
  const Arguments arguments = Parse(argc, argv);
  const auto isa = ParseIsa(arguments.isa);
  BRAID_CHECK_MSG(isa.ok(), isa.status().ToString());
  const auto file = ModelFile::Open(arguments.model);
  BRAID_CHECK_MSG(file.ok(), file.status().ToString());
  const auto start = std::chrono::steady_clock::now();
  const RandomStreams streams((*file)->config(), 8, 16);
  const auto model =
      CpuModel::Load(**file, *isa, arguments.cores,
                     arguments.streams ? std::span(&streams.set(), 1)
                                       : std::span<const ParscaleSet>());
  BRAID_CHECK_MSG(model.ok(), model.status().ToString());
  std::printf("%s, %s, packed to %.1f MB in %.0f ms\n",
              (*file)->config().name.c_str(),
              std::string(ToString(*isa)).c_str(),
              static_cast<double>((*model)->weight_bytes()) / 1e6,
              std::chrono::duration<double, std::milli>(
                  std::chrono::steady_clock::now() - start)
                  .count());
  const KvLayout layout = (*model)->MakeKvLayout(kBlockTokens);
  const auto arena = KvArena::Create(
      layout,
      std::max(1024u,
               kBatches.back() * layout.BlocksFor(arguments.context + kSteps)));
  BRAID_CHECK(arena.ok());
  if (arguments.streams) {
    MeasureStreams((*model)->packed(), **arena, arguments.cores,
                   arguments.repeats, arguments.stages);
    return 0;
  }
  Bench bench((*model)->packed(), **arena, arguments);
  for (int cores = 1; cores <= arguments.cores; cores *= 2) bench.Run(cores);
  return 0;
}

}  // namespace
}  // namespace braid::cpu

int main(int argc, char** argv) { return braid::cpu::Main(argc, argv); }
