#include "engine/engine_loop.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/hash.h"
#include "base/status_macros.h"

namespace braid {
namespace {

// The longest sleep without news. Nothing depends on it: every reason to wake
// is mail or a deadline.
constexpr Duration kLongestWait = std::chrono::seconds(1);

SchedulerConfig SchedulerConfigOf(const EngineConfig& config) {
  SchedulerConfig scheduler{.split = config.split,
                            .max_context = config.max_context,
                            .prefill_chunk = config.prefill_chunk,
                            .max_running = config.max_running,
                            .lend_cores = config.lend_cores,
                            .prefix_cache = config.prefix_cache};
  for (const EngineDevice& device : config.devices) {
    scheduler.devices.push_back({.id = device.id,
                                 .role = device.role,
                                 .pool = PoolId(device.arena),
                                 .max_rows = device.runner->max_rows()});
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
  if (config.max_queued == 0) return invalid("max_queued must not be 0");
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
  BRAID_RETURN_IF_ERROR(CheckConfig(config));
  BRAID_RETURN_IF_ERROR(Scheduler::Validate(SchedulerConfigOf(config)));
  std::unique_ptr<EngineLoop> loop(new EngineLoop(std::move(config)));
  BRAID_RETURN_IF_ERROR(loop->RegisterPools());
  return loop;
}

EngineLoop::EngineLoop(EngineConfig config)
    : config_(std::move(config)),
      mailbox_(config_.devices.size(), config_.max_queued),
      transport_(config_.make_transport([this] { mailbox_.Wake(); })),
      scheduler_(std::make_unique<Scheduler>(SchedulerConfigOf(config_))),
      handoff_(std::make_unique<KvHandoff>(transport_.get(),
                                           config_.arenas[0]->layout())) {
  for (EngineDevice& device : config_.devices) {
    stats_.devices.push_back({.name = device.name});
    slots_.push_back({.device = std::move(device)});
  }
  for (size_t i = 0; i < slots_.size(); ++i) launch_order_.push_back(i);
  std::stable_partition(launch_order_.begin(), launch_order_.end(),
                        [this](size_t i) {
                          return slots_[i].device.role == DeviceRole::kDecode;
                        });
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

absl::StatusOr<RequestId> EngineLoop::Submit(GenerateRequest request,
                                             std::shared_ptr<TokenSink> sink) {
  const bool scores = request.prompt_logprobs >= 0;
  if (request.max_tokens == 0 && !scores) {
    return mailbox_.Refuse(absl::InvalidArgumentError(
        "max_tokens 0 is only for requests that score their prompt"));
  }
  const auto size = request.prompt.size();
  if (size + (request.max_tokens > 0 ? 1 : 0) > config_.max_context) {
    return mailbox_.Refuse(absl::InvalidArgumentError(
        absl::StrCat("the prompt has ", size,
                     " tokens, which leaves no room for an answer: the "
                     "context holds ",
                     config_.max_context)));
  }
  // What the context cannot hold is not asked for: it ends with kLength.
  request.max_tokens = std::min(
      request.max_tokens, config_.max_context - static_cast<uint32_t>(size));
  if (absl::Status fits = scheduler_->CheckSize(size, request.max_tokens);
      !fits.ok()) {
    return mailbox_.Refuse(std::move(fits));
  }
  for (TokenId token : request.prompt) {
    if (token < 0 || token >= config_.tokenizer->vocabulary()) {
      return mailbox_.Refuse(absl::InvalidArgumentError(
          absl::StrCat("token ", token, " is not in the vocabulary of ",
                       config_.tokenizer->vocabulary())));
    }
  }
  return mailbox_.Submit(std::move(request), std::move(sink),
                         config_.clock->Now());
}

bool EngineLoop::Drain(Duration timeout) {
  mailbox_.Close();
  return mailbox_.WaitUntilEmpty(timeout);
}

bool EngineLoop::RunOnce(TimePoint now) {
  bool active = mailbox_.Drain(mail_);
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
  refused_.clear();
  scheduler_->TakeRefused(now, refused_);
  for (const Refusal& refusal : refused_) {
    scheduler_->Finish(refusal.request);
    Refuse(refusal, now);
  }
  active |= !refused_.empty();
  active |= LaunchIdle(now);
  mailbox_.Settle(std::exchange(left_queue_, 0), std::exchange(ended_, 0));
  stats_changed_ |= active;
  PublishStats(now, /*idle=*/!active);
  return active;
}

TimePoint EngineLoop::NextDeadline() const {
  return deadlines_.empty() ? kNever : deadlines_.begin()->first;
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
                     .arrival = submission.received};
  if (request.deadline != kNever) deadlines_.emplace(request.deadline, id);
  stats_.prompt_tokens += input.prompt.size();
  records_.emplace(id, std::make_unique<RequestRecord>(
                           id, std::move(request), std::move(submission.sink),
                           config_.tokenizer, submission.received));
  if (const auto refusal = scheduler_->Offer(std::move(input), now)) {
    Refuse(*refusal, now);
    return;
  }
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

bool EngineLoop::TakeHandoffs(TimePoint now) {
  handoff_->Poll(handoff_events_);
  // A transfer can be complete before the report that its step is: it waits.
  return std::erase_if(handoff_events_, [&](const HandoffEvent& event) {
           const Request* request = scheduler_->Find(event.request);
           if (request == nullptr) return true;
           if (!event.status.ok()) {
             scheduler_->FailTransfer(event.request, now);
           } else if (request->state == RequestState::kTransferring) {
             scheduler_->CompleteTransfer(event.request, now);
             Record(event.request)->HandedOver();
             ++stats_.requests_split;
           } else {
             return false;
           }
           if (request->state == RequestState::kDecoding) {
             Record(event.request)->DecodeJoined(now);
           }
           return true;
         }) > 0;
}

// The scheduler knows nothing of it (any more).
void EngineLoop::Refuse(const Refusal& refusal, TimePoint now) {
  const auto it = records_.find(refusal.request);
  const std::unique_ptr<RequestRecord> record = std::move(it->second);
  records_.erase(it);
  if (record->deadline() != kNever) {
    deadlines_.erase({record->deadline(), record->id()});
  }
  ++left_queue_;
  ++ended_;
  const bool late = refusal.reason == RefusalReason::kTooLate;
  const std::string why =
      absl::StrCat("refused (", ToString(refusal.reason), "), retry in ",
                   refusal.retry_after, " s");
  CountFinished(record->Finish(
      {.reason = late ? FinishReason::kDeadline : FinishReason::kFailed,
       .status = late ? absl::DeadlineExceededError(why)
                      : absl::ResourceExhaustedError(why)},
      now));
}

void EngineLoop::End(RequestId id, FinishReason reason, absl::Status status,
                     TimePoint now) {
  const auto it = records_.find(id);
  if (it == records_.end()) return;  // Has ended already.
  std::unique_ptr<RequestRecord> record = std::move(it->second);
  records_.erase(it);
  if (record->deadline() != kNever) deadlines_.erase({record->deadline(), id});

  const Request& request = *scheduler_->Find(id);
  const bool in_flight = request.in_flight;
  const DeviceId device = request.state == RequestState::kPrefilling
                              ? request.prefill_device
                              : request.decode_device;
  Outcome outcome{.reason = reason,
                  .status = std::move(status),
                  .prompt_tokens = request.prompt_size,
                  .cached_tokens = request.cached};
  if (request.state == RequestState::kWaiting) ++left_queue_;
  ++ended_;
  handoff_->Abandon(id);
  scheduler_->Finish(id);
  CountFinished(record->Finish(std::move(outcome), now));
  if (in_flight) SlotOf(device).retired.push_back(std::move(record));
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
