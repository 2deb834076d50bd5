#include "scheduler/stream_filler.h"

#include <algorithm>
#include <tuple>

#include "base/check.h"

namespace braid {
namespace {

// What a stream has missed is made up for where it costs no more than so many
// times what the stream then takes to answer.
constexpr double kMostCatchUp = 8;

// Of a model that has learned nothing of some row.
constexpr double kLeastSeconds = 1e-9;

}  // namespace

// The step as it grows.
struct StreamFiller::Step {
  const StepTimeModel& time;
  const StreamLimits& limits;
  StepShape plain, shape;
  uint32_t rows = 0, blocks = 0;  // left

  // By which rows of a stream make any step longer.
  double Seconds(uint32_t before, uint32_t count) const {
    StepShape with = plain;
    with.AddStreamRows(before, count);
    return time.Predict(with) - time.Predict(plain);
  }
  bool Fits(uint32_t before, uint32_t count) const {
    StepShape with = shape;
    with.AddStreamRows(before, count);
    return time.Predict(with) <= limits.seconds;
  }
  // Most rows that a stream may be given now, up to `wanted`.
  uint32_t Most(uint32_t computed, uint32_t held, uint32_t wanted) const {
    const uint64_t end = uint64_t{held + blocks} * limits.block_tokens;
    const uint64_t room = end - std::min<uint64_t>(end, computed);
    auto high = static_cast<uint32_t>(std::min<uint64_t>(
        std::min({wanted, rows, std::max(limits.slice, 1u)}), room));
    if (high == 0 || Fits(computed, high)) return high;
    uint32_t low = 0;
    while (high - low > 1) {
      const uint32_t middle = low + (high - low) / 2;
      (Fits(computed, middle) ? low : high) = middle;
    }
    return low;
  }
};

bool StreamFiller::Next::operator<(const Next& other) const {
  // Of equals, the first candidate.
  return std::tuple(wanted, worth, other.candidate) <
         std::tuple(other.wanted, other.worth, candidate);
}

void StreamFiller::Push(std::span<const StreamCandidate> candidates,
                        uint32_t index, const Step& step) {
  const StreamCandidate& candidate = candidates[index];
  const uint32_t stream = candidate.gang;
  if (stream >= std::min(candidate.most, candidate.elsewhere)) return;
  const double gain = candidate.gain[stream] - candidate.gain[stream - 1];
  const bool wanted = stream < candidate.wanted;
  if (gain <= 0 && !wanted) return;
  const uint32_t computed = candidate.computed[stream];
  const uint32_t lag = candidate.position - computed;
  double seconds = step.Seconds(candidate.position, 1);
  if (lag > 0) {
    const double all = step.Seconds(computed, lag);
    const double each = all / candidate.remaining;
    const double most =
        step.limits.saved + step.limits.each * candidate.remaining / 2;
    if (!wanted && (each > kMostCatchUp * seconds || all > most)) return;
    seconds += each;
  }
  heap_.push_back({.wanted = wanted,
                   .worth = gain / std::max(seconds, kLeastSeconds),
                   .candidate = index});
  std::push_heap(heap_.begin(), heap_.end());
}

StreamFill StreamFiller::Fill(std::span<StreamCandidate> candidates,
                              StepShape shape, const StepTimeModel& time,
                              const StreamLimits& limits) {
  StreamFill fill;
  Step step{.time = time,
            .limits = limits,
            .plain = shape,
            .shape = shape,
            .rows = limits.rows,
            .blocks = limits.blocks};
  heap_.clear();
  heap_.reserve(candidates.size());
  for (uint32_t i = 0; i < candidates.size(); ++i) {
    BRAID_CHECK(candidates[i].most <= candidates[i].gain.size() ||
                candidates[i].most == 1);
    Push(candidates, i, step);
  }
  while (!heap_.empty() && step.rows > 0) {
    const uint32_t index = heap_.front().candidate;
    std::pop_heap(heap_.begin(), heap_.end());
    heap_.pop_back();
    StreamCandidate& candidate = candidates[index];
    const uint32_t stream = candidate.gang;
    const uint32_t computed = candidate.computed[stream];
    const uint32_t lag = candidate.position - computed;
    const uint32_t held = candidate.blocks[stream];
    const uint32_t rows = step.Most(computed, held, lag + 1);
    const bool answers = rows == lag + 1;
    // The request goes on by one meanwhile.
    if (!answers && (rows < 2 || lag / (rows - 1) + 1 >= candidate.remaining)) {
      continue;
    }
    candidate.rows[stream] = rows;
    step.shape.AddStreamRows(computed, rows);
    step.rows -= rows;
    const uint32_t blocks =
        (computed + rows + limits.block_tokens - 1) / limits.block_tokens;
    const uint32_t taken = blocks > held ? blocks - held : 0;
    step.blocks -= taken;
    fill.blocks += taken;
    fill.rows += rows;
    fill.caught_up += rows - answers;
    if (!answers) continue;
    ++candidate.gang;
    fill.gain += candidate.gain[stream] - candidate.gain[stream - 1];
    Push(candidates, index, step);
  }
  return fill;
}

uint32_t StreamFiller::Offered(std::span<const StreamCandidate> candidates,
                               const StepShape& shape,
                               const StepTimeModel& time, double seconds,
                               uint32_t rows) {
  uint64_t wanted = 0, attended = 0;
  for (const StreamCandidate& candidate : candidates) {
    wanted += candidate.most - 1;
    attended += uint64_t{candidate.most - 1} * (candidate.position + 1);
  }
  const auto most = static_cast<uint32_t>(std::min<uint64_t>(wanted, rows));
  if (most == 0) return 0;
  const auto fits = [&](uint32_t count) {
    StepShape with = shape;
    with.stream_rows += count;
    with.decode_attended += attended * count / wanted;
    return time.Predict(with) <= seconds;
  };
  if (fits(most)) return most;
  uint32_t low = 0, high = most;
  while (high - low > 1) {
    const uint32_t middle = low + (high - low) / 2;
    (fits(middle) ? low : high) = middle;
  }
  return low;
}

}  // namespace braid
