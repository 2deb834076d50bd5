#include "server/metrics_exporter.h"

#include <array>
#include <initializer_list>
#include <limits>
#include <utility>
#include <vector>

#include <prometheus/client_metric.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include "absl/strings/str_cat.h"
#include "engine/token_sink.h"

namespace braid::server {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

class Families {
 public:
  MetricFamily& Add(std::string name, std::string help, MetricType type) {
    families_.push_back({std::move(name), std::move(help), type, {}});
    return families_.back();
  }
  void Counter(std::string name, std::string help, double value) {
    AddCounter(Add(std::move(name), std::move(help), MetricType::Counter), {},
               value);
  }
  // A counter per value of `label`; each also has the labels `common`.
  void Counters(std::string name, std::string help, const char* label,
                std::initializer_list<std::pair<const char*, uint64_t>> counts,
                const Labels& common = {}) {
    MetricFamily& family =
        Add(std::move(name), std::move(help), MetricType::Counter);
    for (const auto& [value, count] : counts) {
      Labels labels = common;
      labels.push_back({label, value});
      AddCounter(family, std::move(labels), static_cast<double>(count));
    }
  }
  void Gauge(std::string name, std::string help, double value) {
    AddGauge(Add(std::move(name), std::move(help), MetricType::Gauge), {},
             value);
  }
  static void AddCounter(MetricFamily& family, Labels labels, double value) {
    ClientMetric metric;
    metric.label = std::move(labels);
    metric.counter.value = value;
    family.metric.push_back(std::move(metric));
  }
  static void AddGauge(MetricFamily& family, Labels labels, double value) {
    ClientMetric metric;
    metric.label = std::move(labels);
    metric.gauge.value = value;
    family.metric.push_back(std::move(metric));
  }
  template <typename Histogram>
  static void AddHistogram(MetricFamily& family, Labels labels,
                           const Histogram& histogram) {
    ClientMetric metric;
    metric.label = std::move(labels);
    uint64_t cumulative = 0;
    for (size_t i = 0; i < histogram.counts.size(); ++i) {
      cumulative += histogram.counts[i];
      const double bound = i < histogram.kBounds.size()
                               ? histogram.kBounds[i]
                               : std::numeric_limits<double>::infinity();
      metric.histogram.bucket.push_back({cumulative, bound});
    }
    metric.histogram.sample_count = cumulative;
    metric.histogram.sample_sum = histogram.sum;
    family.metric.push_back(std::move(metric));
  }
  std::string Serialize() const {
    return prometheus::TextSerializer().Serialize(families_);
  }

