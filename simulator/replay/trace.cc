#include "simulator/replay/trace.h"

#include <algorithm>
#include <filesystem>
#include <numeric>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "base/check.h"
#include "base/rng.h"
#include "base/status_macros.h"
#include "simulator/replay/text_file.h"
#include "simulator/replay/trace_formats.h"

namespace braid {
namespace {

// Spreads each group of equal stamps over the time until the next stamp, but
// over no more than the usual distance between stamps: a pause of the recording
// is not filled.
void Jitter(Trace& trace, uint64_t seed) {
  std::vector<TraceRequest>& requests = trace.requests;
  std::vector<double> gaps;
  for (size_t i = 1; i < requests.size(); ++i) {
    const double gap = requests[i].arrival - requests[i - 1].arrival;
    if (gap > 0) gaps.push_back(gap);
  }
  if (gaps.empty()) return;
  std::ranges::nth_element(gaps, gaps.begin() + gaps.size() / 2);
  const double usual = gaps[gaps.size() / 2];
  Rng rng(seed);
  std::vector<double> offsets;
  for (size_t begin = 0; begin < requests.size();) {
    size_t end = begin + 1;
    const double stamp = requests[begin].arrival;
    while (end < requests.size() && requests[end].arrival == stamp) ++end;
    const double width = end < requests.size()
                             ? std::min(usual, requests[end].arrival - stamp)
                             : usual;
    offsets.clear();
    for (size_t i = begin; i < end; ++i) {
      offsets.push_back(rng.Uniform() * width);
    }
    std::ranges::sort(offsets);
    for (size_t i = begin; i < end; ++i) {
      requests[i].arrival += offsets[i - begin];
    }
    begin = end;
  }
}

void Summarise(Trace& trace) {
  absl::flat_hash_set<uint32_t> seen;
  uint64_t total = 0, reused = 0;
  for (const TraceRequest& request : trace.requests) {
    trace.prompt_tokens += request.prompt_tokens;
    trace.output_tokens += request.output_tokens;
    bool prefix = true;
    for (uint32_t block : trace.BlocksOf(request)) {
      ++total;
      const bool fresh = seen.insert(block).second;
      prefix = prefix && !fresh;
      reused += prefix;
    }
  }
  trace.reuse = total == 0 ? 0 : static_cast<double>(reused) / total;
}

}  // namespace

absl::Status AtLine(const std::string& path, size_t line,
                    absl::string_view message) {
  return absl::InvalidArgumentError(
      absl::StrCat(path, ":", line, ": ", message));
}

absl::Status AddOwnBlocks(Trace& trace, TraceRequest& request) {
  const uint32_t count =
      (request.prompt_tokens + kTraceBlockTokens - 1) / kTraceBlockTokens;
  if (count > kMaxTraceBlocks - trace.distinct_blocks) {
    return absl::InvalidArgumentError(
        absl::StrCat("more than ", kMaxTraceBlocks,
                     " distinct blocks of 512 tokens: replay fewer requests"));
  }
  request.first_block = trace.blocks.size();
  for (uint32_t i = 0; i < count; ++i) {
    trace.blocks.push_back(trace.distinct_blocks++);
  }
  return absl::OkStatus();
}

absl::StatusOr<Trace> ReadTrace(const std::string& path,
                                const TraceOptions& options) {
  if (!(options.scale > 0)) {
    return absl::InvalidArgumentError("the scale must be greater than 0");
  }
  Trace trace;
  trace.name = std::filesystem::path(path).filename().string();
  if (trace.name.empty()) {
    trace.name = std::filesystem::path(path).parent_path().filename().string();
  }
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    trace.format = "servegen";
    BRAID_RETURN_IF_ERROR(ReadServeGen(path, options, trace));
  } else {
    BRAID_ASSIGN_OR_RETURN(const std::string text,
                           ReadTextFile(path, kMaxTraceBytes));
    const size_t start = text.find_first_not_of(" \t\r\n");
    const bool json = start != std::string::npos && text[start] == '{';
    trace.format = json ? "mooncake" : "azure";
    BRAID_RETURN_IF_ERROR((json ? ReadMooncake : ReadAzure)(
        path, text, options.max_requests, trace));
  }
  if (trace.requests.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": holds no requests"));
  }
  if (options.jitter) {
    Jitter(trace, options.seed);
    trace.arrivals = absl::StrCat("jittered, seed ", options.seed);
  }
  ScaleArrivals(trace, options.scale);
  Summarise(trace);
  return trace;
}

void ScaleArrivals(Trace& trace, double scale) {
  BRAID_CHECK(scale > 0);
  for (TraceRequest& request : trace.requests) request.arrival /= scale;
}

void FillPrompt(const Trace& trace, const TraceRequest& request,
                std::vector<TokenId>& tokens) {
  tokens.resize(request.prompt_tokens);
  uint32_t at = 0;
  for (uint32_t block : trace.BlocksOf(request)) {
    const uint32_t end =
        std::min(at + kTraceBlockTokens, request.prompt_tokens);
    std::iota(tokens.begin() + at, tokens.begin() + end,
              static_cast<TokenId>(block * kTraceBlockTokens));
    at = end;
  }
}

}  // namespace braid
