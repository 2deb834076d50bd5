#include "server/debug_routes.h"

#include <algorithm>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "model/json_value.h"
#include "server/request_error.h"

namespace braid::server {
namespace {

constexpr size_t kDefaultLimit = 100;
constexpr size_t kMaxLimit = 1000;

// Builds a JSON object or array piece by piece.
class JsonPieces {
 public:
  explicit JsonPieces(char open) : out_(1, open) {}
  void Raw(absl::string_view key, absl::string_view value) {
    Key(key);
    absl::StrAppend(&out_, value);
  }
  void Text(absl::string_view key, absl::string_view value) {
    Key(key);
    out_ += '"';
    AppendJsonEscaped(std::string_view(value.data(), value.size()), out_);
    out_ += '"';
  }
  void Number(absl::string_view key, uint64_t value) {
    Raw(key, absl::StrCat(value));
  }
  void Real(absl::string_view key, double value) {
    Raw(key, absl::StrFormat("%.9g", value));
  }
  void Item(absl::string_view value) { Raw("", value); }
  std::string Close(char close) && { return std::move(out_) + close; }

 private:
  void Key(absl::string_view key) {
    if (out_.size() > 1) out_ += ',';
    if (!key.empty()) absl::StrAppend(&out_, "\"", key, "\":");
  }
  std::string out_;
};

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

std::string ToJson(const Decision& decision, const EngineStats& stats) {
  JsonPieces json('{');
  json.Number("sequence", decision.sequence);
  json.Real("time_s", SecondsOf(decision.time));
  json.Text("kind", ToString(decision.kind));
  json.Text("reason", decision.reason);
  if (decision.request.value() != 0) {
    json.Number("request", decision.request.value());
  }
  const bool of_devices = decision.kind == DecisionKind::kPlaced ||
                          decision.kind == DecisionKind::kPreempted ||
                          decision.kind == DecisionKind::kRole ||
                          decision.kind == DecisionKind::kDevice;
  if (of_devices) {
    json.Text("prefill", NameOf(stats, decision.prefill));
    json.Text("decode", NameOf(stats, decision.decode));
  }
  const Measures measures = MeasuresOf(decision.kind);
  json.Real(measures.predicted, decision.predicted);
  json.Real(measures.other, decision.other);
  return std::move(json).Close('}');
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
  JsonPieces list('[');
  for (const Decision& decision : page.decisions) {
    list.Item(ToJson(decision, stats));
  }
  JsonPieces json('{');
  json.Real("now_s", SecondsOf(clock.Now()));
  json.Number("last", page.last);
  json.Raw("decisions", std::move(list).Close(']'));
  return JsonResponse(std::move(json).Close('}'));
}

std::string ClassesJson(const Engine& engine, const EngineStats& stats) {
  JsonPieces list('[');
  for (size_t i = 0; i < stats.classes.size(); ++i) {
    const ServiceClass& promise = engine.classes()[i];
    const ClassStats& seen = stats.classes[i];
    JsonPieces refused('{');
    for (size_t reason = 0; reason < seen.refused.size(); ++reason) {
      refused.Number(ToString(static_cast<RefusalReason>(reason)),
                     seen.refused[reason]);
    }
    JsonPieces json('{');
    json.Text("class", seen.name);
    json.Real("ttft_target_s", ToSeconds(promise.ttft));
    json.Real("tpot_target_s", ToSeconds(promise.tpot));
    json.Number("max_queued", promise.max_queued);
    json.Number("queued", seen.queued);
    json.Number("preempted", seen.preempted);
    json.Raw("refused", std::move(refused).Close('}'));
    list.Item(std::move(json).Close('}'));
  }
  return std::move(list).Close(']');
}

std::string DeviceJson(const DeviceStats& device) {
  JsonPieces models('[');
  for (size_t lent = 0; lent < device.models.size(); ++lent) {
    const StepModelStats& model = device.models[lent];
    JsonPieces json('{');
    json.Number("lent", lent);
    json.Number("observed", model.observed);
    json.Real("relative_error", model.relative_error);
    json.Real("base_s", model.base);
    json.Real("chunk_token_s", model.chunk_token);
    json.Real("chunk_attended_s", model.chunk_attended);
    json.Real("decode_row_s", model.decode_row);
    json.Real("decode_attended_s", model.decode_attended);
    models.Item(std::move(json).Close('}'));
  }
  JsonPieces json('{');
  json.Text("device", device.name);
  json.Text("role", ToString(device.role));
  json.Raw("up", device.up ? "true" : "false");
  if (!device.up) json.Real("retry_s", SecondsOf(device.retry));
  json.Number("times_lost", device.times_lost);
  json.Number("steps", device.steps);
  json.Number("prefill_tokens", device.prefill_tokens);
  json.Number("decode_tokens", device.decode_tokens);
  json.Number("streams_active", device.streams_active);
  json.Number("stream_tokens", device.stream_tokens);
  json.Raw("step_time_models", std::move(models).Close(']'));
  return std::move(json).Close('}');
}

std::string StreamsJson(const StreamStats& streams) {
  JsonPieces json('{');
  json.Number("active", streams.active);
  json.Number("kv_blocks", streams.blocks);
  json.Number("rows_offered", streams.offered);
  json.Number("rows_filled", streams.filled);
  json.Number("tokens_caught_up", streams.caught_up);
  json.Number("shed", streams.shed);
  json.Number("dropped", streams.dropped);
  json.Number("gang_rows", streams.gang_rows);
  json.Number("pressures", streams.pressures);
  json.Number("shed_steps", streams.shed_steps);
  json.Number("shed_in_flight", streams.shed_in_flight);
  json.Number("most_shed_steps", streams.most_shed_steps);
  json.Real("gain_nats", streams.gain);
  json.Real("newcomers_meet_rows", streams.chance_to_meet);
  json.Real("first_token_s", streams.first_token);
  json.Real("beside_rows_s", streams.beside);
  return std::move(json).Close('}');
}

HttpReply SchedulerState(const Engine& engine, const Clock& clock) {
  const EngineStats stats = engine.Snapshot();
  JsonPieces devices('[');
  for (const DeviceStats& device : stats.devices) {
    devices.Item(DeviceJson(device));
  }
  JsonPieces avoided('[');
  for (const AvoidedPair& pair : stats.avoided) {
    JsonPieces json('{');
    json.Number("from_pool", pair.from.value());
    json.Number("to_pool", pair.to.value());
    json.Real("until_s", SecondsOf(pair.until));
    json.Number("failures", pair.failures);
    avoided.Item(std::move(json).Close('}'));
  }
  JsonPieces json('{');
  json.Real("now_s", SecondsOf(clock.Now()));
  json.Raw("classes", ClassesJson(engine, stats));
  json.Raw("devices", std::move(devices).Close(']'));
  json.Raw("streams", StreamsJson(stats.streams));
  json.Raw("avoided_pairs", std::move(avoided).Close(']'));
  json.Number("queued", stats.queued);
  json.Number("prefilling", stats.prefilling);
  json.Number("transferring", stats.transferring);
  json.Number("decoding", stats.decoding);
  return JsonResponse(std::move(json).Close('}'));
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
