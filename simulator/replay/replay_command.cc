#include "simulator/replay/replay_command.h"

#include <chrono>
#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "simulator/replay/capacity_bound.h"
#include "simulator/replay/goodput_search.h"
#include "base/json_writer.h"
#include "simulator/replay/replay_driver.h"
#include "simulator/replay/replay_report.h"

namespace braid {
namespace {

// Width of the bracket at which a search ends.
constexpr double kPrecision = 0.02;

absl::StatusOr<ClusterSpec> ClusterOf(const ReplayOptions& options) {
  BRAID_ASSIGN_OR_RETURN(ClusterSpec cluster, ReadCluster(options.cluster));
  BRAID_RETURN_IF_ERROR(SetLayout(options.layout, cluster));
  // Baselines know static layouts only; aggregation is one of them.
  if (options.policy.name == "aggregated") {
    BRAID_RETURN_IF_ERROR(SetLayout("off", cluster));
  }
  if (options.prefill_chunk > 0) cluster.prefill_chunk = options.prefill_chunk;
  if (options.block_tokens > 0) cluster.block_tokens = options.block_tokens;
  if (options.kv_tokens > 0) cluster.kv_tokens = options.kv_tokens;
  if (options.ttft_s > 0) cluster.ttft_target = options.ttft_s;
  if (options.itl_ms > 0) cluster.tpot_target = options.itl_ms * 1e-3;
  cluster.streams.mode = options.parscale;
  return cluster;
}

// A line that is overwritten on a terminal, or a line every few seconds.
class ProgressLine {
 public:
  ProgressLine(std::ostream& err, bool live) : err_(err), live_(live) {}
  void Show(const ReplayProgress& progress) {
    const auto now = std::chrono::steady_clock::now();
    if (now - shown_ < std::chrono::milliseconds(live_ ? 200 : 5000)) return;
    shown_ = now;
    err_ << (live_ ? "\r" : "")
         << absl::StrFormat("%6.0f s simulated, %d of %d requests ended",
                            progress.simulated, progress.ended, progress.of)
         << (live_ ? "" : "\n") << std::flush;
    written_ = live_;
  }
  ~ProgressLine() {
    if (written_) err_ << "\n";
  }

