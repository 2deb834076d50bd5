#include "scheduler/split_planner.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace braid {
namespace {

// Requests over which the means reach back.
constexpr double kMemory = 256;
// Before as many were seen nothing is changed.
constexpr int kFewest = 32;
constexpr Duration kInterval = std::chrono::seconds(1);
// Rows come in bursts: of the largest batch, what can be kept on average.
constexpr double kBatchShare = 0.75;
// What one device for both phases is worth beside its capacity: nothing is
// handed over, no prefix is kept twice, and every device serves whoever comes.
constexpr double kTogether = 1.15;
// While no more comes than such a share of what all carry together, there is
// nothing to gain by a layout, and hits and hand-overs to lose: they stay, or
// come back, together.
constexpr double kStay = 0.65, kComeBack = 0.5;
// A layout must promise so much more than the present one.
constexpr double kGain = 1.08;

}  // namespace

void SplitPlanner::Observe(uint32_t prompt, uint32_t uncached,
                           uint32_t most_output, double pace) {
  ++observed_;
  const double gain =
      std::max(1 / kMemory, 1.0 / static_cast<double>(observed_));
  StepShape shape;
  shape.AddChunk(prompt - uncached, uncached);
  const auto follow = [gain](double& mean, double value) {
    mean += gain * (value - mean);
  };
  follow(prompt_, prompt);
  follow(uncached_, uncached);
  follow(attended_, static_cast<double>(shape.chunk_attended));
  // The first token is the prompt's own.
  follow(most_output_, most_output > 0 ? most_output - 1 : 0);
  follow(pace_, pace);
}

void SplitPlanner::Arrive(TimePoint now) {
  if (++arrived_ > 1) {
    const double gain =
        std::max(1 / kMemory, 1.0 / static_cast<double>(arrived_ - 1));
    interval_ += gain * (ToSeconds(now - last_arrival_) - interval_);
  }
  last_arrival_ = now;
}

void SplitPlanner::FinishAnswer() {
  drawn_ *= 1 - 1 / kMemory;
  answers_ = answers_ * (1 - 1 / kMemory) + 1;
}

// Tokens that a request is decoded for.
double SplitPlanner::Output() const {
  return answers_ < kFewest ? most_output_
                            : std::min(most_output_, drawn_ / answers_);
}

StepShape SplitPlanner::Rows(uint32_t rows) const {
  return {.decode_rows = rows,
          .decode_attended =
              static_cast<uint64_t>(rows * (prompt_ + Output() / 2))};
}

// Of a request's prompt on a device that does nothing else.
double SplitPlanner::PromptSeconds(const PlannedDevice& device) const {
  const double steps = uncached_ / device.max_chunk;
  const StepShape full{
      .chunk_tokens = device.max_chunk,
      .chunk_attended = static_cast<uint64_t>(attended_ / steps)};
  return steps * device.time->Predict(full);
}

// That keep the pace and that the memory holds.
uint32_t SplitPlanner::MostRows(const PlannedDevice& device) const {
  const double held = static_cast<double>(device.kv_tokens) /
                      std::max(1.0, prompt_ + most_output_);
  const double most =
      std::clamp(held, 1.0, std::max(1.0, 1.0 * device.max_rows));
  uint32_t low = 1, high = static_cast<uint32_t>(most) + 1;
  while (high - low > 1) {
    const uint32_t middle = low + (high - low) / 2;
    (device.time->Predict(Rows(middle)) <= pace_ ? low : high) = middle;
  }
  return low;
}

double SplitPlanner::Capacity(const PlannedDevice& device, uint32_t n,
                              uint32_t decode) const {
  BRAID_CHECK(observed_ > 0 && decode < n);
  if (decode == 0) {
    const double spread = Together(device, n);
    if (device.gathered == nullptr) return spread;
    PlannedDevice all = device;
    all.time = device.gathered;
    return std::max(spread, Together(all, 1));
  }
  const double output = Output();
  const uint32_t most = MostRows(device);
  const double step = std::max(device.time->Predict(Rows(most)), 1e-9);
  const double answers =
      output > 0 ? kBatchShare * most / (step * output) : 1e9;
  return std::min((n - decode) / PromptSeconds(device), decode * answers);
}

// Of devices that compute prompts beside their own rows.
double SplitPlanner::Together(const PlannedDevice& device, uint32_t n) const {
  const double output = Output();
  if (output <= 0) return n / PromptSeconds(device);
  const uint32_t most = MostRows(device);
  // As many rows as prompts beside them bring: more rows leave less for
  // prompts.
  const auto before =
      static_cast<uint32_t>(attended_ / std::max(uncached_, 1.0));
  const auto prompts = [&](uint32_t rows) {  // requests per second
    const StepShape shape = Rows(rows);
    const uint32_t chunk =
        device.time->LargestChunk(shape, before, device.max_chunk, pace_);
    return chunk / (std::max(device.time->Predict(shape), pace_) *
                    std::max(uncached_, 1.0));
  };
  uint32_t low = 0, high = most + 1;
  while (high - low > 1) {
    const uint32_t rows = low + (high - low) / 2;
    (rows / (pace_ * output) <= prompts(rows) ? low : high) = rows;
  }
  // Between `low` and the next row the two meet.
  const double least = low / (pace_ * output);
  const double beyond = (low + 1) / (pace_ * output);
  return n * std::clamp(prompts(std::max(low, 1u)), least, beyond);
}

// Where devices lend, a request alone has every core in any layout.
bool SplitPlanner::IsSlack(const PlannedDevice& device, uint32_t n) const {
  if (device.gathered != nullptr || arrived_ <= kFewest) return false;
  const double share = decode_ == 0 ? kStay : kComeBack;
  return interval_ * share * Capacity(device, n, 0) > 1;
}

uint32_t SplitPlanner::Plan(const PlannedDevice& device, uint32_t n,
                            TimePoint now) {
  const bool changed = n != devices_;
  devices_ = n;
  decode_ = std::min(decode_, n > 0 ? n - 1 : 0);
  if (n < 2 || observed_ < kFewest) return decode_;
  if (!changed && planned_ != TimePoint::min() && planned_ + kInterval > now) {
    return decode_;
  }
  planned_ = now;
  const auto worth = [&](uint32_t decode) {
    return (decode == 0 ? kTogether : 1) * Capacity(device, n, decode);
  };
  if (IsSlack(device, n)) return decode_ = 0;
  double most = kGain * worth(decode_);
  for (uint32_t decode = 0, present = decode_; decode < n; ++decode) {
    if (decode == present) continue;
    const double value = worth(decode);
    if (value <= most) continue;
    most = value;
    decode_ = decode;
  }
  return decode_;
}

}  // namespace braid
