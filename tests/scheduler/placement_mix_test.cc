// Placement in a closed loop: a small model of a cluster, in which requests
// arrive at random, prompts queue in order, steps take what the step model says
// and chunks keep the rows' token target. Splitting where the policy likes must
// be as good as always splitting and as never splitting, whichever is better.
// BRAID_SHOW_CELLS=1 prints every cell.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <deque>
#include <queue>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/str_format.h"
#include "base/rng.h"
#include "gtest/gtest.h"
#include "scheduler/placement_policy.h"

namespace braid {
namespace {

struct Fleet {
  const char* name;
  std::vector<DeviceRole> roles;
  StepTimeModel::Prior time;
  double link;  // seconds per token; 0: one pool
  uint32_t max_chunk;
  double ttft, tpot;  // targets
};

struct Mix {
  const char* name;
  double prompt, output;  // means of exponential lengths
  double rate;            // requests per second
};

struct Outcome {
  double ttft = 0;     // mean seconds
  double whole = 0;    // mean seconds from arrival to the last token
  double goodput = 0;  // share of requests that meet both targets
};

class Cluster {
 public:
  Cluster(const Fleet& fleet, SplitMode split, const Mix& mix)
      : fleet_(fleet), mix_(mix), split_(split), time_(fleet.time) {
    devices_.resize(fleet.roles.size());
  }

  Outcome Run() {
    constexpr size_t kRequests = 500;
    Rng rng(1);
    double at = 0;
    const auto exponential = [&](double mean) {
      return -mean * std::log(1 - rng.Uniform());
    };
    for (size_t i = 0; i < kRequests; ++i) {
      at += exponential(1 / mix_.rate);
      requests_.push_back(
          {.arrival = at,
           .prompt = 16 + static_cast<uint32_t>(exponential(mix_.prompt)),
           .output = 8 + static_cast<uint32_t>(exponential(mix_.output))});
      events_.push({at, kArrival, i});
    }
    while (!events_.empty()) {
      const auto [now, kind, index] = events_.top();
      events_.pop();
      now_ = now;
      if (kind == kArrival) Arrive(index);
      if (kind == kStepEnd) EndStep(index);
      if (kind == kHandedOver) Join(index);
    }
    Outcome outcome;
    for (const Request& request : requests_) {
      const double ttft = request.first - request.arrival;
      const double tpot = (request.last - request.first) / (request.output - 1);
      outcome.ttft += ttft / kRequests;
      outcome.whole += (request.last - request.arrival) / kRequests;
      if (ttft <= fleet_.ttft && tpot <= fleet_.tpot) {
        outcome.goodput += 1.0 / kRequests;
      }
    }
    return outcome;
  }

 private:
  enum Kind { kArrival, kStepEnd, kHandedOver };
  using Event = std::tuple<double, Kind, size_t>;  // of a request or a device
  struct Request {
    double arrival;
    uint32_t prompt, output;
    size_t prefill = 0, decode = 0;
    uint32_t computed = 0, drawn = 0;
    double first = 0, last = 0;
  };
  struct Device {
    std::deque<size_t> prompts;
    std::vector<size_t> rows;
    uint32_t coming = 0;  // rows bound to it that are not there
    uint64_t coming_tokens = 0;
    bool busy = false;
    double until = 0;
    std::vector<std::pair<size_t, uint32_t>> chunks;  // of its step
  };

  StepShape RowsOf(const Device& device) const {
    StepShape shape;
    for (size_t row : device.rows) {
      shape.AddDecodeRow(requests_[row].prompt + requests_[row].drawn);
    }
    return shape;
  }

  double PrefillWait(const Device& device) const {
    double wait = device.busy ? device.until - now_ : 0;
    const StepShape rows = RowsOf(device);
    uint32_t chunk = fleet_.max_chunk;
    if (rows.decode_rows > 0) {
      chunk = std::max(16u, time_.LargestChunk(rows, 0, chunk, fleet_.tpot));
    }
    for (size_t index : device.prompts) {
      const Request& request = requests_[index];
      StepShape rest;
      rest.AddChunk(request.computed, request.prompt - request.computed);
      wait += time_.Predict(rest) - time_.Predict(StepShape()) +
              time_.Predict(rows) * rest.chunk_tokens / chunk;
    }
    return wait;
  }

