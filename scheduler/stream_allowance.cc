#include "scheduler/stream_allowance.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace braid {
namespace {

// Weight of the newest sample.
constexpr double kGain = 1.0 / 32;
// The same of what rows cost: it varies much, and changes slowly.
constexpr double kBesideGain = 1.0 / 128;
// Late is late: who waits for seconds, for rows that end first or without
// others' cores, moves the middle by no more than who waits for so many first
// tokens.
constexpr double kMostLate = 2;
// So many samples of a crowd count as much as what all crowds say.
constexpr double kFew = 4;
// However seldom newcomers met anybody lately: the next one may.
constexpr double kLeastChance = 1.0 / 16;
// Of the extra that a newcomer waits for where the step sheds in flight: a
// layer of dozens, and the time to be told.
constexpr double kShedRest = 1.0 / 16;

// The mean of the first few, then of the last few.
void Average(double sample, uint64_t seen, double& mean) {
  mean += std::max(kGain, 1.0 / static_cast<double>(seen)) * (sample - mean);
}

}  // namespace

void StreamAllowance::Arrived(bool met_rows) {
  Average(met_rows ? 1 : 0, ++arrived_, met_);
}

void StreamAllowance::FirstToken(double seconds, double alone) {
  if (seconds <= 0) seconds = alone;
  if (seconds <= 0) return;
  Average(std::log(seconds), ++first_tokens_, log_seconds_);
}

void StreamAllowance::Beside::Add(double sample, double of) {
  ++seen;
  const double gain = std::max(kBesideGain, 1.0 / static_cast<double>(seen));
  seconds += gain * (of * sample - seconds);
  weight += gain * (of - weight);
}

int StreamAllowance::CrowdOf(uint32_t rows) {
  return std::min(static_cast<int>(std::bit_width(rows)), kCrowds) - 1;
}

// Some of what rows cost is the same for all prompts, some goes with their
// length. Weighted with the inverse root, the mean is that of a prompt as long
// as their geometric mean either way, if lengths are distributed log-normally.
void StreamAllowance::Met(uint32_t rows, double beside, double alone) {
  if (rows == 0 || alone <= 0) return;
  beside = std::clamp(beside, 0.0, kMostLate * first_token());
  const double weight = 1 / std::sqrt(alone);
  all_.Add(beside, weight);
  crowds_[CrowdOf(rows)].Add(beside, weight);
}

double StreamAllowance::chance_to_meet() const { return met_; }

double StreamAllowance::first_token() const {
  return first_tokens_ == 0 ? 0 : std::exp(log_seconds_);
}

double StreamAllowance::beside() const { return all_.mean(); }

double StreamAllowance::BesideCrowd(int crowd) const {
  const Beside& own = crowds_[crowd];
  const double seen = std::min(static_cast<double>(own.seen), 1 / kBesideGain);
  return (seen * own.mean() + kFew * all_.mean()) / (seen + kFew);
}

// The largest x with
//   rest (x^2 / 2 + plain x) + beside x <= budget (plain + x).
double StreamAllowance::Extra(double plain, uint32_t rows,
                              bool sheds_in_flight) const {
  if (first_tokens_ == 0 || rows == 0) return 0;
  const double rest = sheds_in_flight ? kShedRest : 1;
  const double budget = share_ * first_token() / std::max(met_, kLeastChance);
  const double linear = rest * plain + BesideCrowd(CrowdOf(rows)) - budget;
  return (std::sqrt(linear * linear + 2 * rest * budget * plain) - linear) /
         rest;
}

}  // namespace braid
