#include "simulator/replay/capacity_bound.h"

#include <algorithm>
#include <limits>
#include <span>

#include "base/check.h"

namespace braid {
namespace {

// Rows beside which a row's own share of a decode step is measured.
constexpr uint32_t kRows = 16;

double ChunkSeconds(const WorkerTimes& times, ChunkRows chunk) {
  return times.seconds(std::span(&chunk, 1), 0, 0, 0);
}

// Seconds of a prompt token but for its attention to what stands before its
// chunk: where it is cheapest.
double LeastTokenSeconds(const ClusterSpec& cluster, const WorkerTimes& times) {
  double least = std::numeric_limits<double>::infinity();
  for (uint32_t count = cluster.prefill_chunk; count >= 16; count /= 2) {
    least = std::min(least, ChunkSeconds(times, {0, count}) / count);
  }
  return least;
}

}  // namespace

uint64_t MostOnTime(const std::vector<PromptJob>& jobs, double target) {
  struct Kept {
    double arrival, work, start;
  };
  uint64_t on_time = 0;
  // Back to back since the machine was last idle.
  std::vector<Kept> busy;
  double end = 0;
  for (const PromptJob& job : jobs) {
    if (job.work > target) continue;
    if (end <= job.arrival) {
      busy.clear();
      end = job.arrival;
    }
    busy.push_back({job.arrival, job.work, end});
    end += job.work;
    ++on_time;
    if (end <= job.arrival + target) continue;
    // The one without which the others end earliest goes. What stands behind it
    // moves up, but not before it has arrived.
    double room = std::numeric_limits<double>::infinity(), most = -1;
    size_t gone = 0;
    for (size_t i = busy.size(); i-- > 0;) {
      const double gain = std::min(busy[i].work, room);
      if (gain > most) {
        most = gain;
        gone = i;
      }
      room = std::min(room, busy[i].start - busy[i].arrival);
    }
    --on_time;
    double at = busy[gone].start;
    busy.erase(busy.begin() + static_cast<std::ptrdiff_t>(gone));
    for (size_t i = gone; i < busy.size(); ++i) {
      at = std::max(at, busy[i].arrival);
      busy[i].start = at;
      at += busy[i].work;
    }
    end = at;
  }
  return on_time;
}

CapacityBound BoundOf(const Trace& trace, const ClusterSpec& cluster,
                      const WorkerTimes& times) {
  const auto workers = static_cast<double>(cluster.workers.size());
  const double token = LeastTokenSeconds(cluster, times);
  const auto attention = [&](uint32_t first, uint32_t end) {
    double seconds = 0;
    for (uint32_t at = first; at < end;) {
      const ChunkRows chunk{at, std::min(cluster.prefill_chunk, end - at)};
      seconds += std::max(0.0, ChunkSeconds(times, chunk) -
                                   ChunkSeconds(times, {0, chunk.count}));
      at += chunk.count;
    }
    return seconds;
  };
  const auto row = [&](uint64_t context) {
    const double seconds = times.seconds({}, kRows, kRows * context, 0) -
                           times.seconds({}, kRows, kRows, 0);
    return token + std::max(0.0, seconds) / kRows;
  };

  CapacityBound bound;
  std::vector<PromptJob> jobs;
  std::vector<double> work;
  std::vector<bool> seen(trace.distinct_blocks);
  double end = 0;
  for (const TraceRequest& request : trace.requests) {
    uint32_t known = 0;
    bool prefix = true;
    for (uint32_t block : trace.BlocksOf(request)) {
      prefix = prefix && seen[block];
      known += prefix ? kTraceBlockTokens : 0;
      seen[block] = true;
    }
    known = std::min(known, request.prompt_tokens - 1);
    const double prompt = token * (request.prompt_tokens - known) +
                          attention(known, request.prompt_tokens);
    const double tokens =
        request.output_tokens > 1 ? request.output_tokens - 1 : 0;
    const double answer =
        tokens * row(request.prompt_tokens + request.output_tokens / 2);
    bound.prompt_seconds += prompt;
    bound.answer_seconds += answer;
    end = std::max(end, request.arrival + cluster.ttft_target +
                            tokens * cluster.tpot_target);
    // A prompt that one worker cannot compute in time does not count as if all
    // of them could.
    if (prompt > cluster.ttft_target) continue;
    jobs.push_back({request.arrival, prompt / workers});
    work.push_back(prompt + answer);
  }
  bound.by_prompts = MostOnTime(jobs, cluster.ttft_target);
  std::ranges::sort(work);
  double left = workers * end;
  for (double seconds : work) {
    if (seconds > left) break;
    left -= seconds;
    ++bound.by_work;
  }
  return bound;
}

}  // namespace braid
