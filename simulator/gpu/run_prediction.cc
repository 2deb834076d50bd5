#include "simulator/gpu/run_prediction.h"

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "simulator/gpu/transfer_time.h"

namespace braid::gpu {
namespace {

// The dated sweeps of 1,024 and 8,192 tokens draw lengths from 80 % to all of
// that.
bool DrawsLengths(const MeasuredRun& run) {
  const auto drawn = [](uint32_t n) { return n == 1024 || n == 8192; };
  return run.dated() && drawn(run.prompt_tokens) && drawn(run.answer_tokens);
}

// The published launch scripts of the dated sweeps let TensorRT-LLM hold back
// prompts for 20 iterations only below this many GPUs.
constexpr int kWholeNode = 8;

// The sweeps on Blackwell run engines that poll with their long intervals.
double FirstTokenSteps(const MeasuredRun& run, const EngineHabits& habits,
                       const GpuProfiles& profiles) {
  double steps = habits.first_token_steps;
  if (!run.disaggregated && run.worker.attention_data_parallel > 1) {
    steps += habits.group_steps;
  }
  const ModelShape* model = profiles.FindModel(run.model);
  if (run.dated() && !run.disaggregated && model != nullptr &&
      model->experts == 0 && run.prompt_tokens == 1024 &&
      run.answer_tokens == 1024 && run.worker.tensor_parallel < kWholeNode) {
    steps += habits.bundle_steps;
  }
  const GpuSystem* system = profiles.FindSystem(run.system);
  if (run.dated() && system != nullptr &&
      system->fp4_flops > system->fp8_flops) {
    // On average half an interval is still to go.
    steps +=
        (run.clients < EngineHabits::kManyClients ? habits.poll_steps_few
                                                  : habits.poll_steps_many) /
        2;
  }
  return steps;
}

}  // namespace

absl::StatusOr<GpuStepTime> RunPredictor::WorkerOf(GpuServing s) {
  const EngineHabits& habits = profiles_.habits(s.engine);
  s.kv = habits.kv_fp8 > 0.5 && s.weights != WeightFormat::kBf16
             ? KvFormat::kFp8
             : KvFormat::kBf16;
  const std::string key =
      absl::StrCat(s.model, "|", s.system, "|", static_cast<int>(s.engine), "|",
                   static_cast<int>(s.weights), "|",
                   static_cast<int>(s.expert_weights), "|", s.tensor_parallel,
                   "|", s.pipeline_parallel, "|", s.attention_data_parallel,
                   "|", s.expert_tensor_parallel, "|", s.expert_parallel);
  const auto found = workers_.find(key);
  if (found != workers_.end()) return found->second;
  return workers_.emplace(key, GpuStepTime::Load(profiles_, s)).first->second;
}

absl::StatusOr<Prediction> RunPredictor::Predict(const MeasuredRun& run) {
  EngineHabits habits = profiles_.habits(run.worker.engine);
  const ModelShape* model = profiles_.FindModel(run.model);
  if (model != nullptr && model->latent()) {
    habits.request_overhead += habits.latent_request_overhead;
  }
  const LaunchSetting* launch = profiles_.FindLaunch(
      run.worker.engine, run.model, run.system, run.precision, run.day);
  if (launch != nullptr && !run.disaggregated) {
    habits.prompt_budget = launch->PromptBudget(run.prompt_tokens, run.clients);
    if (launch->shortest_answer > 0) {
      habits.shortest_answer = launch->shortest_answer;
    }
  }
  ClosedLoop loop;
  loop.clients = run.clients;
  loop.prompt_tokens = run.prompt_tokens;
  loop.answer_tokens = run.answer_tokens;
  if (DrawsLengths(run)) {
    loop.shortest_prompt = loop.shortest_answer = 0.8;
  } else {
    loop.shortest_answer = habits.shortest_answer;
  }
  loop.first_token_steps = FirstTokenSteps(run, habits, profiles_);
  LoopResult result;
  if (!run.disaggregated) {
    BRAID_ASSIGN_OR_RETURN(const GpuStepTime worker, WorkerOf(run.worker));
    result = RunAggregated(worker, habits, loop);
    if (!run.dated()) {
      const PromptChunk prompt{0, run.prompt_tokens};
      result.ttft +=
          habits.undated_prompts * worker.Seconds({&prompt, 1}, 0, 0);
    }
  } else {
    BRAID_ASSIGN_OR_RETURN(const GpuStepTime prefill,
                           WorkerOf(run.prefill_worker));
    BRAID_ASSIGN_OR_RETURN(const GpuStepTime decode,
                           WorkerOf(run.decode_worker));
    // Each GPU of a prefill worker sends its share of the KV.
    const uint64_t bytes = prefill.kv_bytes_per_token() * run.prompt_tokens /
                           static_cast<uint64_t>(prefill.gpus());
    BRAID_ASSIGN_OR_RETURN(const double transfer,
                           TransferSeconds(profiles_, run.system, bytes));
    const DisaggregatedWorkers workers{prefill, decode, run.prefill_workers,
                                       run.decode_workers, transfer};
    result = RunDisaggregated(workers, habits, loop);
  }
  return Prediction{result.ttft, result.tpot, result.waited_for_memory};
}

}  // namespace braid::gpu
