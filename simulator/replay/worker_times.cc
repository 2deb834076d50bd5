#include "simulator/replay/worker_times.h"

#include <algorithm>
#include <initializer_list>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "simulator/gpu/gpu_profiles.h"
#include "simulator/gpu/gpu_step_time.h"

namespace braid {
namespace {

uint64_t Attended(const ChunkRows& chunk) {
  StepShape shape;
  shape.AddChunk(chunk.before, chunk.count);
  return shape.chunk_attended;
}

// Differences between a few shapes of the kind that a worker sees.
StepTimeModel::Prior FitPrior(const WorkerTimes& times, bool streams) {
  const auto chunk = [&](uint32_t before, uint32_t count) {
    const ChunkRows rows{before, count};
    return times.seconds(std::span(&rows, 1), 0, 0, 0);
  };
  const auto decode = [&](uint32_t rows, uint64_t context,
                          uint32_t stream_rows = 0) {
    return times.seconds({}, rows, (rows + stream_rows) * context, stream_rows);
  };
  const auto slope = [](double less, double more, double apart) {
    return std::max(0.0, (more - less) / apart);
  };
  StepTimeModel::Prior prior;
  prior.chunk_attended =
      slope(chunk(0, 4096), chunk(32'768, 4096), 4096.0 * 32'768);
  prior.chunk_token = std::max(
      0.0,
      slope(chunk(0, 1024), chunk(0, 4096), 3072) -
          prior.chunk_attended *
              static_cast<double>(Attended({0, 4096}) - Attended({0, 1024})) /
              3072);
  prior.decode_attended =
      slope(decode(32, 1024), decode(32, 16'384), 32.0 * 15'360);
  prior.decode_row =
      std::max(0.0, slope(decode(1, 1024), decode(64, 1024), 63) -
                        prior.decode_attended * 1024);
  prior.base =
      std::max(1e-6, decode(1, 1) - prior.decode_row - prior.decode_attended);
  if (streams) {
    prior.stream_row =
        std::max(0.0, slope(decode(8, 1024), decode(8, 1024, 24), 24) -
                          prior.decode_attended * 1024);
  }
  // A chunk that takes about as long as the base, beside rows.
  const ChunkRows beside{
      0, static_cast<uint32_t>(std::clamp(
             prior.base / std::max(prior.chunk_token, 1e-9), 16.0, 4096.0))};
  const double apart = decode(16, 1024) + prior.chunk_token * beside.count;
  const double together =
      times.seconds(std::span(&beside, 1), 16, 16 * 1024, 0);
  prior.overlap = std::clamp((apart - together) / prior.base, 0.0, 1.0);
  return prior;
}

std::function<double(std::span<const ChunkRows>, uint32_t, uint64_t, uint32_t)>
ClosedForm(const StepTimeModel::Prior& form) {
  return [form](std::span<const ChunkRows> chunks, uint32_t decode_rows,
                uint64_t decode_attended, uint32_t stream_rows) {
    double seconds =
        form.base + form.decode_row * decode_rows +
        (form.stream_row < 0 ? form.decode_row : form.stream_row) *
            stream_rows +
        form.decode_attended * static_cast<double>(decode_attended);
    for (const ChunkRows& chunk : chunks) {
      seconds += form.chunk_token * chunk.count +
                 form.chunk_attended * static_cast<double>(Attended(chunk));
    }
    return seconds;
  };
}

template <typename Value>
absl::Status Choose(const char* key, const std::string& name,
                    std::initializer_list<std::pair<const char*, Value>> known,
                    Value& value) {
  std::string names;
  for (const auto& [text, candidate] : known) {
    if (name == text) {
      value = candidate;
      return absl::OkStatus();
    }
    absl::StrAppend(&names, names.empty() ? "" : ", ", text);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("worker: \"", key, "\": \"", name, "\" is none of ", names));
}

absl::StatusOr<gpu::GpuServing> ServingOf(const ClusterSpec& cluster) {
  gpu::GpuServing serving{
      .model = cluster.model,
      .system = cluster.system,
      .tensor_parallel = static_cast<int>(cluster.tensor_parallel),
      .streams = cluster.streams.mode == StreamMode::kOff
                     ? 1
                     : static_cast<int>(cluster.streams.most())};
  BRAID_RETURN_IF_ERROR(Choose("engine", cluster.engine,
                               {{"vllm", gpu::ServingEngine::kVllm},
                                {"sglang", gpu::ServingEngine::kSglang},
                                {"trtllm", gpu::ServingEngine::kTrtLlm}},
                               serving.engine));
  BRAID_RETURN_IF_ERROR(Choose("weights", cluster.weights,
                               {{"bf16", gpu::WeightFormat::kBf16},
                                {"fp8", gpu::WeightFormat::kFp8},
                                {"fp8_block", gpu::WeightFormat::kFp8Block},
                                {"nvfp4", gpu::WeightFormat::kNvfp4},
                                {"int4", gpu::WeightFormat::kInt4}},
                               serving.weights));
  serving.expert_weights = serving.weights;
  BRAID_RETURN_IF_ERROR(
      Choose("kv", cluster.kv,
             {{"bf16", gpu::KvFormat::kBf16}, {"fp8", gpu::KvFormat::kFp8}},
             serving.kv));
  return serving;
}

}  // namespace

absl::StatusOr<WorkerTimes> LoadWorkerTimes(const ClusterSpec& cluster,
                                            const std::string& profiles) {
  WorkerTimes times{.kv_tokens = cluster.kv_tokens,
                    .kv_bytes_per_token = cluster.kv_bytes_per_token};
  const bool streams = cluster.streams.mode != StreamMode::kOff;
  if (cluster.step_seconds) {
    times.seconds = ClosedForm(*cluster.step_seconds);
    times.prior = FitPrior(times, streams);
    return times;
  }
  BRAID_ASSIGN_OR_RETURN(const gpu::GpuServing serving, ServingOf(cluster));
  BRAID_ASSIGN_OR_RETURN(
      const gpu::GpuProfiles tables,
      gpu::GpuProfiles::Read(
          profiles.empty() ? gpu::GpuProfiles::DefaultDirectory() : profiles));
  BRAID_ASSIGN_OR_RETURN(const gpu::GpuStepTime step,
                         gpu::GpuStepTime::Load(tables, serving));
  times.seconds = [step, shapes = std::vector<gpu::PromptChunk>()](
                      std::span<const ChunkRows> chunks, uint32_t decode_rows,
                      uint64_t decode_attended, uint32_t stream_rows) mutable {
    shapes.clear();
    for (const ChunkRows& chunk : chunks) {
      shapes.push_back({chunk.before, chunk.count});
    }
    return step.Seconds(shapes, decode_rows, decode_attended, stream_rows);
  };
  if (times.kv_tokens == 0) times.kv_tokens = step.kv_capacity_tokens();
  if (times.kv_bytes_per_token == 0) {
    times.kv_bytes_per_token = step.kv_bytes_per_token();
  }
  times.prior = FitPrior(times, streams);
  return times;
}

uint64_t CountFeasible(const Trace& trace, const ClusterSpec& cluster,
                       const WorkerTimes& times) {
  uint64_t feasible = 0;
  std::vector<bool> seen(trace.distinct_blocks);
  for (const TraceRequest& request : trace.requests) {
    uint32_t known = 0;
    bool prefix = true;
    for (uint32_t block : trace.BlocksOf(request)) {
      prefix = prefix && seen[block];
      known += prefix ? kTraceBlockTokens : 0;
      seen[block] = true;
    }
    double seconds = 0;
    // The last token is computed in any case.
    for (uint32_t at = std::min(known, request.prompt_tokens - 1);
         at < request.prompt_tokens;) {
      const ChunkRows chunk{
          at, std::min(cluster.prefill_chunk, request.prompt_tokens - at)};
      seconds += times.seconds(std::span(&chunk, 1), 0, 0, 0);
      at += chunk.count;
    }
    feasible += seconds <= cluster.ttft_target;
  }
  return feasible;
}

}  // namespace braid
