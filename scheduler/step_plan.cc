#include "scheduler/step_plan.h"

#include "absl/strings/str_cat.h"

namespace braid {

StepShape ShapeOf(const StepPlan& plan) {
  StepShape shape;
  for (const PlannedRows& rows : plan.rows) {
    AddRows(rows, shape);
  }
  return shape;
}

std::string ToString(const StepPlan& plan) {
  std::string out = absl::StrCat("d", plan.device.value());
  for (size_t i = 0; i < plan.lent.size(); ++i) {
    absl::StrAppend(&out, i == 0 ? " lent" : "", " d", plan.lent[i].value());
  }
  for (const Preemption& preemption : plan.preempted) {
    absl::StrAppend(&out, " | preempt r", preemption.request.value());
  }
  for (const StreamDrop& drop : plan.dropped) {
    absl::StrAppend(&out, " | drop r", drop.request.value(), ".", drop.keep,
                    "+");
  }
  for (const CandidateDrop& drop : plan.candidates_dropped) {
    absl::StrAppend(&out, " | drop r", drop.request.value(), ".",
                    drop.candidate);
  }
  for (const CatchUpId id : plan.catch_ups_dropped) {
    absl::StrAppend(&out, " | drop catch-up ", id.value());
  }
  for (const Admission& admission : plan.admissions) {
    absl::StrAppend(&out, " | admit r", admission.request.value(), " d",
                    admission.prefill.value(), ">d", admission.decode.value(),
                    " cached ", admission.shared.size());
    if (!admission.landing_shared.empty()) {
      absl::StrAppend(&out, "+", admission.landing_shared.size());
    }
    absl::StrAppend(&out, " take ", admission.taken);
    if (admission.landing_taken > 0) {
      absl::StrAppend(&out, "+", admission.landing_taken);
    }
    absl::StrAppend(&out, " ", ToString(admission.reason));
  }
  if (plan.catch_up) {
    absl::StrAppend(
        &out, " | begin r", plan.catch_up->request.value(), ".",
        plan.catch_up->stream, " cached ", plan.catch_up->shared.size(), "+",
        plan.catch_up->landing_shared.size(), " of ", plan.catch_up->blocks);
  }
  for (const PlannedRows& rows : plan.rows) {
    const char* kind = rows.kind == RowKind::kChunk     ? "chunk"
                       : rows.kind == RowKind::kDecode  ? "decode"
                       : rows.kind == RowKind::kStream  ? "stream"
                       : rows.kind == RowKind::kCatchUp ? "catch-up"
                                                        : "candidate";
    absl::StrAppend(&out, " | ", kind, " r", rows.request.value());
    if (rows.stream > 0) absl::StrAppend(&out, ".", uint32_t{rows.stream});
    absl::StrAppend(&out, " ", rows.first);
    if (rows.kind == RowKind::kChunk || rows.count > 1) {
      absl::StrAppend(&out, "+", rows.count);
    }
    if (rows.gang > 1) absl::StrAppend(&out, " gang ", uint32_t{rows.gang});
    if (rows.draws && (rows.kind == RowKind::kChunk || rows.count > 1)) {
      absl::StrAppend(&out, " draw");
    }
  }
  return out;
}

}  // namespace braid
