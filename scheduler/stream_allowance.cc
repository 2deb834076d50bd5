#include "scheduler/stream_allowance.h"

#include <algorithm>
#include <cmath>

namespace braid {
namespace {

// Of the first-token time. Half as much again is what it comes to where rows
// and prompts are many, and wait for each other.
constexpr double kShare = 0.012;
// Weight of the newest sample.
constexpr double kGain = 1.0 / 32;
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

void StreamAllowance::Taken::Add(double seconds, double alone) {
  seen += kGain * (seconds - seen);
  predicted += kGain * (alone - predicted);
}

void StreamAllowance::Arrived(bool met_rows) {
  Average(met_rows ? 1 : 0, ++arrived_, met_);
}

void StreamAllowance::FirstToken(double seconds, double alone, bool met_rows,
                                 bool compare) {
  if (seconds <= 0) seconds = alone;
  if (seconds <= 0) return;
  Average(std::log(seconds), ++first_tokens_, log_seconds_);
  if (compare) (met_rows ? beside_ : alone_).Add(seconds, alone);
}

double StreamAllowance::chance_to_meet() const { return met_; }

double StreamAllowance::first_token() const {
  return first_tokens_ == 0 ? 0 : std::exp(log_seconds_);
}

double StreamAllowance::beside() const {
  // Where nobody is ever alone, predictions must do.
  const double alone = alone_.ratio() > 0 ? alone_.ratio() : 1;
  return first_token() * std::max(0.0, beside_.ratio() / alone - 1);
}

// The largest x with
//   rest (x^2 / 2 + plain x) + beside x <= budget (plain + x).
double StreamAllowance::Extra(double plain, bool sheds_in_flight) const {
  if (first_tokens_ == 0) return 0;
  const double rest = sheds_in_flight ? kShedRest : 1;
  const double budget = kShare * first_token() / std::max(met_, kLeastChance);
  const double linear = rest * plain + beside() - budget;
  return (std::sqrt(linear * linear + 2 * rest * budget * plain) - linear) /
         rest;
}

}  // namespace braid
