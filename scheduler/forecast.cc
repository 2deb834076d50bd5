#include "scheduler/forecast.h"

#include <algorithm>
#include <cmath>

namespace braid {
namespace {

constexpr uint64_t kWarmSteps = DeviceState::kWarmSteps;

}  // namespace

const StepTimeModel& Forecast::TimeOf(const DeviceState& device, size_t lent) {
  if (device.config.prior_measured ||
      device.time[lent].observed() >= kWarmSteps) {
    return device.time[lent];
  }
  if (device.guess[lent].observed() >= kWarmSteps) return device.guess[lent];
  return *std::ranges::max_element(device.time, {}, &StepTimeModel::observed);
}

uint32_t Forecast::Lenders(const DeviceState& device) const {
  if (!state_.config.lend_cores) return 0;
  uint32_t unused = 0, used = 1;
  for (const DeviceState& other : state_.devices) {
    if (!other.up || &other == &device) continue;
    (other.unused() ? unused : used) += 1;
  }
  return unused / used;
}

bool Forecast::IsWarm(const DeviceState& device) const {
  return device.config.prior_measured ||
         TimeOf(device).observed() >= kWarmSteps;
}

double Forecast::TightestTpot(const DeviceState& device) const {
  double tightest = 0;
  for (size_t i = 0; i < device.bound_by_class.size(); ++i) {
    if (device.bound_by_class[i] == 0) continue;
    const double tpot = ToSeconds(state_.config.classes[i].pace());
    if (tightest == 0 || tpot < tightest) tightest = tpot;
  }
  return tightest;
}

double Forecast::PromptSeconds(const DeviceState& device,
                               const PromptWork& work) const {
  if (work.tokens == 0) return 0;
  const StepTimeModel& time = TimeOf(device);
  StepShape step = device.DecodeShape();
  uint32_t chunk = state_.config.prefill_chunk;
  if (step.decode_rows > 0) {
    const auto before = static_cast<uint32_t>(work.attended / work.tokens);
    chunk =
        std::clamp(time.LargestChunk(step, before, chunk, TightestTpot(device)),
                   std::min(state_.config.block_tokens, chunk), chunk);
  }
  const double steps =
      std::ceil(static_cast<double>(work.tokens) / static_cast<double>(chunk));
  step.chunk_tokens =
      static_cast<uint32_t>(static_cast<double>(work.tokens) / steps);
  step.chunk_attended =
      static_cast<uint64_t>(static_cast<double>(work.attended) / steps);
  return steps * time.Predict(step);
}

double Forecast::PromptAlone(const Request& request) const {
  const DeviceState& device = state_.Device(request.prefill_device);
  const StepTimeModel* time = &TimeOf(device);
  for (const StepTimeModel& lent : device.time) {
    if (lent.observed() >= kWarmSteps) time = &lent;
  }
  double seconds = 0;
  for (uint32_t at = request.cached; at < request.prompt_size;) {
    const uint32_t count =
        std::min(state_.config.prefill_chunk, request.prompt_size - at);
    StepShape chunk;
    chunk.AddChunk(at, count);
    seconds += time->Predict(chunk);
    at += count;
  }
  return seconds;
}

double Forecast::PrefillWait(const DeviceState& device,
                             const PromptWork& ahead) const {
  const double step =
      device.running || device.lent
          ? std::max(0.0, ToSeconds(device.step_end - state_.now))
          : 0;
  PromptWork work = device.prefill_left;
  // What the step computes is in its own time. Of requests that have ended it
  // is no longer in the work.
  work.tokens -=
      std::min<uint64_t>(work.tokens, device.prompts_in_flight.tokens);
  work.attended -= std::min(work.attended, device.prompts_in_flight.attended);
  work += ahead;
  return step + PromptSeconds(device, work);
}

// Those that run leave at the rate at which they came, which is their number
// over the time that each stays (Little's law).
double Forecast::CreditWait(const DeviceState& device, const Request& request,
                            const QueuedByDevice& ahead) const {
  const QueuedWork& own = ahead[device.index];
  const StepTimeModel& time = TimeOf(device);
  StepShape rows = device.DecodeShape();
  if (own.rows > 0) {
    const uint64_t each = rows.decode_rows > 0
                              ? rows.decode_attended / rows.decode_rows
                              : request.size();
    rows.decode_attended += each * own.rows;
    rows.decode_rows += own.rows;
  }
  double step = time.Predict(rows);
  double share = 0;  // of those that run, that must leave first
  const auto missing_of = [&](double missing, double all) {
    if (missing > 0) share = std::max(share, missing / std::max(all, 1.0));
  };
  const PoolId pool = device.config.pool;
  missing_of(static_cast<double>(state_.PromisedBlocks(pool, &ahead)) +
                 state_.BlocksOf(request) - state_.PoolOf(pool).available(),
             state_.PoolOf(pool).blocks().capacity());
  const double most_rows = device.config.max_rows - 1;
  missing_of(1.0 * request.gang + rows.rows() - most_rows, most_rows);
  uint64_t all = 1 + state_.running();
  for (const QueuedWork& work : ahead) all += work.rows;
  missing_of(static_cast<double>(all) - state_.config.max_running,
             state_.config.max_running);
  if (!RowFits(device, rows, request)) {
    // The step is kept within the target; as many rows run as that allows.
    const double tpot = TpotWith(device, request);
    const double base = time.Predict(StepShape());
    const double fit = rows.decode_rows * (tpot - base) / (step - base);
    missing_of(1.0 + rows.decode_rows - fit, fit);
    step = std::min(step, tpot);
  }
  return share * step * ExpectedStay(device, request);
}

double Forecast::TpotWith(const DeviceState& device,
                          const Request& request) const {
  const double own = ToSeconds(state_.ClassOf(request).pace());
  const double tightest = TightestTpot(device);
  return tightest > 0 ? std::min(own, tightest) : own;
}

// Where the target is out of reach even for a row alone, waiting for it
// would help nobody.
bool Forecast::RowFits(const DeviceState& device, const StepShape& rows,
                       const Request& request) const {
  if (rows.decode_rows == 0 || !IsWarm(device)) return true;
  const StepTimeModel& time = TimeOf(device);
  const double tpot = TpotWith(device, request);
  StepShape alone;
  AddRowsOf(request, alone);
  if (time.Predict(alone) > tpot / 2) return true;
  StepShape with = rows;
  AddRowsOf(request, with);
  return time.Predict(with) <= tpot;
}

// Tokens that a request which decodes there stays for, on average.
double Forecast::ExpectedStay(const DeviceState& device,
                              const Request& newcomer) const {
  if (device.bound == 0) return state_.answers.Expected(newcomer);
  const double most =
      static_cast<double>(device.bound_max_output) / device.bound;
  double sum = 0;
  for (size_t i = 0; i < state_.answers.classes(); ++i) {
    const double mean = state_.answers.mean(i);
    const double seen = mean > 0 ? std::min(mean, most) : most;
    sum += device.bound_by_class[i] * seen;
  }
  return sum / device.bound;
}

double Forecast::ServiceSeconds(const Request& request) const {
  const StepTimeModel& time = TimeOf(state_.devices[0], 0);
  StepShape shape;
  shape.AddChunk(0, request.size());
  const double nothing = time.Predict(StepShape());
  StepShape row;
  row.AddDecodeRow(request.size());
  return (time.Predict(shape) - nothing) +
         state_.answers.Expected(request) * (time.Predict(row) - nothing);
}

double Forecast::LeastSeconds(const Request& request, const DeviceState& device,
                              uint32_t cached) const {
  const uint32_t output = state_.answers.Expected(request);
  double least = -1;
  for (const StepTimeModel& time : device.time) {
    if (time.observed() < kWarmSteps && !device.config.prior_measured) continue;
    StepShape prompt, row;
    prompt.AddChunk(cached, request.size() - cached);
    row.AddDecodeRow(request.size());
    const double seconds = time.Predict(prompt) +
                           (output > 1 ? output - 1 : 0) * time.Predict(row);
    if (least < 0 || seconds < least) least = seconds;
  }
  return std::max(least, 0.0);
}

bool Forecast::HasRoom(const DeviceState& device,
                       const Request& request) const {
  return device.HasRows(request.gang) &&
         state_.BlocksOf(request) <=
             state_.PoolOf(device.config.pool).available() &&
         RowFits(device, device.DecodeShape(), request);
}

}  // namespace braid
