#include "scheduler/step_plan.h"

#include "absl/strings/str_cat.h"

namespace braid {
std::string ToString(const StepPlan& plan) {
  std::string out = absl::StrCat("d", plan.device.value());
  for (size_t i = 0; i < plan.lent.size(); ++i) {
    absl::StrAppend(&out, i == 0 ? " lent" : "", " d", plan.lent[i].value());
  }
  for (const Preemption& preemption : plan.preempted) {
    absl::StrAppend(&out, " | preempt r", preemption.request.value());
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
  for (const PlannedRows& rows : plan.rows) {
    if (rows.kind == RowKind::kDecode) {
      absl::StrAppend(&out, " | decode r", rows.request.value(), " ",
                      rows.first);
    } else {
      absl::StrAppend(&out, " | chunk r", rows.request.value(), " ", rows.first,
                      "+", rows.count, rows.draws ? " draw" : "");
    }
  }
  return out;
}

}  // namespace braid
