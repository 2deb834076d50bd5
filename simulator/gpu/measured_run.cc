#include "simulator/gpu/measured_run.h"

#include <algorithm>
#include <cmath>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace braid::gpu {
namespace {

constexpr absl::string_view kColumns[] = {"backend",
                                          "model_path",
                                          "system",
                                          "precision",
                                          "mode",
                                          "isl",
                                          "osl",
                                          "gemm_quant_mode",
                                          "moe_quant_mode",
                                          "batch_size",
                                          "tp_size",
                                          "pp_size",
                                          "attention_dp_size",
                                          "moe_tp_size",
                                          "moe_ep_size",
                                          "prefill_num_workers",
                                          "prefill_tp_size",
                                          "prefill_pp_size",
                                          "prefill_attention_dp_size",
                                          "prefill_moe_tp_size",
                                          "prefill_moe_ep_size",
                                          "decode_batch_size",
                                          "decode_num_workers",
                                          "decode_tp_size",
                                          "decode_pp_size",
                                          "decode_attention_dp_size",
                                          "decode_moe_tp_size",
                                          "decode_moe_ep_size",
                                          "silicon_ttft_ms",
                                          "silicon_tpot_ms",
                                          "silicon_concurrency"};

// The fields of one row by column name.
class Fields {
 public:
  Fields(const CsvTable& table, const std::vector<std::string>& row)
      : table_(table), row_(row) {}
  const std::string& Text(absl::string_view column) const {
    static const std::string* const kNone = new std::string();
    const int at = table_.Column(column);
    return at < 0 ? *kNone : row_[at];
  }
  // 0 when empty: no size of ours is 0.
  double Number(absl::string_view column) const {
    const double value = CsvNumber(Text(column));
    return std::isfinite(value) && value > 0 ? value : 0;
  }
  int Size(absl::string_view column) const {
    return static_cast<int>(std::min(Number(column), 1e6));
  }

