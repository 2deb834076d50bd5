#include "server/debug_routes.h"

#include <algorithm>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/json_writer.h"
#include "server/request_error.h"

namespace braid::server {
namespace {

constexpr size_t kDefaultLimit = 100;
constexpr size_t kMaxLimit = 1000;

double SecondsOf(TimePoint time) { return ToSeconds(time.time_since_epoch()); }

std::string NameOf(const EngineStats& stats, DeviceId id) {
  const auto device = std::ranges::find(stats.devices, id, &DeviceStats::id);
  return device == stats.devices.end() ? "" : device->name;
}

// What `predicted` and `other` of a decision are.
struct Measures {
  const char* predicted;
  const char* other;
};
Measures MeasuresOf(DecisionKind kind) {
  switch (kind) {
    case DecisionKind::kPlaced:
      return {"predicted_ttft_s", "damage_s"};
    case DecisionKind::kRefused:
    case DecisionKind::kShed:
      return {"predicted_ttft_s", "retry_after_s"};
    case DecisionKind::kPreempted:
      return {"recompute_s", "makes_room_for"};
    case DecisionKind::kStreams:
      return {"streams", "blocks"};
    case DecisionKind::kRole:
    case DecisionKind::kDevice:
    case DecisionKind::kPair:
      break;
  }
  return {"predicted", "other"};
}

void Write(const Decision& decision, const EngineStats& stats,
           JsonWriter& json) {
  json.BeginObject()
      .Field("sequence", decision.sequence)
      .Field("time_s", SecondsOf(decision.time))
      .Field("kind", ToString(decision.kind))
      .Field("reason", decision.reason);
  if (decision.request.value() != 0) {
    json.Field("request", uint64_t{decision.request.value()});
  }
  const bool of_devices = decision.kind == DecisionKind::kPlaced ||
                          decision.kind == DecisionKind::kPreempted ||
                          decision.kind == DecisionKind::kRole ||
                          decision.kind == DecisionKind::kDevice;
  if (of_devices) {
    json.Field("prefill", NameOf(stats, decision.prefill))
        .Field("decode", NameOf(stats, decision.decode));
  }
  const Measures measures = MeasuresOf(decision.kind);
  json.Field(measures.predicted, decision.predicted)
      .Field(measures.other, decision.other)
      .EndObject();
}

// False: there is one that is no number.
bool TakeNumber(absl::string_view text, uint64_t& value) {
  return text.empty() || absl::SimpleAtoi(text, &value);
}

HttpReply Decisions(const HttpRequest& request, const Engine& engine,
                    const Clock& clock) {
  uint64_t since = 0, limit = kDefaultLimit;
  const absl::string_view since_text = request.Parameter("since");
  if (!TakeNumber(since_text, since)) {
    return ErrorResponse(InvalidField("since", "must be a number"));
  }
  if (!TakeNumber(request.Parameter("limit"), limit) || limit == 0 ||
      limit > kMaxLimit) {
    return ErrorResponse(InvalidField(
        "limit", absl::StrCat("must be between 1 and ", kMaxLimit)));
  }
  if (since_text.empty()) {
    const uint64_t last = engine.Decisions(~uint64_t{0}, 0).last;
    since = last > limit ? last - limit : 0;
  }
  const EngineStats stats = engine.Snapshot();
  const DecisionPage page = engine.Decisions(since, limit);
  JsonWriter json;
  json.BeginObject()
      .Field("now_s", SecondsOf(clock.Now()))
      .Field("last", page.last)
      .Key("decisions")
      .BeginArray();
  for (const Decision& decision : page.decisions) Write(decision, stats, json);
  json.EndArray().EndObject();
  return JsonResponse(json.Take());
}

void WriteClasses(const Engine& engine, const EngineStats& stats,
                  JsonWriter& json) {
  json.Key("classes").BeginArray();
  for (size_t i = 0; i < stats.classes.size(); ++i) {
    const ServiceClass& promise = engine.classes()[i];
    const ClassStats& seen = stats.classes[i];
    json.BeginObject()
        .Field("class", seen.name)
        .Field("ttft_target_s", ToSeconds(promise.ttft))
        .Field("tpot_target_s", ToSeconds(promise.tpot))
        .Field("max_queued", uint64_t{promise.max_queued})
        .Field("queued", uint64_t{seen.queued})
        .Field("preempted", uint64_t{seen.preempted})
        .Key("refused")
        .BeginObject();
    for (size_t reason = 0; reason < seen.refused.size(); ++reason) {
      json.Field(ToString(static_cast<RefusalReason>(reason)),
                 uint64_t{seen.refused[reason]});
    }
    json.EndObject().EndObject();
  }
  json.EndArray();
}

void Write(const DeviceStats& device, JsonWriter& json) {
  json.BeginObject()
      .Field("device", device.name)
      .Field("role", ToString(device.role))
      .Field("up", device.up);
  if (!device.up) json.Field("retry_s", SecondsOf(device.retry));
  json.Field("times_lost", uint64_t{device.times_lost})
      .Field("steps", uint64_t{device.steps})
      .Field("prefill_tokens", uint64_t{device.prefill_tokens})
      .Field("decode_tokens", uint64_t{device.decode_tokens})
      .Field("streams_active", uint64_t{device.streams_active})
      .Field("stream_tokens", uint64_t{device.stream_tokens})
      .Key("step_time_models")
      .BeginArray();
  for (size_t lent = 0; lent < device.models.size(); ++lent) {
    const StepModelStats& model = device.models[lent];
    json.BeginObject()
        .Field("lent", uint64_t{lent})
        .Field("observed", uint64_t{model.observed})
        .Field("relative_error", model.relative_error)
        .Field("base_s", model.base)
        .Field("chunk_token_s", model.chunk_token)
        .Field("chunk_attended_s", model.chunk_attended)
        .Field("decode_row_s", model.decode_row)
        .Field("decode_attended_s", model.decode_attended)
        .EndObject();
  }
  json.EndArray().EndObject();
}

void Write(const StreamStats& streams, JsonWriter& json) {
  json.BeginObject()
      .Field("active", uint64_t{streams.active})
      .Field("kv_blocks", uint64_t{streams.blocks})
      .Field("rows_offered", uint64_t{streams.offered})
      .Field("rows_filled", uint64_t{streams.filled})
      .Field("tokens_caught_up", uint64_t{streams.caught_up})
      .Field("tokens_caught_up_elsewhere",
             uint64_t{streams.caught_up_elsewhere})
      .Field("shed", uint64_t{streams.shed})
      .Field("dropped", uint64_t{streams.dropped})
      .Field("gang_rows", uint64_t{streams.gang_rows})
      .Field("pressures", uint64_t{streams.pressures})
      .Field("shed_steps", uint64_t{streams.shed_steps})
      .Field("shed_in_flight", uint64_t{streams.shed_in_flight})
      .Field("most_shed_steps", uint64_t{streams.most_shed_steps})
      .Field("gain_nats", streams.gain)
      .Field("newcomers_meet_rows", streams.chance_to_meet)
      .Field("first_token_s", streams.first_token)
      .Field("beside_rows_s", streams.beside)
      .EndObject();
}

void WriteBestOf(const EngineStats& stats, JsonWriter& json) {
  const BestOfStats& rows = stats.candidates;
  json.Key("best_of")
      .BeginObject()
      .Field("rows_offered", uint64_t{rows.offered})
      .Field("rows_filled", uint64_t{rows.filled})
      .Field("tokens_caught_up", uint64_t{rows.caught_up})
      .Field("evicted", uint64_t{rows.evicted})
      .Field("kv_blocks", uint64_t{rows.blocks})
      .Field("started", uint64_t{stats.best_of.started})
      .Field("completed", uint64_t{stats.best_of.completed})
      .Field("dropped", uint64_t{stats.best_of.dropped})
      .Field("answers", uint64_t{stats.best_of.requests})
      .Field("answers_of_others", uint64_t{stats.best_of.chosen})
      .EndObject();
}

HttpReply SchedulerState(const Engine& engine, const Clock& clock) {
  const EngineStats stats = engine.Snapshot();
  JsonWriter json;
  json.BeginObject().Field("now_s", SecondsOf(clock.Now()));
  WriteClasses(engine, stats, json);
  json.Key("devices").BeginArray();
  for (const DeviceStats& device : stats.devices) Write(device, json);
  json.EndArray();
  json.Key("streams");
  Write(stats.streams, json);
  WriteBestOf(stats, json);
  json.Key("avoided_pairs").BeginArray();
  for (const AvoidedPair& pair : stats.avoided) {
    json.BeginObject()
        .Field("from_pool", uint64_t{pair.from.value()})
        .Field("to_pool", uint64_t{pair.to.value()})
        .Field("until_s", SecondsOf(pair.until))
        .Field("failures", uint64_t{pair.failures})
        .EndObject();
  }
  json.EndArray()
      .Field("queued", uint64_t{stats.queued})
      .Field("prefilling", uint64_t{stats.prefilling})
      .Field("transferring", uint64_t{stats.transferring})
      .Field("decoding", uint64_t{stats.decoding})
      .EndObject();
  return JsonResponse(json.Take());
}

}  // namespace

void AddDebugRoutes(Router& router, const Engine& engine, const Clock& clock) {
  router.Add("GET", "/debug/decisions", Access::kNeedsKey,
             [&](const HttpRequest& request, const Waker&) {
               return Decisions(request, engine, clock);
             });
  router.Add("GET", "/debug/scheduler", Access::kNeedsKey,
             [&](const HttpRequest&, const Waker&) {
               return SchedulerState(engine, clock);
             });
}

}  // namespace braid::server
