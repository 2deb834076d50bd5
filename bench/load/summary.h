// What a load's records say together.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "bench/load/record.h"

namespace braid::load {

// Linear between the two nearest ranks, as numpy's default. NaN of nothing.
// `sorted` ascending, 0 <= p <= 1.
double Percentile(std::span<const double> sorted, double p);

struct SummaryOptions {
  double seconds = 0;  // during which requests arrived
  // Requests due before it are sent and recorded, and left out of all figures.
  double warm_up = 0;
  double ttft_limit = 2, tpot_limit = 0.1;  // seconds
  double sender_cpu = 0;  // seconds of processor time the sender took
};

// One JSON document. Latencies in milliseconds, of answered requests. A request
// that was refused or failed misses its targets. Throughput is of the requests
// that ended between warm-up and the last arrival; the sender's lateness is of
// all that were sent.
std::string Summarize(std::span<const Record> records,
                      const SummaryOptions& options);

}  // namespace braid::load
