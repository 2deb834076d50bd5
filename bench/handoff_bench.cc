// What a hand-over costs a request: from the moment prefill's last layer has
// written its KV to the launch of the request's first decode step, in the real
// engine on the default model, one request at a time.
//
//   handoff_bench [REQUESTS]
//
// Between the two lie the second half of the last layer, the head and the
// sampling of the first token (part of prefill, reported on their own), the
// engine's turn, and the transport. Under `copy` all blocks of the prompt move;
// a memcpy of the same bytes is timed between the requests. How long the
// weights between the two take to read is probed last.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <future>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/rng.h"
#include "bench/machine_probe.h"
#include "bench/pinned_team.h"
#include "cpu/packed_model.h"
#include "tests/support/default_engine.h"

namespace braid {
namespace {

constexpr uint32_t kPromptTokens = 512;

// Stamps of the request at hand; one request runs at a time.
struct Stamps {
  std::atomic<int64_t> last_layer{0}, prefill_done{0}, decode_launched{0};
};

int64_t Now() {
  return std::chrono::steady_clock::now().time_since_epoch().count();
}

// Notes when things happen around another runner.
class StampingRunner final : public ModelRunner {
 public:
  StampingRunner(std::unique_ptr<ModelRunner> inner, Stamps* stamps)
      : inner_(std::move(inner)), stamps_(stamps) {}
  const KvLayout& kv_layout() const override { return inner_->kv_layout(); }
  uint32_t max_rows() const override { return inner_->max_rows(); }

  void Launch(const ForwardBatch& batch, StepCallbacks callbacks) override {
    const SequenceRows& rows = batch.sequences[0];
    if (rows.start == kPromptTokens) {
      int64_t none = 0;
      stamps_->decode_launched.compare_exchange_strong(none, Now());
      inner_->Launch(batch, std::move(callbacks));
      return;
    }
    batch_ = batch;
    const uint32_t layers = kv_layout().layers;
    if (batch_.progress_layers == 0) batch_.progress_layers = layers;
    inner_->Launch(
        batch_,
        {.on_progress =
             [this, layers, wanted = batch.progress_layers > 0,
              next = std::move(callbacks.on_progress)](uint32_t written) {
               if (written == layers) stamps_->last_layer = Now();
               if (wanted) next(written);
             },
         .on_done =
             [this, next = std::move(callbacks.on_done)](ForwardResult result) {
               stamps_->prefill_done = Now();
               next(std::move(result));
             }});
  }

 private:
  const std::unique_ptr<ModelRunner> inner_;
  Stamps* const stamps_;
  ForwardBatch batch_;
};

class Waiter final : public TokenSink {
 public:
  void OnPromptScores(std::vector<SampledToken>) override {}
  bool OnTokens(const TokenDelta&) override { return true; }
  void OnFinish(Outcome outcome) override { done.set_value(outcome); }
  std::promise<Outcome> done;
};

double MemcpySeconds(size_t bytes) {
  static std::vector<std::byte> from(size_t{64} << 20, std::byte{1});
  static std::vector<std::byte> to(from.size());
  BRAID_CHECK(bytes <= from.size());
  const int64_t start = Now();
  std::memcpy(to.data(), from.data(), bytes);
  return static_cast<double>(Now() - start) * 1e-9;
}

double Quantile(std::vector<double> v, double q) {
  std::sort(v.begin(), v.end());
  return v[static_cast<size_t>(q * static_cast<double>(v.size() - 1))];
}

void Measure(const char* name, bool copy, int requests) {
  SystemClock clock;
  Stamps stamps;
  auto engine = MakeDefaultEngine(
      {.split = SplitMode::kOn, .copy = copy, .pin_threads = true}, clock,
      [&](std::unique_ptr<ModelRunner> inner) {
        return std::make_unique<StampingRunner>(std::move(inner), &stamps);
      });
  const KvLayout layout = DefaultModel::Get().packed->MakeKvLayout(16);
  const size_t bytes = layout.BlocksFor(kPromptTokens) * layout.block_bytes();
  Rng rng(5);
  std::vector<double> whole, exposed, copies;
  for (int i = -3; i < requests; ++i) {  // The first warm up.
    GenerateRequest request;
    for (uint32_t t = 0; t < kPromptTokens; ++t) {
      request.prompt.push_back(static_cast<TokenId>(100 + rng.Below(40000)));
    }
    request.max_tokens = 2;
    request.sampling.temperature = 0;
    request.sampling.ignore_eos = true;
    stamps.decode_launched = 0;
    auto sink = std::make_shared<Waiter>();
    auto done = sink->done.get_future();
    BRAID_CHECK(engine->Submit(std::move(request), sink).ok());
    const Outcome outcome = done.get();
    BRAID_CHECK(outcome.split && stamps.decode_launched > 0);
    const double copied = MemcpySeconds(bytes);
    if (i < 0) continue;
    whole.push_back(
        static_cast<double>(stamps.decode_launched - stamps.last_layer) * 1e-9);
    exposed.push_back(
        static_cast<double>(stamps.decode_launched - stamps.prefill_done) *
        1e-9);
    copies.push_back(copied);
  }
  const double p50 = Quantile(whole, 0.5);
  std::printf(
      "%-8s last layer to decode's first step: p50 %.3f ms, p90 %.3f ms; of it "
      "after the first token's sampling: p50 %.3f ms, p90 %.3f ms",
      name, p50 * 1e3, Quantile(whole, 0.9) * 1e3, Quantile(exposed, 0.5) * 1e3,
      Quantile(exposed, 0.9) * 1e3);
  if (copy) {
    const double memcpy_p50 = Quantile(copies, 0.5);
    std::printf("; memcpy of its %.1f MB: p50 %.3f ms, ratio %.2f",
                static_cast<double>(bytes) / 1e6, memcpy_p50 * 1e3,
                p50 / memcpy_p50);
  }
  std::printf("\n");
}

double Bytes(const cpu::PackedMatrix& w) {
  return static_cast<double>(w.rows * w.columns / cpu::kBlockColumns *
                             cpu::PackedBlockBytes(w.format)) /
         cpu::kRowTile;
}

// Pins the calling thread.
void PrintReadingTime() {
  constexpr int kCores = 2, kPasses = 50;
  const cpu::PackedModel& model = DefaultModel::Get().packed->packed();
  const cpu::PackedLayer& last = model.layers.back();
  const double bytes = Bytes(last.o) + Bytes(last.gate) + Bytes(last.up) +
                       Bytes(last.down) + Bytes(model.output);
  bench::PinnedTeam team(kCores);
  const bench::ReadProbe probe(model.weight_bytes);
  std::vector<double> rates;
  for (int i = 0; i < kPasses; ++i) rates.push_back(probe.Measure(team));
  const double rate = Quantile(rates, 0.5);
  std::printf(
      "its %.1f MB of weights at %.1f GB/s, read by %d cores: %.3f ms\n",
      bytes / 1e6, rate / 1e9, kCores, bytes / rate * 1e3);
}

}  // namespace
}  // namespace braid

int main(int argc, char** argv) {
  const int requests = argc > 1 ? std::atoi(argv[1]) : 50;
  BRAID_CHECK_MSG(requests > 0, "usage: handoff_bench [REQUESTS]");
  braid::Measure("loopback", false, requests);
  braid::Measure("copy", true, requests);
  braid::PrintReadingTime();
}