 private:
  std::ostream& err_;
  const bool live_;
  bool written_ = false;
  std::chrono::steady_clock::time_point shown_ =
      std::chrono::steady_clock::now();
};

struct Workplace {
  Trace trace;
  ClusterSpec cluster;
  WorkerTimes times;
  uint64_t feasible = 0;
};

absl::StatusOr<Workplace> Prepare(const ReplayOptions& options) {
  Workplace place;
  BRAID_ASSIGN_OR_RETURN(place.cluster, ClusterOf(options));
  BRAID_ASSIGN_OR_RETURN(place.times,
                         LoadWorkerTimes(place.cluster, options.profiles));
  place.cluster.kv_tokens = place.times.kv_tokens;
  BRAID_ASSIGN_OR_RETURN(place.trace,
                         ReadTrace(options.trace, options.arrivals));
  place.feasible = CountFeasible(place.trace, place.cluster, place.times);
  return place;
}

absl::Status RunOnce(const ReplayOptions& options, std::ostream& out,
                     std::ostream& err, bool live) {
  BRAID_ASSIGN_OR_RETURN(const Workplace place, Prepare(options));
  ReplayHooks hooks;
  std::ofstream decisions;
  if (!options.decisions.empty()) {
    decisions.open(options.decisions);
    if (!decisions) {
      return absl::UnavailableError(
          absl::StrCat("cannot write ", options.decisions));
    }
    hooks.decision = [&](const std::string& line) {
      decisions << line << "\n";
    };
  }
  absl::StatusOr<ReplayResult> result;
  {
    ProgressLine line(err, live);
    hooks.progress = [&](const ReplayProgress& progress) {
      line.Show(progress);
      return true;
    };
    result =
        Replay(place.trace, place.cluster, place.times,
               MakePolicy(options.policy, place.cluster.block_tokens), hooks);
  }
  BRAID_RETURN_IF_ERROR(result.status());
  ReplayNumbers numbers =
      Count(*result, place.trace, place.cluster, place.feasible);
  numbers.bound = BoundOf(place.trace, place.cluster, place.times).met();
  BRAID_RETURN_IF_ERROR(WriteReport(options.out, *result, numbers, place.trace,
                                    place.cluster,
                                    {.command = options.command,
                                     .policy = options.policy,
                                     .scale = options.arrivals.scale}));
  out << absl::StrFormat(
      "policy %s layout %s requests %d feasible %d bound %d met %d "
      "attainment %.4f of "
      "feasible %.4f goodput %.4f/s "
      "ttft_p50 %.3f ttft_p99 %.3f tpot_p50 %.4f tpot_p99 %.4f hit %.4f "
      "wall %.2f s (%.0f requests/s)\n",
      options.policy.ToString(), LayoutOf(place.cluster), numbers.requests,
      numbers.feasible, numbers.bound, numbers.met, numbers.attainment,
      numbers.attainment_of_feasible, numbers.goodput, numbers.ttft.p50,
      numbers.ttft.p99, numbers.tpot.p50, numbers.tpot.p99, numbers.hit_share,
      result->wall_seconds,
      static_cast<double>(numbers.requests) / result->wall_seconds);
  return absl::OkStatus();
}

absl::StatusOr<SearchStep> RunAt(double scale, double attainment,
                                 const ReplayOptions& options,
                                 const Workplace& place, Trace& trace) {
  trace.requests = place.trace.requests;
  ScaleArrivals(trace, scale);
  ReplayHooks hooks;
  const auto all = static_cast<double>(trace.requests.size());
  const auto feasible = static_cast<double>(place.feasible);
  hooks.progress = [&](const ReplayProgress& progress) {
    return (all - static_cast<double>(progress.missed)) / feasible >=
           attainment;
  };
  BRAID_ASSIGN_OR_RETURN(
      const ReplayResult result,
      Replay(trace, place.cluster, place.times,
             MakePolicy(options.policy, place.cluster.block_tokens), hooks));
  const ReplayNumbers numbers =
      Count(result, trace, place.cluster, place.feasible);
  SearchStep step{.scale = scale, .cut_short = result.cut_short};
  step.attainment = result.cut_short
                        ? (all - static_cast<double>(result.missed)) / feasible
                        : numbers.attainment_of_feasible;
  step.goodput = result.cut_short ? 0 : numbers.goodput;
  return step;
}

// The load up to which the bound allows such a share.
absl::Status SearchBound(double attainment, const Workplace& place,
                         JsonWriter& json) {
  Trace trace = place.trace;
  BRAID_ASSIGN_OR_RETURN(
      const SearchResult found,
      SearchGoodput(attainment, kPrecision,
                    [&](double scale) -> absl::StatusOr<SearchStep> {
                      trace.requests = place.trace.requests;
                      ScaleArrivals(trace, scale);
                      const auto met = static_cast<double>(
                          BoundOf(trace, place.cluster, place.times).met());
                      return SearchStep{
                          .scale = scale,
                          .attainment =
                              met / static_cast<double>(place.feasible),
                          .goodput = met / std::max(trace.seconds(), 1e-9)};
                    }));
  json.Field("bound_scale", found.scale);
  json.Field("bound_requests_per_s", found.goodput);
  // All of them, nobody refused, and no worker ever idle.
  const CapacityBound bound = BoundOf(place.trace, place.cluster, place.times);
  json.Field("full_load_scale",
             place.trace.seconds() *
                 static_cast<double>(place.cluster.workers.size()) /
                 (bound.prompt_seconds + bound.answer_seconds));
  return absl::OkStatus();
}

absl::Status RunSearch(const ReplayOptions& options, std::ostream& out,
                       std::ostream& err) {
  BRAID_ASSIGN_OR_RETURN(const Workplace place, Prepare(options));
  Trace trace = place.trace;
  JsonWriter json;
  json.BeginObject().Field("command", options.command);
  json.Field("trace", place.trace.name);
  json.Field("arrivals", place.trace.arrivals);
  json.Field("cluster", place.cluster.name);
  json.Field("policy", options.policy.ToString());
  json.Field("layout", LayoutOf(place.cluster));
  json.Field("prefill_chunk", place.cluster.prefill_chunk);
  json.Key("capacity").BeginArray();
  for (const double attainment : options.attainments) {
    BRAID_ASSIGN_OR_RETURN(
        const SearchResult found,
        SearchGoodput(attainment, kPrecision, [&](double scale) {
          auto step = RunAt(scale, attainment, options, place, trace);
          if (step.ok()) {
            err << absl::StrFormat("scale %.3f attainment %s%.4f\n", scale,
                                   step->cut_short ? "< " : "",
                                   step->attainment);
          }
          return step;
        }));
    json.BeginObject().Field("attainment", attainment);
    json.Field("scale", found.scale);
    json.Field("goodput_requests_per_s", found.goodput);
    json.Field("offered_requests_per_s", found.offered_rate);
    BRAID_RETURN_IF_ERROR(SearchBound(attainment, place, json));
    json.Key("steps").BeginArray();
    for (const SearchStep& step : found.steps) {
      json.BeginObject().Field("scale", step.scale);
      json.Field("attainment", step.attainment);
      json.Field("cut_short", step.cut_short).EndObject();
    }
    json.EndArray().EndObject();
    out << absl::StrFormat(
        "policy %s layout %s attainment %g scale %.3f goodput %.4f/s\n",
        options.policy.ToString(), LayoutOf(place.cluster), attainment,
        found.scale, found.goodput);
  }
  json.EndArray().EndObject();
  std::error_code error;
  std::filesystem::create_directories(options.out, error);
  const std::string path = absl::StrCat(options.out, "/capacity.json");
  std::ofstream file(path);
  file << json.Take();
  file.close();
  if (!file) {
    return absl::UnavailableError(absl::StrCat("cannot write ", path));
  }
  return absl::OkStatus();
}

}  // namespace

int RunReplay(const ReplayOptions& options, std::ostream& out,
              std::ostream& err, bool live) {
  const absl::Status status = options.goodput_search
                                  ? RunSearch(options, out, err)
                                  : RunOnce(options, out, err, live);
  if (status.ok()) return 0;
  err << "braid: " << std::string(status.message()) << "\n";
  return status.code() == absl::StatusCode::kInternal ? 1 : 2;
}

}  // namespace braid
