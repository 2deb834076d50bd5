// What a load consists of, decided before the first request is sent: when each
// is due, how long its prompt is and how long its answer. A function of its
// options and the trace alone, so that two servers can be given the same one.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/rng.h"

namespace braid::load {

struct TraceRow {
  double at = 0;  // seconds after the first row
  uint32_t prompt_tokens = 0;
  uint32_t output_tokens = 0;
};

// Azure's format: TIMESTAMP,ContextTokens,GeneratedTokens with a line of names
// first. INVALID_ARGUMENT names the line. Rows must be in order of time.
absl::StatusOr<std::vector<TraceRow>> ParseAzureTrace(std::string_view csv);

// How many tokens: "512" always, "100-500" uniform with both ends, "trace" the
// row's own, "trace*0.25" a share of it. Never less than 1.
class LengthSource final {
 public:
  static absl::StatusOr<LengthSource> Parse(absl::string_view spec);
  bool traced() const { return scale_ > 0; }
  uint32_t Draw(uint32_t of_the_row, Rng& rng) const;

 private:
  uint32_t low_ = 1, high_ = 1;
  double scale_ = 0;  // > 0: of the trace
};

enum class Arrivals : uint8_t {
  kPoisson,
  kUniform,  // one every 1 / rate
  kTrace,    // the gaps of the trace, stretched to the rate
  kClosed,   // all due at once: the sender holds back
};

struct WorkloadOptions {
  Arrivals arrivals = Arrivals::kPoisson;
  double rate = 1;      // requests per second
  double seconds = 10;  // during which they arrive
  uint64_t seed = 1;
  LengthSource prompt, output;
  // Prompt and answer together. The prompt is cut to leave the answer room.
  uint32_t max_tokens = 8192;
  size_t trace_from = 0;  // the first row used; behind the last comes the first
};

struct PlannedRequest {
  double at = 0;  // seconds after the start
  uint32_t prompt_tokens = 0;
  uint32_t output_tokens = 0;
};

// In order of time. kTrace has exactly rate * seconds requests, kPoisson about
// as many. REQUIRES: rows where something is traced; rate, seconds > 0.
std::vector<PlannedRequest> PlanWorkload(const WorkloadOptions& options,
                                         std::span<const TraceRow> rows);

}  // namespace braid::load
