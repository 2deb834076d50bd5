// What became of one request of a load.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace braid::load {

enum class Outcome : uint8_t {
  kOk,
  kRefused,     // 429
  kFailed,      // anything else that is not an answer
  kUnfinished,  // still running when the run was over
  kNotSent,     // the bound on open connections was reached
};
const char* ToString(Outcome outcome);

// Times are seconds after the start of the run; below 0: did not happen.
struct Record {
  uint32_t index = 0;
  double due = 0;
  double sent = -1;  // the moment its connection was asked for
  double first_token = -1;
  double last_token = -1;
  double ended = -1;  // the last byte of the answer
  Outcome outcome = Outcome::kUnfinished;
  int status = 0;           // of HTTP
  double retry_after = -1;  // seconds, as the server said
  uint32_t prompt_asked = 0, output_asked = 0;
  int64_t prompt_tokens = -1, output_tokens = -1;  // as the server counted
  uint32_t token_events = 0;        // one may carry several tokens
  double longest_gap = 0;           // between two of them, seconds
  std::vector<double> token_times;  // when asked for
  std::vector<std::pair<std::string, double>> timings;  // as the server sent
  // PARSCALE, where the server tells it: mean over the tokens, and tokens by
  // the number of streams that answered them ([0] is not used).
  double mean_streams = -1;
  std::vector<uint32_t> tokens_by_streams;
  std::string error;

  // From when it was due: what the sender is late by is waited for too.
  double ttft() const { return first_token - due; }
  // Mean time between tokens; 0 for an answer of one.
  double tpot() const;
  bool Meets(double ttft_limit, double tpot_limit) const;
};

// One line of JSON, with its end.
void AppendJsonLine(const Record& record, std::string& out);

}  // namespace braid::load
