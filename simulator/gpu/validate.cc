#include "simulator/gpu/validate.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "simulator/gpu/csv_table.h"
#include "simulator/gpu/gpu_profiles.h"
#include "simulator/gpu/measured_run.h"
#include "simulator/gpu/run_prediction.h"

namespace braid::gpu {
namespace {

// The rule. It reads a row's own figures and nothing of the prediction.
constexpr double kTtftFloor = 1.0;        // seconds
constexpr double kTtftPerToken = 500e-6;  // seconds
constexpr char kRule[] =
    "A row is unsaturated when its measured TTFT is at most 1 s plus 0.5 ms "
    "for "
    "each prompt token: beyond, requests waited for a place, and TTFT says how "
    "long the test ran.";

bool Unsaturated(const MeasuredRun& run) {
  return run.ttft <= kTtftFloor + kTtftPerToken * run.prompt_tokens;
}

enum class Part { kFitting, kHeldOut, kNew };

struct Compared {
  const MeasuredRun* run;
  Prediction predicted;
  Part part;
  bool unsaturated;
  double tpot_error() const { return predicted.tpot / run->tpot - 1; }
  double ttft_error() const { return predicted.ttft / run->ttft - 1; }
};

double Quantile(std::vector<double> values, double q) {
  if (values.empty()) return std::nan("");
  std::sort(values.begin(), values.end());
  const double at = q * static_cast<double>(values.size() - 1);
  const auto below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, values.size() - 1);
  return values[below] +
         (at - static_cast<double>(below)) * (values[above] - values[below]);
}

using Selected = std::vector<const Compared*>;

double MedianError(const Selected& rows, double (Compared::*error)() const) {
  std::vector<double> values;
  for (const Compared* c : rows) values.push_back(std::abs((c->*error)()));
  return 100 * Quantile(std::move(values), 0.5);
}

// One line per value of `key`.
void PrintTable(const Selected& rows, absl::string_view title,
                const std::function<std::string(const Compared&)>& key,
                std::ostream& out) {
  std::map<std::string, Selected> groups;
  for (const Compared* c : rows) groups[key(*c)].push_back(c);
  out << absl::StrFormat("\n%-44s %6s %9s %9s %9s %9s\n", title, "rows",
                         "TPOT %", "bias %", "TTFT %", "bias %");
  const auto bias = [](const Selected& group,
                       double (Compared::*error)() const) {
    std::vector<double> values;
    for (const Compared* c : group) values.push_back((c->*error)());
    return 100 * Quantile(std::move(values), 0.5);
  };
  for (const auto& [name, group] : groups) {
    out << absl::StrFormat("%-44s %6d %9.1f %+9.1f %9.1f %+9.1f\n", name,
                           group.size(),
                           MedianError(group, &Compared::tpot_error),
                           bias(group, &Compared::tpot_error),
                           MedianError(group, &Compared::ttft_error),
                           bias(group, &Compared::ttft_error));
  }
}

absl::StatusOr<std::map<std::string, Part>> ReadSplit(
    const std::string& directory) {
  BRAID_ASSIGN_OR_RETURN(
      const CsvTable table,
      ReadCsv(absl::StrCat(directory, "/validation_split.csv")));
  std::map<std::string, Part> parts;
  for (const auto& row : table.rows) {
    parts[absl::StrCat(row[0], " on ", row[1])] =
        row[2] == "fitting" ? Part::kFitting : Part::kHeldOut;
  }
  return parts;
}

void WritePredictions(const std::vector<Compared>& compared,
                      std::ostream& out) {
  out << "id,model,system,backend,precision,mode,isl,osl,clients,part,"
         "unsaturated,ttft_ms,predicted_ttft_ms,tpot_ms,predicted_tpot_ms,"
         "waited_for_memory\n";
  for (const Compared& c : compared) {
    const MeasuredRun& r = *c.run;
    out << absl::StrFormat(
        "%s,%s,%s,%s,%s,%s,%d,%d,%d,%s,%d,%.6g,%.6g,%.6g,%.6g,%.3g\n", r.id,
        r.model, r.system, r.backend, r.precision,
        r.disaggregated ? "disagg" : "agg", r.prompt_tokens, r.answer_tokens,
        r.clients,
        c.part == Part::kFitting   ? "fitting"
        : c.part == Part::kHeldOut ? "held_out"
                                   : "new",
        c.unsaturated, r.ttft * 1e3, c.predicted.ttft * 1e3, r.tpot * 1e3,
        c.predicted.tpot * 1e3, c.predicted.waited_for_memory);
  }
}

// Deciles of the absolute errors, and the rows furthest off.
void PrintDistribution(const Selected& rows, std::ostream& out) {
  out << "\nabsolute error, %      10%    20%    30%    40%    50%    60%    "
         "70%"
         "    80%    90%    max\n";
  const auto deciles = [&](absl::string_view name,
                           double (Compared::*error)() const) {
    std::vector<double> values;
    for (const Compared* c : rows) {
      values.push_back(100 * std::abs((c->*error)()));
    }
    out << absl::StrFormat("%-18s", name);
    for (int d = 1; d <= 10; ++d) {
      out << absl::StrFormat(" %6.1f", Quantile(values, d / 10.0));
    }
    out << "\n";
  };
  deciles("TPOT", &Compared::tpot_error);
  deciles("TTFT", &Compared::ttft_error);
}

void PrintWorst(Selected rows, absl::string_view name,
                double (Compared::*error)() const, std::ostream& out) {
  constexpr size_t kWorst = 10;
  const size_t n = std::min(kWorst, rows.size());
  std::partial_sort(rows.begin(), rows.begin() + n, rows.end(),
                    [&](const Compared* a, const Compared* b) {
                      return std::abs((a->*error)()) > std::abs((b->*error)());
                    });
  out << "\nfurthest off in " << name << ":\n";
  for (size_t i = 0; i < n; ++i) {
    const Compared& c = *rows[i];
    out << absl::StrFormat(
        "  %+8.1f %%  %s, %s, %s, %s, %d/%d, %d clients: %.4g ms\n",
        100 * (c.*error)(), c.run->group(), c.run->backend, c.run->precision,
        c.run->disaggregated ? "disaggregated" : "aggregated",
        c.run->prompt_tokens, c.run->answer_tokens, c.run->clients,
        1e3 * (error == &Compared::tpot_error ? c.run->tpot : c.run->ttft));
  }
}

void PrintPart(const Selected& rows, absl::string_view name,
               std::ostream& out) {
  out << "\n== " << name << ": " << rows.size() << " unsaturated rows ==\n";
  if (rows.empty()) return;
  PrintTable(
      rows, "all", [](const Compared&) { return ""; }, out);
  PrintTable(
      rows, "mode",
      [](const Compared& c) {
        return std::string(c.run->disaggregated ? "disaggregated"
                                                : "aggregated");
      },
      out);
  PrintTable(
      rows, "engine", [](const Compared& c) { return c.run->backend; }, out);
  PrintTable(
      rows, "system", [](const Compared& c) { return c.run->system; }, out);
  PrintTable(
      rows, "model", [](const Compared& c) { return c.run->model; }, out);
  PrintTable(
      rows, "model, system, engine, mode, precision",
      [](const Compared& c) {
        return absl::StrCat(c.run->group(), " ", c.run->backend,
                            c.run->disaggregated ? " disagg " : " agg ",
                            c.run->precision);
      },
      out);
  PrintDistribution(rows, out);
  PrintWorst(rows, "TPOT", &Compared::tpot_error, out);
  PrintWorst(rows, "TTFT", &Compared::ttft_error, out);
}

}  // namespace