  void Arrive(size_t index) {
    Request& request = requests_[index];
    std::vector<DeviceView> views;
    for (size_t i = 0; i < devices_.size(); ++i) {
      const Device& device = devices_[i];
      const StepShape rows = RowsOf(device);
      const uint32_t bound = rows.decode_rows + device.coming;
      views.push_back(
          {.id = DeviceId(static_cast<uint32_t>(i)),
           .pool = PoolId(fleet_.link > 0 ? static_cast<uint32_t>(i) : 0),
           .role = fleet_.roles[i],
           .prefill_wait = PrefillWait(device),
           .decode_rows = bound,
           .decode_attended = rows.decode_attended + device.coming_tokens,
           .tightest_tpot = bound > 0 ? fleet_.tpot : 0,
           .prefilling = !device.prompts.empty(),
           .decoding = bound > 0,
           .time = &time_});
    }
    const auto placement =
        ChoosePlacement({.prompt_tokens = request.prompt,
                         .expected_output = static_cast<uint32_t>(mix_.output),
                         .ttft_target = fleet_.ttft,
                         .tpot_target = fleet_.tpot,
                         .split = split_,
                         .max_chunk = fleet_.max_chunk,
                         .devices = views,
                         .transfer = [this](PoolId, PoolId, uint32_t tokens) {
                           return fleet_.link * tokens;
                         }});
    ASSERT_TRUE(placement);
    request.prefill = placement->prefill.value();
    request.decode = placement->decode.value();
    devices_[request.prefill].prompts.push_back(index);
    ++devices_[request.decode].coming;
    devices_[request.decode].coming_tokens += request.prompt;
    StartStep(request.prefill);
  }

  // Its rows, and of its prompts what keeps their target.
  void StartStep(size_t index) {
    Device& device = devices_[index];
    if (device.busy) return;
    StepShape step = RowsOf(device);
    device.chunks.clear();
    uint32_t room = fleet_.max_chunk;
    for (size_t i : device.prompts) {
      const Request& request = requests_[i];
      const uint32_t most = std::min(room, request.prompt - request.computed);
      uint32_t count = most;
      if (step.decode_rows > 0) {
        count = time_.LargestChunk(step, request.computed, most, fleet_.tpot);
        if (device.chunks.empty()) count = std::max(count, std::min(16u, most));
      }
      if (count == 0) break;
      step.AddChunk(request.computed, count);
      device.chunks.push_back({i, count});
      room -= count;
    }
    if (step == StepShape()) return;
    device.busy = true;
    device.until = now_ + time_.Predict(step);
    events_.push({device.until, kStepEnd, index});
  }

  void EndStep(size_t index) {
    Device& device = devices_[index];
    device.busy = false;
    std::erase_if(device.rows, [&](size_t row) {
      requests_[row].last = now_;
      return ++requests_[row].drawn == requests_[row].output;
    });
    for (const auto& [i, count] : device.chunks) {
      Request& request = requests_[i];
      request.computed += count;
      if (request.computed < request.prompt) continue;
      request.first = request.last = now_;
      request.drawn = 1;
      std::erase(device.prompts, i);
      if (request.prefill == request.decode) {
        Arrived(i);
      } else {
        events_.push({now_ + fleet_.link * request.prompt, kHandedOver, i});
      }
    }
    StartStep(index);
  }

  void Arrived(size_t i) {
    Device& device = devices_[requests_[i].decode];
    --device.coming;
    device.coming_tokens -= requests_[i].prompt;
    device.rows.push_back(i);
  }

  void Join(size_t i) {
    Arrived(i);
    StartStep(requests_[i].decode);
  }

