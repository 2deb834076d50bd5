#include "simulator/replay/replay_report.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "base/json_writer.h"
#include "base/status_macros.h"
#include "simulator/replay/svg_chart.h"

namespace braid {
namespace {

constexpr size_t kPoints = 240;  // of a curve over time

void Write(JsonWriter& json, absl::string_view key, const Summary& summary) {
  json.Key(key).BeginObject();
  json.Field("count", summary.count).Field("mean", summary.mean);
  json.Field("p50", summary.p50).Field("p90", summary.p90);
  json.Field("p95", summary.p95).Field("p99", summary.p99);
  json.Field("max", summary.max).EndObject();
}

void WriteWorkload(JsonWriter& json, const Trace& trace,
                   const ClusterSpec& cluster, const ReplayLabels& labels) {
  json.Field("command", labels.command);
  json.Key("trace").BeginObject();
  json.Field("name", trace.name).Field("format", trace.format);
  json.Field("arrivals", trace.arrivals).Field("scale", labels.scale);
  json.Field("requests", uint64_t{trace.requests.size()});
  json.Field("seconds", trace.seconds());
  json.Field("prompt_tokens", trace.prompt_tokens);
  json.Field("output_tokens", trace.output_tokens);
  json.Field("reuse", trace.reuse).EndObject();
  json.Key("cluster").BeginObject();
  json.Field("name", cluster.name).Field("model", cluster.model);
  json.Field("system", cluster.system).Field("weights", cluster.weights);
  json.Field("kv", cluster.kv).Field("tp", cluster.tensor_parallel);
  json.Field("workers", uint64_t{cluster.workers.size()});
  json.Field("gpus", cluster.gpus()).Field("layout", LayoutOf(cluster));
  json.Field("block_tokens", cluster.block_tokens);
  json.Field("prefill_chunk", cluster.prefill_chunk);
  json.Field("kv_tokens_per_worker", cluster.kv_tokens).EndObject();
  json.Key("targets").BeginObject();
  json.Field("ttft_s", cluster.ttft_target);
  json.Field("tpot_s", cluster.tpot_target).EndObject();
  json.Field("policy", labels.policy.ToString());
}

void WriteNumbers(JsonWriter& json, const ReplayNumbers& numbers) {
  json.Field("requests", numbers.requests).Field("served", numbers.served);
  json.Field("refused", numbers.refused).Field("shed", numbers.shed);
  json.Field("too_long", numbers.too_long);
  json.Field("met_ttft", numbers.met_ttft).Field("met_tpot", numbers.met_tpot);
  json.Field("met", numbers.met).Field("attainment", numbers.attainment);
  json.Field("feasible", numbers.feasible).Field("bound", numbers.bound);
  json.Field("attainment_of_feasible", numbers.attainment_of_feasible);
  json.Field("offered_requests_per_s", numbers.offered_rate);
  json.Field("goodput_requests_per_s", numbers.goodput);
  json.Field("goodput_per_gpu", numbers.goodput_per_gpu);
  Write(json, "ttft_s", numbers.ttft);
  Write(json, "tpot_s", numbers.tpot);
  Write(json, "itl_s", numbers.gaps);
  Write(json, "queue_s", numbers.queue);
  Write(json, "hand_over_s", numbers.hand_over);
  json.Field("hit_share", numbers.hit_share);
  json.Field("handed_over", numbers.handed_over);
  json.Key("placements").BeginObject();
  for (const auto& [reason, count] : numbers.reasons) json.Field(reason, count);
  json.EndObject();
  json.Key("roles").BeginObject();
  for (const auto& [role, busy] : numbers.roles) {
    json.Key(role).BeginObject().Field("workers", busy.workers);
    json.Field("busy_prefill", busy.prefill).Field("busy_decode", busy.decode);
    json.Field("busy_mixed", busy.mixed).Field("kv_used", busy.kv_used);
    json.EndObject();
  }
  json.EndObject();
}

void WriteStreams(JsonWriter& json, const ReplayResult& result,
                  const ClusterSpec& cluster) {
  const StreamCounts& counts = result.streams;
  json.Key("parscale").BeginObject();
  json.Field("mode", ToString(cluster.streams.mode));
  if (cluster.streams.mode == StreamMode::kOff) {
    json.EndObject();
    return;
  }
  json.Field("streams", cluster.streams.most());
  json.Field("prefix_tokens", cluster.streams.prefix_tokens);
  json.Field("offered", counts.stats.offered);
  json.Field("filled", counts.stats.filled);
  json.Field("caught_up", counts.stats.caught_up);
  json.Field("caught_up_elsewhere", counts.stats.caught_up_elsewhere);
  json.Field("catch_ups", counts.stats.catch_ups);
  json.Field("catch_ups_landed", counts.stats.catch_ups_landed);
  json.Field("catch_ups_given_up", counts.stats.catch_ups_given_up);
  json.Field("shed", counts.stats.shed);
  json.Field("dropped", counts.stats.dropped);
  json.Field("pressures", counts.stats.pressures);
  json.Field("shed_steps", counts.stats.shed_steps);
  json.Field("most_shed_steps", counts.stats.most_shed_steps);
  json.Field("steps", counts.steps);
  uint64_t tokens = 0, answered = 0;
  json.Key("tokens_by_streams").BeginArray();
  for (uint32_t p = 0; p <= cluster.streams.most(); ++p) {
    json.Value(counts.tokens[p]);
    tokens += counts.tokens[p];
    answered += p * counts.tokens[p];
  }
  json.EndArray();
  const double each = static_cast<double>(std::max<uint64_t>(tokens, 1));
  json.Field("mean_streams", static_cast<double>(answered) / each);
  json.Field("gain_nats_per_token", counts.stats.gain / each);
  double kv = 0, most_kv = 0;
  for (const ClusterBin& bin : result.cluster) {
    kv += bin.stream_kv / static_cast<double>(result.cluster.size());
    most_kv = std::max(most_kv, bin.stream_kv);
  }
  json.Field("kv_share", kv).Field("kv_share_max", most_kv);
  json.Key("steps_waited").BeginArray();
  for (uint64_t requests : counts.waited) json.Value(requests);
  json.EndArray().EndObject();
}

// Bins put together so that a curve has at most kPoints of them.
size_t BinsPerPoint(const ReplayResult& result) {
  return std::max<size_t>(1, (result.cluster.size() + kPoints - 1) / kPoints);
}

void WriteTimeline(JsonWriter& json, const ReplayResult& result) {
  const size_t step = BinsPerPoint(result);
  const double width = result.bin_seconds * static_cast<double>(step);
  json.Key("timeline").BeginObject().Field("bin_s", width);
  const auto of_cluster = [&](const char* name, uint32_t ClusterBin::*field) {
    json.Key(name).BeginArray();
    for (size_t i = 0; i < result.cluster.size(); i += step) {
      json.Value(result.cluster[i].*field);
    }
    json.EndArray();
  };
  of_cluster("waiting", &ClusterBin::waiting);
  of_cluster("running", &ClusterBin::running);
  of_cluster("in_transfer", &ClusterBin::in_transfer);
  json.Key("streams").BeginArray();
  for (size_t i = 0; i < result.cluster.size(); i += step) {
    uint64_t tokens = 0, answered = 0;
    for (size_t j = i; j < std::min(i + step, result.cluster.size()); ++j) {
      tokens += result.cluster[j].tokens;
      answered += result.cluster[j].answered;
    }
    json.Value(tokens == 0 ? 0.0
                           : std::round(static_cast<double>(answered) /
                                        static_cast<double>(tokens) * 1e4) /
                                 1e4);
  }
  json.EndArray().Key("workers").BeginArray();
  for (const std::vector<WorkerBin>& bins : result.workers) {
    json.BeginObject();
    const auto of_worker = [&](const char* name, double WorkerBin::*field,
                               double unit) {
      json.Key(name).BeginArray();
      for (size_t i = 0; i < bins.size(); i += step) {
        double sum = 0;
        for (size_t j = i; j < std::min(i + step, bins.size()); ++j) {
          sum += bins[j].*field;
        }
        json.Value(std::round(sum / unit * 1e4) / 1e4);
      }
      json.EndArray();
    };
    of_worker("prefill", &WorkerBin::prefill, width);
    of_worker("decode", &WorkerBin::decode, width);
    of_worker("mixed", &WorkerBin::mixed, width);
    of_worker("kv_used", &WorkerBin::kv_used, static_cast<double>(step));
    json.EndObject();
  }
  json.EndArray().EndObject();
}

SvgChart Distribution(std::string title, std::vector<double> values,
                      double target) {
  std::ranges::sort(values);
  SvgSeries series{.name = "served requests"};
  const size_t count = values.size();
  for (size_t i = 0; i <= kPoints && count > 0; ++i) {
    const size_t at = i * (count - 1) / kPoints;
    series.x.push_back(std::max(values[at], 1e-4));
    series.y.push_back(static_cast<double>(at + 1) /
                       static_cast<double>(count));
  }
  return {.title = std::move(title),
          .x_label = "seconds",
          .y_label = "share of requests",
          .series = {std::move(series)},
          .log_x = true,
          .y_max = 1.0,
          .mark = target,
          .mark_label = absl::StrFormat("target %g s", target)};
}

std::vector<SvgChart> LatencyCharts(const ReplayResult& result,
                                    const ClusterSpec& cluster) {
  std::vector<double> ttft, tpot;
  for (const RequestOutcome& request : result.requests) {
    if (!request.served()) continue;
    ttft.push_back(request.first_token);
    if (request.output > 1) tpot.push_back(request.tpot());
  }
  return {
      Distribution("Time to first token", std::move(ttft), cluster.ttft_target),
      Distribution("Time per output token", std::move(tpot),
                   cluster.tpot_target)};
}

// One chart per role: the share of its workers' time by kind of step.
std::vector<SvgChart> UtilisationCharts(const ReplayResult& result,
                                        const ClusterSpec& cluster) {
  std::vector<SvgChart> charts;
  const size_t step = BinsPerPoint(result);
  for (DeviceRole role :
       {DeviceRole::kPrefill, DeviceRole::kDecode, DeviceRole::kBoth}) {
    std::array<SvgSeries, 3> kinds;
    kinds[0].name = "decode steps";
    kinds[1].name = "mixed steps";
    kinds[2].name = "prompt steps";
    constexpr std::array<double WorkerBin::*, 3> kFields = {
        &WorkerBin::decode, &WorkerBin::mixed, &WorkerBin::prefill};
    uint32_t workers = 0;
    for (const ClusterWorker& worker : cluster.workers) {
      workers += worker.role == role;
    }
    if (workers == 0) continue;
    for (size_t i = 0; i < result.cluster.size(); i += step) {
      std::array<double, 3> sums{};
      for (size_t w = 0; w < result.workers.size(); ++w) {
        if (cluster.workers[w].role != role) continue;
        const std::vector<WorkerBin>& bins = result.workers[w];
        for (size_t j = i; j < std::min(i + step, bins.size()); ++j) {
          for (size_t k = 0; k < 3; ++k) sums[k] += bins[j].*kFields[k];
        }
      }
      for (size_t k = 0; k < 3; ++k) {
        kinds[k].x.push_back(static_cast<double>(i) * result.bin_seconds);
        kinds[k].y.push_back(sums[k] / (static_cast<double>(step) * workers *
                                        result.bin_seconds));
      }
    }
    charts.push_back(
        {.title = absl::StrCat("Utilisation: ", workers, " workers, role ",
                               braid::ToString(role)),
         .x_label = "seconds",
         .y_label = "share of their time",
         .series = {kinds.begin(), kinds.end()},
         .stacked = true,
         .y_max = 1.0});
  }
  return charts;
}

std::vector<SvgChart> LoadCharts(const ReplayResult& result) {
  const size_t step = BinsPerPoint(result);
  SvgSeries waiting{.name = "waiting"}, running{.name = "running"},
      moving{.name = "in hand-over"}, kv{.name = "KV held by requests"};
  for (size_t i = 0; i < result.cluster.size(); i += step) {
    const double x = static_cast<double>(i) * result.bin_seconds;
    double held = 0;
    for (const auto& bins : result.workers) {
      held += bins[i].kv_used / static_cast<double>(result.workers.size());
    }
    for (SvgSeries* series : {&waiting, &running, &moving, &kv}) {
      series->x.push_back(x);
    }
    waiting.y.push_back(result.cluster[i].waiting);
    running.y.push_back(result.cluster[i].running);
    moving.y.push_back(result.cluster[i].in_transfer);
    kv.y.push_back(held);
  }
  return {{.title = "Requests in the cluster",
           .x_label = "seconds",
           .y_label = "requests",
           .series = {waiting, running, moving}},
          {.title = "KV memory",
           .x_label = "seconds",
           .y_label = "share of all blocks",
           .series = {kv},
           .y_max = 1.0}};
}

absl::Status WriteFile(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  if (!file) {
    return absl::UnavailableError(absl::StrCat("cannot write ", path));
  }
  return absl::OkStatus();
}

std::string Row(const char* name, const Summary& summary, double unit) {
  return absl::StrFormat(
      "<tr><td>%s</td><td>%.3f</td><td>%.3f</td><td>%.3f</td><td>%.3f</td>"
      "<td>%.3f</td></tr>\n",
      name, summary.mean * unit, summary.p50 * unit, summary.p90 * unit,
      summary.p99 * unit, summary.max * unit);
}

std::string Html(const ReplayNumbers& numbers, const Trace& trace,
                 const ClusterSpec& cluster, const ReplayLabels& labels,
                 const std::string& figures) {
  std::string html = absl::StrFormat(
      "<!doctype html><meta charset=\"utf-8\"><title>%s on %s</title>\n"
      "<style>body{font:14px sans-serif;max-width:800px;margin:2em auto}"
      "td,th{padding:2px 12px 2px 0;text-align:right}"
      "td:first-child,th:first-child{text-align:left}</style>\n"
      "<h1>%s, %s</h1>\n<p>%s on %s (%s), load x %g.</p>\n",
      labels.policy.name, trace.name, labels.policy.ToString(),
      LayoutOf(cluster), trace.name, cluster.name, trace.arrivals,
      labels.scale);
  absl::StrAppendFormat(
      &html,
      "<p><b>%.1f %%</b> of %d requests met TTFT %g s and TPOT %g ms: goodput "
      "%.3f requests/s of %.3f offered. Served %d, refused %d, shed %d, too "
      "long %d. Cache hits %.1f %% of the prompts' tokens. Handed over "
      "%d.</p>\n",
      numbers.attainment * 100, numbers.requests, cluster.ttft_target,
      cluster.tpot_target * 1e3, numbers.goodput, numbers.offered_rate,
      numbers.served, numbers.refused, numbers.shed, numbers.too_long,
      numbers.hit_share * 100, numbers.handed_over);
  html +=
      "<table><tr><th></th><th>mean</th><th>p50</th><th>p90</th><th>p99</th>"
      "<th>max</th></tr>\n";
  html += Row("TTFT, s", numbers.ttft, 1);
  html += Row("TPOT, ms", numbers.tpot, 1e3);
  html += Row("between tokens, ms", numbers.gaps, 1e3);
  html += Row("queue, s", numbers.queue, 1);
  html += Row("hand-over, ms", numbers.hand_over, 1e3);
  absl::StrAppend(&html, "</table>\n", figures, "<p><code>", labels.command,
                  "</code></p>\n");
  return html;
}

}  // namespace

std::string ReplayJson(const ReplayResult& result, const ReplayNumbers& numbers,
                       const Trace& trace, const ClusterSpec& cluster,
                       const ReplayLabels& labels, bool wall) {
  JsonWriter json;
  json.BeginObject();
  WriteWorkload(json, trace, cluster, labels);
  WriteNumbers(json, numbers);
  json.Field("simulated_s", result.end).Field("steps", result.steps);
  json.Field("decode_rows", result.decode_rows);
  json.Field("chunk_tokens", result.chunk_tokens);
  json.Field("preemptions", result.preemptions);
  json.Field("blocks_evicted", result.blocks_evicted);
  json.Field("nvlink_bytes", result.nvlink_bytes);
  json.Field("network_bytes", result.network_bytes);
  if (wall) {
    json.Field("wall_s", result.wall_seconds);
    json.Field("requests_per_wall_s", static_cast<double>(numbers.requests) /
                                          std::max(result.wall_seconds, 1e-9));
  }
  WriteStreams(json, result, cluster);
  WriteTimeline(json, result);
  json.EndObject();
  return json.Take();
}

absl::Status WriteReport(const std::string& folder, const ReplayResult& result,
                         const ReplayNumbers& numbers, const Trace& trace,
                         const ClusterSpec& cluster,
                         const ReplayLabels& labels) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    return absl::UnavailableError(
        absl::StrCat("cannot make ", folder, ": ", error.message()));
  }
  BRAID_RETURN_IF_ERROR(
      WriteFile(folder + "/result.json",
                ReplayJson(result, numbers, trace, cluster, labels, true)));
  BRAID_RETURN_IF_ERROR(
      WriteFile(folder + "/requests.csv", RequestsCsv(result)));
  std::string figures;
  const auto write = [&](const char* name,
                         const std::vector<SvgChart>& charts) -> absl::Status {
    for (size_t i = 0; i < charts.size(); ++i) {
      const std::string svg = charts[i].ToSvg();
      const std::string number =
          charts.size() > 1 ? absl::StrCat("-", i + 1) : "";
      BRAID_RETURN_IF_ERROR(
          WriteFile(absl::StrCat(folder, "/", name, number, ".svg"), svg));
      absl::StrAppend(&figures, svg);
    }
    return absl::OkStatus();
  };
  BRAID_RETURN_IF_ERROR(write("latency", LatencyCharts(result, cluster)));
  BRAID_RETURN_IF_ERROR(
      write("utilisation", UtilisationCharts(result, cluster)));
  BRAID_RETURN_IF_ERROR(write("load", LoadCharts(result)));
  return WriteFile(folder + "/report.html",
                   Html(numbers, trace, cluster, labels, figures));
}

}  // namespace braid