absl::Status Validate(const ValidateOptions& options, std::ostream& out) {
  const std::string directory = options.profiles.empty()
                                    ? GpuProfiles::DefaultDirectory()
                                    : options.profiles;
  BRAID_ASSIGN_OR_RETURN(const GpuProfiles profiles,
                         GpuProfiles::Read(directory));
  BRAID_ASSIGN_OR_RETURN(const auto split, ReadSplit(directory));
  BRAID_ASSIGN_OR_RETURN(const CsvTable table, ReadCsv(options.file));
  BRAID_ASSIGN_OR_RETURN(const std::vector<MeasuredRun> runs, ParseRuns(table));

  RunPredictor predictor(profiles);
  std::vector<Compared> compared;
  std::map<std::string, size_t> unusable;
  for (const MeasuredRun& run : runs) {
    if (!run.unusable.empty()) {
      ++unusable[run.unusable];
      continue;
    }
    const absl::StatusOr<Prediction> predicted = predictor.Predict(run);
    if (!predicted.ok()) {
      const std::string why =
          profiles.FindModel(run.model) == nullptr
              ? absl::StrCat("unknown model ", run.model)
          : profiles.FindSystem(run.system) == nullptr
              ? absl::StrCat("unknown system ", run.system)
              : absl::StrCat(run.group(), ": the weights do not fit the GPUs");
      ++unusable[why];
      continue;
    }
    const auto part = split.find(run.group());
    compared.push_back({&run, *predicted,
                        part == split.end() ? Part::kNew : part->second,
                        Unsaturated(run)});
  }
  if (!options.predictions.empty()) {
    std::ofstream file(options.predictions);
    WritePredictions(compared, file);
    if (!file) {
      return absl::UnavailableError(
          absl::StrCat("cannot write ", options.predictions));
    }
  }

  Selected fitted, kept_out;
  size_t saturated = 0;
  for (const Compared& c : compared) {
    if (!c.unsaturated) {
      ++saturated;
    } else {
      (c.part == Part::kFitting ? fitted : kept_out).push_back(&c);
    }
  }
  out << "rule: " << kRule << "\n"
      << runs.size() << " rows: " << saturated << " saturated, "
      << fitted.size() << " unsaturated of groups used for fitting, "
      << kept_out.size() << " unsaturated of others\n";
  for (const auto& [why, count] : unusable) {
    out << "  " << count << " rows left out: " << why << "\n";
  }
  PrintPart(fitted, "used for fitting", out);
  PrintPart(kept_out, "kept out of fitting", out);
  const bool only_fitted = kept_out.empty() && !fitted.empty();
  if (only_fitted) {
    out << "\nno row was kept out of fitting: the last line is of those used "
           "for it\n";
  }
  const Selected& used = only_fitted ? fitted : kept_out;
  out << absl::StrFormat(
      "\nrows %d used %d tpot_median %.2f%% ttft_median "
      "%.2f%%\n",
      runs.size(), used.size(), MedianError(used, &Compared::tpot_error),
      MedianError(used, &Compared::ttft_error));
  return absl::OkStatus();
}

}  // namespace braid::gpu