  const Fleet& fleet_;
  const Mix& mix_;
  const SplitMode split_;
  const StepTimeModel time_;
  std::vector<Request> requests_;
  std::vector<Device> devices_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  double now_ = 0;
};

TEST(PlacementMixTest, AutoIsAsGoodAsTheBetterOfBoth) {
  // A 32B model on two GPUs each, about; and this project's CPU devices.
  const StepTimeModel::Prior gpu = {.base = 0.008,
                                    .chunk_token = 6e-5,
                                    .chunk_attended = 1.5e-9,
                                    .decode_row = 3e-5,
                                    .decode_attended = 5e-8};
  const StepTimeModel::Prior cpu = {.base = 0.006,
                                    .chunk_token = 7e-4,
                                    .chunk_attended = 1e-7,
                                    .decode_row = 1.2e-3,
                                    .decode_attended = 2e-7};
  constexpr auto kP = DeviceRole::kPrefill;
  constexpr auto kD = DeviceRole::kDecode;
  constexpr auto kB = DeviceRole::kBoth;
  const double fast = 262144 / 40e9, slow = 262144 / 1e9;
  const std::vector<Fleet> gpus = {
      {"2P2D", {kP, kP, kD, kD}, gpu, fast, 2048, 2, 0.025},
      {"3P1D", {kP, kP, kP, kD}, gpu, fast, 2048, 2, 0.025},
      {"4", {kB, kB, kB, kB}, gpu, fast, 2048, 2, 0.025},
      {"slow", {kP, kP, kD, kD}, gpu, slow, 2048, 2, 0.025}};
  const std::vector<Mix> gpu_mixes = {{"long prompts", 8000, 150, 2.5},
                                      {"long answers", 500, 600, 5},
                                      {"both", 4000, 350, 3.5},
                                      {"code", 2500, 40, 9}};
  const std::vector<Fleet> cpus = {{"1P1D", {kP, kD}, cpu, 0, 256, 2, 0.1}};
  const std::vector<Mix> cpu_mixes = {{"long prompts", 800, 20, 1.2},
                                      {"long answers", 60, 150, 3.5},
                                      {"both", 400, 80, 2}};
  double ttft = 0, whole = 0;
  int cells = 0;
  const auto compare = [&](const Fleet& fleet, const Mix& mix) {
    const Outcome chosen = Cluster(fleet, SplitMode::kAuto, mix).Run();
    const Outcome split = Cluster(fleet, SplitMode::kOn, mix).Run();
    const Outcome one = Cluster(fleet, SplitMode::kOff, mix).Run();
    const std::string cell = std::string(fleet.name) + ", " + mix.name;
    EXPECT_GT(chosen.goodput, std::max(split.goodput, one.goodput) - 0.03)
        << cell << ": " << chosen.goodput << ", on " << split.goodput
        << ", off " << one.goodput;
    // What it costs at worst is time between tokens, within the target, where
    // answers are long and rows crowd on one device.
    EXPECT_LT(chosen.whole, 1.2 * std::min(split.whole, one.whole))
        << cell << ": on " << split.whole << ", off " << one.whole;
    ttft += std::log(chosen.ttft / std::min(split.ttft, one.ttft));
    whole += std::log(chosen.whole / std::min(split.whole, one.whole));
    if (std::getenv("BRAID_SHOW_CELLS") != nullptr) {
      absl::PrintF("%-20s auto, on, off: goodput %.3f %.3f %.3f", cell,
                   chosen.goodput, split.goodput, one.goodput);
      absl::PrintF("  ttft %.3f %.3f %.3f  whole %.2f %.2f %.2f\n", chosen.ttft,
                   split.ttft, one.ttft, chosen.whole, split.whole, one.whole);
    }
    ++cells;
  };
  for (const Fleet& fleet : gpus) {
    for (const Mix& mix : gpu_mixes) compare(fleet, mix);
  }
  for (const Fleet& fleet : cpus) {
    for (const Mix& mix : cpu_mixes) compare(fleet, mix);
  }
  // On average it beats, in each, the better of the two.
  EXPECT_LT(std::exp(ttft / cells), 1);
  EXPECT_LT(std::exp(whole / cells), 1);
  RecordProperty("ttft_ratio", std::to_string(std::exp(ttft / cells)));
  RecordProperty("whole_ratio", std::to_string(std::exp(whole / cells)));
}

}  // namespace
}  // namespace braid