 private:
  std::vector<MetricFamily> families_;
};

void AddRequests(Families& families, const EngineStats& stats) {
  MetricFamily& outcomes = families.Add(
      "braid_requests_total", "Requests that have ended.", MetricType::Counter);
  for (size_t i = 0; i < stats.requests_finished.size(); ++i) {
    const auto reason = static_cast<FinishReason>(i);
    uint64_t count = stats.requests_finished[i];
    // By the scheduler, and at the door.
    if (reason == FinishReason::kRefused) count += stats.requests_refused;
    Families::AddCounter(outcomes, {{"outcome", ToString(reason)}},
                         static_cast<double>(count));
  }
  MetricFamily& states = families.Add(
      "braid_requests", "Requests now, by state.", MetricType::Gauge);
  Families::AddGauge(states, {{"state", "queued"}}, stats.queued);
  Families::AddGauge(states, {{"state", "prefilling"}}, stats.prefilling);
  Families::AddGauge(states, {{"state", "transferring"}}, stats.transferring);
  Families::AddGauge(states, {{"state", "decoding"}}, stats.decoding);
  families.Counters(
      "braid_request_paths_total",
      "Requests by whether prefill and decode ran on different devices.",
      "path",
      {{"split", stats.requests_split}, {"bypassed", stats.requests_bypassed}});
  families.Counter("braid_recomputed_requests_total",
                   "Requests computed again because a device was lost.",
                   static_cast<double>(stats.requests_recomputed));
  families.Counter("braid_received_requests_total", "Requests submitted.",
                   static_cast<double>(stats.requests_received));
  families.Counter("braid_slow_readers_total",
                   "Requests cancelled because their client read too slowly.",
                   static_cast<double>(stats.slow_readers));
}

void AddTokens(Families& families, const EngineStats& stats) {
  families.Counter("braid_prompt_tokens_total", "Prompt tokens.",
                   static_cast<double>(stats.prompt_tokens));
  families.Counter("braid_cached_tokens_total",
                   "Prompt tokens found in the prefix cache.",
                   static_cast<double>(stats.cached_tokens));
  families.Counter("braid_generated_tokens_total", "Tokens generated.",
                   static_cast<double>(stats.output_tokens));
}

void AddClasses(Families& families, const EngineStats& stats) {
  MetricFamily& queued = families.Add(
      "braid_queued_requests", "Requests that wait to be admitted, by class.",
      MetricType::Gauge);
  MetricFamily& refused =
      families.Add("braid_refusals_total",
                   "Requests that the scheduler refused, by class and reason.",
                   MetricType::Counter);
  MetricFamily& preempted = families.Add(
      "braid_preemptions_total",
      "Times that a running request was put back for a better class.",
      MetricType::Counter);
  for (const ClassStats& each : stats.classes) {
    Families::AddGauge(queued, {{"class", each.name}}, each.queued);
    for (size_t i = 0; i < each.refused.size(); ++i) {
      Families::AddCounter(
          refused,
          {{"class", each.name},
           {"reason", ToString(static_cast<RefusalReason>(i))}},
          static_cast<double>(each.refused[i]));
    }
    Families::AddCounter(preempted, {{"class", each.name}},
                         static_cast<double>(each.preempted));
  }
}

// Where the time of requests goes.
void AddStages(Families& families, const EngineStats& stats) {
  const auto add = [&](std::string name, std::string help, auto of) {
    MetricFamily& family =
        families.Add(std::move(name), std::move(help), MetricType::Histogram);
    for (const ClassStats& each : stats.classes) {
      Families::AddHistogram(family, {{"class", each.name}}, of(each));
    }
  };
  static constexpr std::array<const char*, kStageCount> kHelp = {
      "In the queue; of a request that was put back, also then.",
      "Admitted, while no step computes the prompt.",
      "In steps that compute the prompt.",
      "Hand-over of the KV after prefill.",
      "Ready to decode, while no step has a row of it.",
      "In steps that decode.",
  };
  for (int i = 0; i < kStageCount; ++i) {
    add(absl::StrCat("braid_", ToString(static_cast<Stage>(i)), "_seconds"),
        kHelp[i], [i](const ClassStats& c) { return c.stage_seconds[i]; });
  }
  add("braid_request_seconds", "From arrival to the end; its stages sum to it.",
      [](const ClassStats& c) { return c.request_seconds; });
  add("braid_time_to_first_token_seconds", "From arrival to the first token.",
      [](const ClassStats& c) { return c.time_to_first_token_seconds; });
  add("braid_time_to_first_token_relative_error",
      "Between the first token's predicted and seen time: |p - s| / s.",
      [](const ClassStats& c) { return c.time_to_first_token_error; });
  add("braid_inter_token_seconds", "Between two tokens of a request.",
      [](const ClassStats& c) { return c.inter_token_seconds; });
}

void AddDevices(Families& families, const EngineStats& stats) {
  MetricFamily& seconds =
      families.Add("braid_step_seconds", "Forward steps of a device.",
                   MetricType::Histogram);
  for (const DeviceStats& device : stats.devices) {
    Families::AddHistogram(seconds, {{"device", device.name}},
                           device.step_seconds);
  }
  MetricFamily& tokens =
      families.Add("braid_step_tokens_total", "Tokens computed by a device.",
                   MetricType::Counter);
  for (const DeviceStats& device : stats.devices) {
    Families::AddCounter(tokens,
                         {{"device", device.name}, {"phase", "prefill"}},
                         static_cast<double>(device.prefill_tokens));
    Families::AddCounter(tokens, {{"device", device.name}, {"phase", "decode"}},
                         static_cast<double>(device.decode_tokens));
    Families::AddCounter(tokens, {{"device", device.name}, {"phase", "stream"}},
                         static_cast<double>(device.stream_tokens));
  }
  MetricFamily& error = families.Add(
      "braid_step_time_relative_error",
      "Of the model of a device's step times, lately: |predicted - seen| / "
      "seen; by the number of devices that lent it their cores.",
      MetricType::Gauge);
  for (const DeviceStats& device : stats.devices) {
    for (size_t n = 0; n < device.models.size(); ++n) {
      if (device.models[n].observed == 0) continue;
      Families::AddGauge(error,
                         {{"device", device.name}, {"lent", absl::StrCat(n)}},
                         device.models[n].relative_error);
    }
  }
  families.Counter("braid_role_changes_total",
                   "Times that a device began to work for the other pool.",
                   static_cast<double>(stats.role_changes));
  MetricFamily& lent = families.Add(
      "braid_lent_steps_total",
      "Steps that ran with other devices' cores as well.", MetricType::Counter);
  for (const DeviceStats& device : stats.devices) {
    Families::AddCounter(lent, {{"device", device.name}},
                         static_cast<double>(device.lent_steps));
  }
}

void AddOutages(Families& families, const EngineStats& stats) {
  MetricFamily& up = families.Add(
      "braid_device_up", "1 unless the device is lost.", MetricType::Gauge);
  MetricFamily& lost =
      families.Add("braid_device_losses_total", "Times that a device was lost.",
                   MetricType::Counter);
  for (const DeviceStats& device : stats.devices) {
    Families::AddGauge(up, {{"device", device.name}}, device.up);
    Families::AddCounter(lost, {{"device", device.name}},
                         static_cast<double>(device.times_lost));
  }
  families.Gauge("braid_avoided_pairs",
                 "Pairs of pools avoided now, as a checksum differed.",
                 static_cast<double>(stats.avoided.size()));
  families.Counter("braid_pair_avoidances_total",
                   "Times that a pair of pools began to be avoided.",
                   static_cast<double>(stats.pairs_avoided));
}

void AddKvCache(Families& families, const EngineStats& stats) {
  MetricFamily& blocks = families.Add(
      "braid_kv_blocks", "KV blocks by state; they sum to the capacity.",
      MetricType::Gauge);
  for (size_t pool = 0; pool < stats.kv_blocks.size(); ++pool) {
    for (size_t state = 0; state < stats.kv_blocks[pool].size(); ++state) {
      Families::AddGauge(blocks,
                         {{"pool", absl::StrCat(pool)},
                          {"state", ToString(static_cast<BlockState>(state))}},
                         stats.kv_blocks[pool][state]);
    }
  }
  struct Field {
    const char* name;
    const char* help;
    uint64_t PrefixIndexStats::*value;
  };
  // The index's own look-ups are left out: the scheduler looks a waiting
  // request up in every plan, so they say nothing about hits. Of requests,
  // braid_cached_tokens_total over braid_prompt_tokens_total does.
  static constexpr std::array<Field, 2> kFields = {{
      {"braid_prefix_inserted_blocks_total", "Blocks published.",
       &PrefixIndexStats::blocks_inserted},
      {"braid_prefix_evicted_blocks_total", "Blocks evicted.",
       &PrefixIndexStats::blocks_evicted},
  }};
  for (const Field& field : kFields) {
    MetricFamily& family =
        families.Add(field.name, field.help, MetricType::Counter);
    for (size_t pool = 0; pool < stats.prefix.size(); ++pool) {
      Families::AddCounter(
          family, {{"pool", absl::StrCat(pool)}},
          static_cast<double>(stats.prefix[pool].*field.value));
    }
  }
}

void AddParscale(Families& families, const EngineStats& stats) {
  const StreamStats& streams = stats.streams;
  families.Counters(
      "braid_parscale_rows_total",
      "Idle rows of steps. offered: that requests could have used; filled: "
      "rows of streams that answered; caught_up: rows of tokens that a stream "
      "had missed; shed: streams that answered one token and not the next. "
      "gang: no idle rows, but those of streams in lock-step.",
      "outcome",
      {{"offered", streams.offered},
       {"filled", streams.filled},
       {"shed", streams.shed},
       {"caught_up", streams.caught_up},
       {"gang", streams.gang_rows}});
  families.Counters(
      "braid_parscale_catch_ups_total",
      "Streams that a device with nothing else to do began to compute for a "
      "request elsewhere: landed, or given_up.",
      "outcome",
      {{"landed", streams.catch_ups_landed},
       {"given_up", streams.catch_ups_given_up}});
  families.Counter("braid_parscale_pressures_total",
                   "Times that somebody came to wait for cores or blocks that "
                   "idle rows' streams had.",
                   static_cast<double>(streams.pressures));
  families.Counter("braid_parscale_shed_steps_total",
                   "Steps that ended with such streams while somebody waited: "
                   "over the pressures, how fast streams give way.",
                   static_cast<double>(streams.shed_steps));
  families.Counter("braid_parscale_shed_in_flight_total",
                   "Steps that dropped such streams before their end.",
                   static_cast<double>(streams.shed_in_flight));
  families.Counter("braid_parscale_dropped_streams_total",
                   "Streams whose KV blocks somebody else needed.",
                   static_cast<double>(streams.dropped));
  families.Counter("braid_parscale_gain_nats_total",
                   "What streams are predicted to have gained over one, nats "
                   "summed over tokens.",
                   streams.gain);
  families.Gauge("braid_parscale_streams",
                 "Streams beyond the first that answered the last token of a "
                 "request that runs.",
                 streams.active);
  families.Gauge("braid_parscale_kv_blocks",
                 "KV blocks held by streams that can be shed.", streams.blocks);
}

void AddBestOf(Families& families, const EngineStats& stats) {
  const BestOfCounts& best_of = stats.best_of;
  families.Counters(
      "braid_best_of_candidates_total",
      "Candidates of best-of-n besides each request's first. started: drew a "
      "token; completed: in time to compete; dropped: started, not completed.",
      "outcome",
      {{"started", best_of.started},
       {"completed", best_of.completed},
       {"dropped", best_of.dropped}});
  families.Counters("braid_best_of_answers_total",
                    "Answers of best-of-n, by whether the first candidate was "
                    "chosen or another.",
                    "chosen",
                    {{"first", best_of.requests - best_of.chosen},
                     {"other", best_of.chosen}});
  families.Counters(
      "braid_best_of_rows_total",
      "Idle rows of steps. offered: that further candidates could have used, "
      "besides streams; filled: that drew a token of one; caught_up: of tokens "
      "whose KV one had not.",
      "outcome",
      {{"offered", stats.candidates.offered},
       {"filled", stats.candidates.filled},
       {"caught_up", stats.candidates.caught_up}});
  families.Counter("braid_best_of_evictions_total",
                   "Times that somebody else needed a candidate's KV blocks.",
                   static_cast<double>(stats.candidates.evicted));
  families.Gauge("braid_best_of_kv_blocks",
                 "KV blocks held by further candidates alone.",
                 stats.candidates.blocks);
}

void AddTransport(Families& families, const EngineStats& stats) {
  const Labels transport = {{"transport", stats.transport_name}};
  families.Counters("braid_kv_transfers_total", "Hand-overs of KV by outcome.",
                    "outcome",
                    {{"complete", stats.transport.transfers_completed},
                     {"failed", stats.transport.transfers_failed},
                     {"cancelled", stats.transport.transfers_cancelled}},
                    transport);
  Families::AddCounter(families.Add("braid_kv_transfer_bytes_total",
                                    "KV bytes moved.", MetricType::Counter),
                       transport,
                       static_cast<double>(stats.transport.bytes_moved));
  Families::AddCounter(
      families.Add("braid_kv_transfer_late_pieces_total",
                   "Pieces dropped because their transfer had ended.",
                   MetricType::Counter),
      transport, static_cast<double>(stats.transport.late_pieces_dropped));
}

}  // namespace

