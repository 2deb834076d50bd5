// A workload to replay: who arrives when, with how long a prompt, how long an
// answer, and which prompts begin alike. Three public formats are read:
//
//   Mooncake  JSON lines {timestamp ms, input_length, output_length, hash_ids}
//   Azure     CSV  TIMESTAMP,ContextTokens,GeneratedTokens
//   ServeGen  a folder of clients, each a renewal process by window
//
// Files may be gzip'd. Whatever is wrong with one is told with file and line.
//
// Prompts have no text. A prompt is a chain of blocks of 512 tokens; block b
// is made of the tokens [512 b, 512 b + 512), so equal chains are equal token
// sequences and no two different blocks share a token.
//
// Thread safety: plain values.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/ids.h"

namespace braid {

inline constexpr uint32_t kTraceBlockTokens = 512;
// The largest block id whose tokens are TokenIds.
inline constexpr uint32_t kMaxTraceBlocks = (1u << 31) / kTraceBlockTokens - 1;

struct TraceRequest {
  double arrival = 0;  // seconds since the trace began
  uint32_t prompt_tokens = 0;
  uint32_t output_tokens = 0;
  // Its chain in Trace::blocks: ceil(prompt_tokens / 512) of them.
  uint64_t first_block = 0;
};

struct Trace {
  std::string name;                    // of the file, without folders
  std::string format;                  // "mooncake", "azure" or "servegen"
  std::string arrivals = "raw";        // or "jittered, seed S"
  std::vector<TraceRequest> requests;  // in order of arrival
  std::vector<uint32_t> blocks;
  uint32_t distinct_blocks = 0;
  uint64_t prompt_tokens = 0, output_tokens = 0;
  // Share of blocks behind a prefix seen before, with a cache without end.
  double reuse = 0;

  std::span<const uint32_t> BlocksOf(const TraceRequest& request) const {
    const uint32_t count =
        (request.prompt_tokens + kTraceBlockTokens - 1) / kTraceBlockTokens;
    return std::span(blocks).subspan(request.first_block, count);
  }
  double seconds() const {
    return requests.empty() ? 0 : requests.back().arrival;
  }
};

struct TraceOptions {
  // Arrivals come this many times as fast.
  double scale = 1;
  // Spread arrivals that share a time stamp over the time until the next one,
  // in file order (Mooncake's fall on ticks of about 3 s).
  bool jitter = false;
  uint64_t seed = 1;
  uint64_t max_requests = 0;  // the first ones; 0: all
  // Of a ServeGen workload: the window [from, from + seconds) at `rate`
  // requests per second on average, all clients together. 0: as recorded.
  double from = 0, seconds = 600, rate = 0;
};

absl::StatusOr<Trace> ReadTrace(const std::string& path,
                                const TraceOptions& options);

// Multiplies the arrival rate.
void ScaleArrivals(Trace& trace, double scale);

// The prompt's tokens, in place of what `tokens` holds.
void FillPrompt(const Trace& trace, const TraceRequest& request,
                std::vector<TokenId>& tokens);

}  // namespace braid