 private:
  const CsvTable& table_;
  const std::vector<std::string>& row_;
};

bool ParseFormat(absl::string_view label, absl::string_view precision,
                 WeightFormat& out) {
  if (label.empty()) label = precision;
  if (label.empty() || absl::StartsWith(label, "bf") ||
      absl::StartsWith(label, "fp16") || absl::StartsWith(label, "float16")) {
    out = WeightFormat::kBf16;
  } else if (label == "fp8_block") {
    out = WeightFormat::kFp8Block;
  } else if (absl::StartsWith(label, "fp8")) {
    out = WeightFormat::kFp8;
  } else if (label == "nvfp4" || label == "fp4") {
    out = WeightFormat::kNvfp4;
  } else if (absl::StartsWith(label, "int4")) {
    out = WeightFormat::kInt4;
  } else if (absl::StrContains(label, "mxfp4")) {
    out = WeightFormat::kMxfp4;
  } else {
    return false;
  }
  return true;
}

// The parallel sizes under `prefix`. Some sweeps multiplied a size by the
// experts' once more ("tp 64, experts 8 x 8" of one node of 8): where the
// experts span more GPUs than a node has and the same factor explains it, it is
// taken out.
void ParseSizes(const Fields& f, const std::string& prefix, int node,
                GpuServing& serving) {
  int tp = std::max(1, f.Size(prefix + "tp_size"));
  int dp = f.Size(prefix + "attention_dp_size");
  const int etp = std::max(1, f.Size(prefix + "moe_tp_size"));
  int ep = std::max(1, f.Size(prefix + "moe_ep_size"));
  if (dp == 0) dp = std::max(1, etp * ep / tp);
  if (tp * dp > node && ep > 1 && etp * ep == tp * dp && tp * dp % ep == 0) {
    if (dp == 1) {
      tp /= ep;
    } else {
      dp = std::max(1, dp / ep);
    }
    ep = std::min(ep, tp * dp);
  }
  serving.tensor_parallel = tp;
  serving.attention_data_parallel = dp;
  serving.pipeline_parallel = std::max(1, f.Size(prefix + "pp_size"));
  serving.expert_parallel = std::min(ep, tp * dp);
  serving.expert_tensor_parallel = std::max(1, tp * dp / ep);
}

MeasuredRun ParseRun(const Fields& f) {
  MeasuredRun run;
  run.id = f.Text("id");
  run.model = f.Text("model_path");
  run.system = f.Text("system");
  run.backend = f.Text("backend");
  run.precision = f.Text("precision");
  run.disaggregated = f.Text("mode") == "disagg";
  run.day = f.Text("measured");
  run.prompt_tokens = static_cast<uint32_t>(f.Size("isl"));
  run.answer_tokens = static_cast<uint32_t>(f.Size("osl"));
  run.ttft = f.Number("silicon_ttft_ms") * 1e-3;
  run.tpot = f.Number("silicon_tpot_ms") * 1e-3;
  if (!(run.ttft > 0) || !(run.tpot > 0) || run.prompt_tokens == 0 ||
      run.answer_tokens == 0) {
    run.unusable = "no TTFT, TPOT, isl or osl";
    return run;
  }
  GpuServing common;
  common.model = run.model;
  common.system = run.system;
  if (run.backend == "trtllm") {
    common.engine = ServingEngine::kTrtLlm;
  } else if (run.backend == "vllm") {
    common.engine = ServingEngine::kVllm;
  } else if (run.backend == "sglang") {
    common.engine = ServingEngine::kSglang;
  } else {
    run.unusable = absl::StrCat("unknown engine '", run.backend, "'");
    return run;
  }
  if (!ParseFormat(f.Text("gemm_quant_mode"), run.precision, common.weights) ||
      !ParseFormat(f.Text("moe_quant_mode"), run.precision,
                   common.expert_weights)) {
    run.unusable = "unknown weight format";
    return run;
  }
  // Where the attention of such checkpoints is kept in 16 bits.
  if (common.weights == WeightFormat::kInt4) {
    common.weights = WeightFormat::kBf16;
  }
  run.worker = run.prefill_worker = run.decode_worker = common;
  double clients = f.Number("silicon_concurrency");
  if (run.disaggregated) {
    // Disaggregated workers do span nodes.
    ParseSizes(f, "prefill_", 1 << 20, run.prefill_worker);
    ParseSizes(f, "decode_", 1 << 20, run.decode_worker);
    run.prefill_workers = static_cast<uint32_t>(f.Size("prefill_num_workers"));
    run.decode_workers = static_cast<uint32_t>(f.Size("decode_num_workers"));
    if (run.prefill_workers == 0 || run.decode_workers == 0) {
      run.unusable = "disaggregated, number of workers not recorded";
      return run;
    }
    if (clients == 0) {
      clients = f.Number("decode_batch_size") * run.decode_workers *
                run.decode_worker.attention_data_parallel;
    }
  } else {
    ParseSizes(f, "", 8, run.worker);
    // The batch is of one attention group of one worker. Where the groups are
    // recorded, clients beyond all of a worker's were served by others like it.
    const double of_worker =
        f.Number("batch_size") * std::max(1.0, f.Number("attention_dp_size"));
    if (clients == 0) clients = of_worker;
    if (f.Number("attention_dp_size") > 0 && of_worker > 0 &&
        clients >= 2 * of_worker) {
      clients = of_worker;
    }
  }
  run.clients = static_cast<uint32_t>(std::min(clients, 1e6));
  if (run.clients == 0) run.unusable = "no concurrency";
  return run;
}

// Some undated rows repeat a dated row's measurement, rounded to hundredths of
// a millisecond: they are of the dated sweep.
void DateRepeats(std::vector<MeasuredRun>& runs) {
  const auto of_test = [](const MeasuredRun& r) {
    return absl::StrCat(r.backend, "|", r.model, "|", r.system, "|",
                        r.prompt_tokens, "|", r.answer_tokens, "|", r.clients);
  };
  const auto same = [](double a, double b) {
    return std::abs(a - b) <= 0.0051e-3 + 1e-6 * b;
  };
  absl::flat_hash_map<std::string, std::vector<const MeasuredRun*>> dated;
  for (const MeasuredRun& r : runs) {
    if (r.dated()) dated[of_test(r)].push_back(&r);
  }
  for (MeasuredRun& r : runs) {
    if (r.dated()) continue;
    const auto found = dated.find(of_test(r));
    if (found == dated.end()) continue;
    for (const MeasuredRun* other : found->second) {
      if (same(r.ttft, other->ttft) && same(r.tpot, other->tpot)) {
        r.day = other->day;
      }
    }
  }
}

}  // namespace

absl::StatusOr<std::vector<MeasuredRun>> ParseRuns(const CsvTable& table) {
  for (absl::string_view column : kColumns) {
    if (table.Column(column) < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("no column '", column,
                       "': a file of measurements has those of "
                       "simulator/profiles/silicon_e2e.csv.gz"));
    }
  }
  std::vector<MeasuredRun> runs;
  runs.reserve(table.rows.size());
  for (const auto& row : table.rows) {
    runs.push_back(ParseRun(Fields(table, row)));
  }
  DateRepeats(runs);
  return runs;
}

}  // namespace braid::gpu
