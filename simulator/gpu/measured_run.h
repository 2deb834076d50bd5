// A row of silicon_e2e.csv.gz: one load test of a serving engine on real
// hardware, and what is needed to repeat it in simulation.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "simulator/gpu/csv_table.h"
#include "simulator/gpu/gpu_step_time.h"

namespace braid::gpu {

struct MeasuredRun {
  std::string id, model, system, backend, precision;
  bool disaggregated = false;
  // The day of it or of a row that it repeats, 2025-12-31; empty if unknown.
  std::string day;
  bool dated() const { return !day.empty(); }
  uint32_t prompt_tokens = 0, answer_tokens = 0;
  uint32_t clients = 0;  // of all workers together
  // One of an aggregated run; else one of each kind and how many there were.
  GpuServing worker, prefill_worker, decode_worker;
  uint32_t prefill_workers = 1, decode_workers = 1;
  double ttft = 0, tpot = 0;  // seconds, as measured

  // Why it cannot be simulated; empty when it can.
  std::string unusable;

  std::string group() const { return model + " on " + system; }
};

// Every row of the table; one that makes no sense is unusable, with the reason.
// Fails when a column is missing.
absl::StatusOr<std::vector<MeasuredRun>> ParseRuns(const CsvTable& table);

}  // namespace braid::gpu
