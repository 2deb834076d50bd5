// `braid simulate --trace FILE --cluster FILE --policy NAME [--scale X] --out
// DIR`: flags, the run, and what is said about it. kReplayHelp lists the flags.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "scheduler/stream_terms.h"
#include "simulator/replay/policies.h"
#include "simulator/replay/trace.h"

namespace braid {

struct ReplayOptions {
  std::string trace, cluster, out;
  PolicySpec policy{.name = "braid"};
  std::string layout = "file";
  TraceOptions arrivals;
  // Of the cluster file, replaced when > 0.
  uint32_t prefill_chunk = 0, block_tokens = 0;
  uint64_t kv_tokens = 0;
  double ttft_s = 0, itl_ms = 0;
  StreamMode parscale = StreamMode::kOff;
  std::string profiles;   // folder of the GPU tables; empty: the default one
  std::string decisions;  // file for the scheduler's decisions, a line each
  // Instead of one run: the highest load at which these shares of the requests
  // meet their targets.
  bool goodput_search = false;
  std::vector<double> attainments = {0.9, 0.99};
  std::string command;  // as given
};

extern const char kReplayHelp[];

// `args` without the program's name and "simulate".
absl::StatusOr<ReplayOptions> ParseReplayFlags(
    const std::vector<std::string>& args);

// Writes the closing lines to `out` and progress to `err` (`live`: it is a
// terminal). Returns the process's exit status.
int RunReplay(const ReplayOptions& options, std::ostream& out,
              std::ostream& err, bool live);

}  // namespace braid