void MetricsExporter::CountHttpResponse(absl::string_view route, int status) {
  std::lock_guard lock(mutex_);
  ++http_responses_[{std::string(route), status}];
}

void MetricsExporter::CountIgnoredField(absl::string_view field) {
  std::lock_guard lock(mutex_);
  const bool known = ignored_fields_.contains(field);
  const bool room = ignored_fields_.size() < kMostFieldNames;
  ++ignored_fields_[std::string(known || room ? field : "other")];
}

std::string MetricsExporter::Render(const EngineStats& stats) const {
  Families families;
  Families::AddGauge(
      families.Add("braid_build_info", "Always 1.", MetricType::Gauge),
      {{"version", build_.version}, {"model", build_.model}}, 1);
  AddRequests(families, stats);
  AddTokens(families, stats);
  AddClasses(families, stats);
  AddStages(families, stats);
  AddDevices(families, stats);
  AddOutages(families, stats);
  AddKvCache(families, stats);
  AddParscale(families, stats);
  AddBestOf(families, stats);
  AddTransport(families, stats);
  MetricFamily& http =
      families.Add("braid_http_requests_total",
                   "HTTP responses by path and status.", MetricType::Counter);
  std::lock_guard lock(mutex_);
  for (const auto& [key, count] : http_responses_) {
    Families::AddCounter(
        http, {{"path", key.first}, {"code", absl::StrCat(key.second)}},
        static_cast<double>(count));
  }
  MetricFamily& ignored = families.Add(
      "braid_ignored_fields_total",
      "Fields of completion requests that had no effect: unknown, or of no "
      "meaning here.",
      MetricType::Counter);
  for (const auto& [field, count] : ignored_fields_) {
    Families::AddCounter(ignored, {{"field", field}},
                         static_cast<double>(count));
  }
  return families.Serialize();
}

}  // namespace braid::server
