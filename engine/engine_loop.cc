#include "engine/engine_loop.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/check.h"
#include "base/hash.h"
#include "base/status_macros.h"

namespace braid {
namespace {

// The longest sleep without news. Nothing depends on it: every reason to wake
// is mail or a deadline.
constexpr Duration kLongestWait = std::chrono::seconds(1);
// A target that no request misses.
constexpr Duration kUnbounded = std::chrono::hours(1);

// Rounded up: who tries again then is not too early.
std::string InWords(double seconds) {
  return seconds < 1 ? absl::StrFormat("%.0f ms", std::ceil(seconds * 1e3))
                     : absl::StrFormat("%.1f s", std::ceil(seconds * 10) / 10);
}

SchedulerConfig SchedulerConfigOf(const EngineConfig& config) {
  SchedulerConfig scheduler{.split = config.split,
                            .max_context = config.max_context,
                            .prefill_chunk = config.prefill_chunk,
                            .max_running = config.max_running,
                            .lend_cores = config.lend_cores,
                            .prefix_cache = config.prefix_cache,
                            .classes = config.classes};
  scheduler.static_roles = config.static_roles;
  scheduler.stream_sets = config.stream_sets;
  scheduler.max_queued = 0;  // The classes have bounds of their own.
  for (const ServiceClass& each : config.classes) {
    scheduler.max_queued += each.max_queued;
  }
  for (const EngineDevice& device : config.devices) {
    scheduler.devices.push_back(
        {.id = device.id,
         .role = device.role,
         .pool = PoolId(device.arena),
         .max_rows = device.runner->max_rows(),
         .sheds_in_flight = device.runner->sheds_in_flight(),
         .measured = device.measured});
    scheduler.block_tokens = device.runner->kv_layout().block_tokens;
  }
  for (const auto& arena : config.arenas) {
    scheduler.pool_blocks.push_back(arena->capacity());
  }
  return scheduler;
}

absl::Status CheckConfig(const EngineConfig& config) {
  const auto invalid = [](auto&&... parts) {
    return absl::InvalidArgumentError(absl::StrCat(parts...));
  };
  if (config.tokenizer == nullptr || config.clock == nullptr) {
    return invalid("the engine needs a tokenizer and a clock");
  }
  if (!config.make_transport) return invalid("the engine needs a transport");
  if (config.max_inbox == 0) return invalid("max_inbox must not be 0");
  for (const EngineDevice& device : config.devices) {
    if (device.runner == nullptr) {
      return invalid("device ", device.name, " has no runner");
    }
    if (device.arena >= config.arenas.size()) {
      return invalid("device ", device.name, " has no KV arena");
    }
    const KvLayout& layout = config.arenas[device.arena]->layout();
    if (device.runner->kv_layout() != layout) {
      return invalid("device ", device.name, " wants KV laid out as ",
                     ToString(device.runner->kv_layout()),
                     ", but its arena is ", ToString(layout));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<EngineLoop>> EngineLoop::Create(
    EngineConfig config) {
  if (config.classes.empty()) {
    config.classes = {{.name = "default",
                       .ttft = kUnbounded,
                       .tpot = kUnbounded,
                       .max_queued = 1024}};
  }
  BRAID_RETURN_IF_ERROR(CheckConfig(config));
  BRAID_RETURN_IF_ERROR(Scheduler::Validate(SchedulerConfigOf(config)));
  std::unique_ptr<EngineLoop> loop(new EngineLoop(std::move(config)));
  BRAID_RETURN_IF_ERROR(loop->RegisterPools());
  return loop;
}

EngineLoop::EngineLoop(EngineConfig config)
    : config_(std::move(config)),
      mailbox_(config_.devices.size(), config_.max_inbox),
      transport_(config_.make_transport([this] { mailbox_.Wake(); })),
      scheduler_(std::make_unique<Scheduler>(SchedulerConfigOf(config_))),
      handoff_(std::make_unique<KvHandoff>(transport_.get(),
                                           config_.arenas[0]->layout())) {
  for (EngineDevice& device : config_.devices) {
    stats_.devices.push_back(
        {.id = device.id, .name = device.name, .role = device.role});
    slots_.push_back({.device = std::move(device)});
  }
  for (size_t i = 0; i < slots_.size(); ++i) launch_order_.push_back(i);
  std::stable_partition(launch_order_.begin(), launch_order_.end(),
                        [this](size_t i) {
                          return slots_[i].device.role == DeviceRole::kDecode;
                        });
  for (const ServiceClass& service_class : config_.classes) {
    stats_.classes.push_back({.name = service_class.name});
  }
  stats_.transport_name = std::string(transport_->name());
  PublishStats(config_.clock->Now(), /*idle=*/true);
}

EngineLoop::~EngineLoop() { BRAID_CHECK(at_rest()); }

absl::Status EngineLoop::RegisterPools() {
  for (size_t i = 0; i < config_.arenas.size(); ++i) {
    BRAID_RETURN_IF_ERROR(transport_->RegisterPool(
        PoolId(static_cast<uint32_t>(i)), *config_.arenas[i]));
  }
  return absl::OkStatus();
}

bool EngineLoop::RunOnce(TimePoint now) {
  turn_ = now;
  // Before new requests are judged by who is there.
  bool active = RestoreDevices(now);
  active |= mailbox_.Drain(mail_);
  for (Submission& submission : mail_.submissions) {
    Enqueue(std::move(submission), now);
  }
  for (size_t i = 0; i < slots_.size(); ++i) {
    StepReport& report = mail_.steps[i];
    if (report.done) {
      FinishStep(i, *std::move(report.done), now);
    } else if (report.layers > 0) {
      StreamLayers(slots_[i], report.layers);
    }
  }
  for (RequestId id : mail_.cancellations) {
    End(id, FinishReason::kCancelled,
        absl::CancelledError("the client cancelled the request"), now);
  }
  active |= ExpireDeadlines(now);
  active |= TakeHandoffs(now);
  active |= TakeRefusals(now);
  active |= EndLingering(now);
  active |= SendStreams(now);
  active |= LaunchIdle(now);
  AskToShed();
  mailbox_.Settle(std::exchange(ended_, 0));
  // What is avoided is so for a time only.
  stats_changed_ |= active || !stats_.avoided.empty();
  PublishStats(now, /*idle=*/!active);
  return active;
}

TimePoint EngineLoop::NextDeadline() const {
  const auto first = [](const auto& times) {
    return times.empty() ? kNever : times.begin()->first;
  };
  return std::min({outages_.Next(turn_), first(deadlines_), first(lingering_)});
}

void EngineLoop::Wait(TimePoint now) {
  const TimePoint next = NextDeadline();
  if (next <= now) return;
  mailbox_.Wait(next == kNever ? kLongestWait
                               : std::min(kLongestWait, next - now));
}

void EngineLoop::Stop(TimePoint now) {
  stopping_ = true;
  mailbox_.Close();
  std::vector<RequestId> alive;
  for (const auto& [id, record] : records_) alive.push_back(id);
  std::ranges::sort(alive);
  for (RequestId id : alive) {
    if (Record(id)->lingers_with()) {
      EndWithAnswer(id, now);
      continue;
    }
    End(id, FinishReason::kFailed,
        absl::UnavailableError("the server is shutting down"), now);
  }
  RunOnce(now);  // What had not been taken from the mailbox yet.
}

bool EngineLoop::at_rest() const {
  return records_.empty() && handoff_->open() == 0 &&
         std::ranges::none_of(slots_, &Slot::running);
}

void EngineLoop::Enqueue(Submission submission, TimePoint now) {
  GenerateRequest& request = submission.request;
  const RequestId id = submission.id;
  RequestInput input{.id = id,
                     .prompt = std::move(request.prompt),
                     .max_output = request.max_tokens,
                     .prefix_seed = Hash64Of(std::span<const uint64_t>(
                         {config_.model_fingerprint, request.cache_salt})),
                     .skip_cached = request.prompt_logprobs < 0,
                     .arrival = submission.received,
                     .deadline = request.deadline,
                     .priority = request.priority,
                     .service_class = request.service_class,
                     .tenant = request.tenant,
                     .streams = request.streams,
                     .best_of = request.best_of};
  if (request.deadline != kNever) deadlines_.emplace(request.deadline, id);
  ++stats_.classes[request.service_class].queued;
  stats_.prompt_tokens += input.prompt.size();
  records_.emplace(id, std::make_unique<RequestRecord>(
                           id, static_cast<uint32_t>(input.prompt.size()),
                           request, std::move(submission.sink),
                           config_.tokenizer, submission.received));
  if (const auto refusal = scheduler_->Offer(std::move(input), now)) {
    Refuse(*refusal, now);
    return;
  }
  Record(id)->Predicted(scheduler_->Find(id)->ttft);
  if (stopping_) {
    End(id, FinishReason::kFailed,
        absl::UnavailableError("the server is shutting down"), now);
  }
}

bool EngineLoop::ExpireDeadlines(TimePoint now) {
  bool any = false;
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    End(deadlines_.begin()->second, FinishReason::kDeadline,
        absl::DeadlineExceededError("the request's deadline has passed"), now);
    any = true;
  }
  return any;
}

bool EngineLoop::TakeRefusals(TimePoint now) {
  refused_.clear();
  scheduler_->TakeRefused(now, refused_);
  for (const Refusal& refusal : refused_) {
    scheduler_->Finish(refusal.request);
    Refuse(refusal, now);
  }
  return !refused_.empty();
}

// The scheduler knows nothing of it, or nothing any more.
void EngineLoop::Refuse(const Refusal& refusal, TimePoint now) {
  const auto it = records_.find(refusal.request);
  std::unique_ptr<RequestRecord> record = std::move(it->second);
  records_.erase(it);
  const ServiceClass& its_class = config_.classes[record->service_class()];
  ++stats_.classes[record->service_class()]
        .refused[static_cast<size_t>(refusal.reason)];
  Outcome outcome{.reason = FinishReason::kRefused,
                  .retry_after = refusal.retry_after};
  const std::string again =
      absl::StrCat("; try again in ", InWords(refusal.retry_after));
  switch (refusal.reason) {
    case RefusalReason::kQueueFull:
      outcome.status = absl::ResourceExhaustedError(absl::StrCat(
          "the queue of class '", its_class.name, "' is full", again));
      break;
    case RefusalReason::kOverload:
      outcome.status = absl::ResourceExhaustedError(absl::StrCat(
          "the first token would come after ", InWords(refusal.predicted_ttft),
          ", and class '", its_class.name, "' is for at most ",
          InWords(ToSeconds(its_class.ttft)), again));
      break;
    case RefusalReason::kTooLate:
      outcome.reason = FinishReason::kDeadline;
      outcome.status = absl::DeadlineExceededError(absl::StrCat(
          "the deadline cannot be met: the first token would come after ",
          InWords(refusal.predicted_ttft), again));
      break;
    case RefusalReason::kShed:
      outcome.status = absl::ResourceExhaustedError(
          absl::StrCat("requests of a better class than '", its_class.name,
                       "' took the place in the queue", again));
      break;
    case RefusalReason::kNoDevice:
      outcome.status = absl::UnavailableError(
          absl::StrCat("no device is up that could serve it", again));
      break;
  }
  Close(*record, std::move(outcome), now);
}

void EngineLoop::End(RequestId id, FinishReason reason, absl::Status status,
                     TimePoint now) {
  const auto it = records_.find(id);
  if (it == records_.end()) return;  // Has ended already.
  std::unique_ptr<RequestRecord> record = std::move(it->second);
  records_.erase(it);
  const Request& request = *scheduler_->Find(id);
  const bool in_flight = request.in_flight;
  const DeviceId device = request.state == RequestState::kPrefilling
                              ? request.prefill_device
                              : request.decode_device;
  ForgetHandoff(id);
  scheduler_->Finish(id, record->Chosen(reason));
  Close(*record, {.reason = reason, .status = std::move(status)}, now);
  // The step reads its sampling parameters.
  if (in_flight) SlotOf(device).retired.push_back(std::move(record));
}

// Its sink gets its one OnFinish, and the books their last entry.
void EngineLoop::Close(RequestRecord& record, Outcome outcome, TimePoint now) {
  if (record.deadline() != kNever) {
    deadlines_.erase({record.deadline(), record.id()});
  }
  if (record.lingers_with()) {
    lingering_.erase({record.lingers_until(), record.id()});
  }
  if (record.stage() == Stage::kQueue) {
    --stats_.classes[record.service_class()].queued;
  }
  ++ended_;
  const Outcome told = record.Finish(std::move(outcome), now);
  CountFinished(record.service_class(), told);
  if (told.best_of) CountBestOf(*told.best_of);
}

void EngineLoop::Track(const Request& request, RequestRecord& record,
                       TimePoint now) {
  Stage stage = Stage::kQueue;
  switch (request.state) {
    case RequestState::kWaiting:
    case RequestState::kFinished:
      break;
    case RequestState::kPrefilling:
      stage = request.in_flight ? Stage::kPrefill : Stage::kPrefillWait;
      break;
    case RequestState::kTransferring:
      stage = Stage::kTransfer;
      break;
    case RequestState::kDecoding:
    case RequestState::kLingering:
      stage = request.in_flight ? Stage::kDecode : Stage::kDecodeWait;
      break;
  }
  const Stage before = record.Enter(stage, now);
  uint32_t& queued = stats_.classes[record.service_class()].queued;
  queued -= before == Stage::kQueue;
  queued += stage == Stage::kQueue;
}

RequestRecord* EngineLoop::Record(RequestId id) {
  const auto it = records_.find(id);
  return it == records_.end() ? nullptr : it->second.get();
}

EngineLoop::Slot& EngineLoop::SlotOf(DeviceId id) {
  const auto it = std::ranges::find(
      slots_, id, [](const Slot& slot) { return slot.device.id; });
  BRAID_CHECK(it != slots_.end());
  return *it;
}

}  // namespace braid
