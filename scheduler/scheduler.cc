#include "scheduler/scheduler.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"

namespace braid {
namespace {

template <typename T>
void EraseFrom(std::vector<T*>& list, const T* item) {
  const auto it = std::ranges::find(list, item);
  if (it != list.end()) list.erase(it);
}

uint32_t BlocksFor(uint64_t tokens, uint32_t block_tokens) {
  return static_cast<uint32_t>((tokens + block_tokens - 1) / block_tokens);
}

}  // namespace

absl::Status Scheduler::Validate(const SchedulerConfig& config) {
  const auto invalid = [](auto&&... parts) {
    return absl::InvalidArgumentError(absl::StrCat(parts...));
  };
  if (config.devices.empty()) return invalid("no device is configured");
  if (config.block_tokens == 0) return invalid("block_tokens must not be 0");
  if (config.max_context == 0) return invalid("max_context must not be 0");
  if (config.prefill_chunk == 0) return invalid("prefill_chunk must not be 0");
  if (config.max_running == 0) return invalid("max_running must not be 0");
  bool prefill = false, decode = false;
  for (size_t i = 0; i < config.devices.size(); ++i) {
    const SchedulerDevice& device = config.devices[i];
    if (device.pool.value() >= config.pool_blocks.size()) {
      return invalid("device ", i, " has unknown pool ", device.pool.value());
    }
    if (device.max_rows < 2) {
      return invalid("device ", i, " must take at least 2 rows a step");
    }
    for (size_t j = 0; j < i; ++j) {
      if (config.devices[j].id == device.id) {
        return invalid("device id ", device.id.value(), " is used twice");
      }
    }
    prefill |= device.role != DeviceRole::kDecode;
    decode |= device.role != DeviceRole::kPrefill;
  }
  if (config.split == SplitMode::kOff || config.devices.size() == 1) {
    return config.split == SplitMode::kOn
               ? invalid("--split on needs two devices: one for each phase")
               : absl::OkStatus();
  }
  if (!prefill) return invalid("no device may prefill: see --devices");
  if (!decode) return invalid("no device may decode: see --devices");
  return absl::OkStatus();
}

Scheduler::Scheduler(SchedulerConfig config) : config_(std::move(config)) {
  BRAID_CHECK(Validate(config_).ok());
  for (size_t i = 0; i < config_.pool_blocks.size(); ++i) {
    pools_.push_back(std::make_unique<Pool>(PoolId(static_cast<uint32_t>(i)),
                                            config_.pool_blocks[i],
                                            config_.block_tokens));
  }
  for (const SchedulerDevice& device : config_.devices) {
    devices_.push_back({.config = device});
  }
}

Scheduler::~Scheduler() = default;

absl::Status Scheduler::CheckSize(size_t prompt_tokens,
                                  uint32_t max_output) const {
  if (prompt_tokens == 0) {
    return absl::InvalidArgumentError("the prompt has no tokens");
  }
  const uint64_t tokens = prompt_tokens + max_output;
  if (tokens > config_.max_context) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the prompt has ", prompt_tokens, " tokens and ", max_output,
        " are to follow, but the context holds ", config_.max_context));
  }
  const uint32_t blocks = BlocksFor(tokens, config_.block_tokens);
  for (size_t i = 0; i < pools_.size(); ++i) {
    if (blocks > pools_[i]->blocks.capacity()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the request needs ", blocks, " KV blocks, but a pool has only ",
          pools_[i]->blocks.capacity(),
          ": ask for fewer tokens, or serve with a larger --kv-memory"));
    }
  }
  return absl::OkStatus();
}

std::optional<Refusal> Scheduler::Offer(RequestInput input, TimePoint) {
  auto owned = std::make_unique<Request>(std::move(input));
  Request* request = owned.get();
  BRAID_CHECK(CheckSize(request->prompt_size, request->max_output).ok());
  BRAID_CHECK(requests_.emplace(request->id, std::move(owned)).second);
  request->tokens.reserve(size_t{request->prompt_size} + request->max_output);
  ++counts_[static_cast<size_t>(RequestState::kWaiting)];
  Enqueue(*request);
  return std::nullopt;
}

void Scheduler::TakeRefused(TimePoint, std::vector<Refusal>&) {}

void Scheduler::Enqueue(Request& request) {
  // Arrivals come in order, but for those that raced on the way here.
  const auto behind = std::ranges::upper_bound(
      waiting_, std::pair(request.arrival, request.id), {},
      [](const Request* r) { return std::pair(r->arrival, r->id); });
  waiting_.insert(behind, &request);
}

void Scheduler::Finish(RequestId id) {
  const auto it = requests_.find(id);
  BRAID_CHECK(it != requests_.end());
  Request& request = *it->second;
  Unlist(request);
  MoveTo(request, RequestState::kFinished);
  if (request.in_flight) {
    ended_in_flight_.emplace(id, std::move(it->second));
  }
  requests_.erase(it);
}

// Takes the request off the lists that its state put it on.
void Scheduler::Unlist(Request& request) {
  if (request.state == RequestState::kWaiting) {
    waiting_.erase(std::ranges::find(waiting_, &request));
    return;
  }
  Device& decode = device(request.decode_device);
  --decode.bound;
  switch (request.state) {
    case RequestState::kPrefilling:
      EraseFrom(device(request.prefill_device).prefilling, &request);
      break;
    case RequestState::kTransferring:
      --decode.transferring;
      break;
    case RequestState::kDecoding:
      EraseFrom(decode.decoding, &request);
      break;
    default:
      BRAID_CHECK_MSG(false, "finished twice");
  }
}

void Scheduler::MoveTo(Request& request, RequestState next) {
  --counts_[static_cast<size_t>(request.state)];
  request.MoveTo(next);
  if (next != RequestState::kFinished) ++counts_[static_cast<size_t>(next)];
}

void Scheduler::Apply(const StepPlan& plan, TimePoint) {
  BRAID_CHECK(!plan.empty());
  for (const Preemption& preemption : plan.preempted) {
    Requeue(*requests_.at(preemption.request));
  }
  if (plan.rows.empty()) return;
  Device& own = device(plan.device);
  BRAID_CHECK(!own.running && !own.lent);
  own.running = true;
  for (DeviceId id : plan.lent) {
    Device& lent = device(id);
    BRAID_CHECK(!lent.running && !lent.lent);
    lent.lent = true;
  }
  Admit(plan.admissions);
  for (const PlannedRows& rows : plan.rows) {
    Request& request = *requests_.at(rows.request);
    BRAID_CHECK(!request.in_flight && request.computed == rows.first);
    request.in_flight = true;
    request.blocks.UseUpTo(
        BlocksFor(uint64_t{rows.first} + rows.count, config_.block_tokens));
  }
}

void Scheduler::Admit(const std::vector<Admission>& admissions) {
  // All cached blocks are held before the first eviction: what one admission
  // shares must not make room for another.
  for (const Admission& admission : admissions) {
    Request& request = *requests_.at(admission.request);
    std::erase(waiting_, &request);
    MoveTo(request, RequestState::kPrefilling);
    request.prefill_size = static_cast<uint32_t>(request.tokens.size());
    request.prefill_device = admission.prefill;
    request.decode_device = admission.decode;
    request.blocks = pool(pool_of(admission.prefill)).Share(admission.shared);
    request.computed = request.cached =
        static_cast<uint32_t>(admission.shared.size()) * config_.block_tokens;
    if (admission.landing_taken > 0) {
      request.landing =
          pool(pool_of(admission.decode)).Share(admission.landing_shared);
      request.landing_cached =
          static_cast<uint32_t>(admission.landing_shared.size());
    }
    ++device(admission.decode).bound;
    device(admission.prefill).prefilling.push_back(&request);
  }
  const auto take = [&](BlockTable& table, uint32_t n) {
    if (n == 0) return;
    BRAID_CHECK(PoolOf(table).index.MakeRoom(n));
    BRAID_CHECK(PoolOf(table).blocks.Reserve(table, n));
  };
  for (const Admission& admission : admissions) {
    Request& request = *requests_.at(admission.request);
    take(request.blocks, admission.taken);
    take(request.landing, admission.landing_taken);
  }
}

void Scheduler::Commit(const StepPlan& plan,
                       std::span<const std::optional<TokenId>> drawn,
                       double seconds, TimePoint) {
  Device& own = device(plan.device);
  BRAID_CHECK(own.running);
  own.running = false;
  for (DeviceId id : plan.lent) device(id).lent = false;
  const bool failed = drawn.empty();
  BRAID_CHECK(failed || drawn.size() == plan.rows.size());
  uint32_t chunk_tokens = 0, decode_rows = 0;
  for (size_t i = 0; i < plan.rows.size(); ++i) {
    const PlannedRows& rows = plan.rows[i];
    (rows.kind == RowKind::kDecode ? decode_rows : chunk_tokens) += rows.count;
    if (const auto it = requests_.find(rows.request); it != requests_.end()) {
      it->second->in_flight = false;
      if (!failed) {
        CommitRows(*it->second, rows, drawn[i]);
      } else if (it->second->displaced) {
        Requeue(*it->second);
      }
    } else {
      BRAID_CHECK(ended_in_flight_.erase(rows.request) == 1);
    }
  }
  if (!failed) cost_.Observe(chunk_tokens, decode_rows, seconds);
}

void Scheduler::CommitRows(Request& request, const PlannedRows& rows,
                           std::optional<TokenId> drawn) {
  BRAID_CHECK(drawn.has_value() == rows.draws);
  request.computed = rows.first + rows.count;
  Publish(request);
  const bool last = request.computed == request.tokens.size();
  if (drawn) request.tokens.push_back(*drawn);
  BRAID_CHECK(request.output().size() <= request.max_output);
  if (request.displaced) {
    Requeue(request);
  } else if (rows.kind == RowKind::kChunk && last) {
    EndPrefill(request);
  }
}

void Scheduler::EndPrefill(Request& request) {
  Device& prefill = device(request.prefill_device);
  if (!request.handed_over()) {
    EraseFrom(prefill.prefilling, &request);
    JoinDecode(request);
  } else if (request.transfer_failed) {
    Recompute(request);
  } else {
    EraseFrom(prefill.prefilling, &request);
    MoveTo(request, RequestState::kTransferring);
    ++device(request.decode_device).transferring;
  }
}

void Scheduler::JoinDecode(Request& request) {
  MoveTo(request, RequestState::kDecoding);
  device(request.decode_device).decoding.push_back(&request);
}

void Scheduler::CompleteTransfer(RequestId id, TimePoint) {
  Request& request = *requests_.at(id);
  BRAID_CHECK(request.state == RequestState::kTransferring);
  --device(request.decode_device).transferring;
  if (request.landing.pool() != nullptr) {
    request.landing.UseUpTo(BlocksFor(request.computed, config_.block_tokens));
    request.blocks = std::move(request.landing);
    request.landing = BlockTable();
    Publish(request);
  }
  JoinDecode(request);
}

void Scheduler::FailTransfer(RequestId id, TimePoint) {
  Request& request = *requests_.at(id);
  request.transfer_failed = true;
  // In kPrefilling its first token is still to come, and comes as it would
  // have; then the prompt is computed again.
  if (request.state == RequestState::kTransferring) {
    --device(request.decode_device).transferring;
    Recompute(request);
  } else {
    BRAID_CHECK(request.state == RequestState::kPrefilling);
  }
}

// Its blocks go back now, or, when a step is in flight on them, with its
// Commit.
void Scheduler::Requeue(Request& request) {
  request.displaced = request.in_flight;
  if (request.in_flight) return;
  Unlist(request);
  MoveTo(request, RequestState::kWaiting);
  request.blocks = BlockTable();
  request.landing = BlockTable();
  request.landing_cached = 0;
  request.computed = 0;
  request.transfer_failed = false;
  Enqueue(request);
}

void Scheduler::LoseDevice(DeviceId id, bool memory_lost, TimePoint) {
  Device& lost = device(id);
  BRAID_CHECK(lost.up && !lost.running);
  lost.up = false;
  std::vector<Request*> displaced;
  for (const auto& [unused, request] : requests_) {
    if (request->state == RequestState::kWaiting) continue;
    if (request->decode_device == id ||
        (request->prefill_device == id &&
         (memory_lost || request->state == RequestState::kPrefilling))) {
      displaced.push_back(request.get());
    }
  }
  for (Request* request : displaced) Requeue(*request);
  const bool shared = std::ranges::any_of(devices_, [&](const Device& other) {
    return other.up && other.config.pool == lost.config.pool;
  });
  if (memory_lost && !shared) pools_[lost.config.pool.value()]->index.Clear();
}

void Scheduler::RestoreDevice(DeviceId id, TimePoint) {
  BRAID_CHECK(!device(id).up);
  device(id).up = true;
}

void Scheduler::AvoidPair(PoolId, PoolId, TimePoint) {}

// What the decode device lacks is computed there, from the tokens: the prompt,
// and the one that prefill has drawn.
void Scheduler::Recompute(Request& request) {
  if (request.state == RequestState::kPrefilling) {
    EraseFrom(device(request.prefill_device).prefilling, &request);
  }
  if (request.landing.pool() == nullptr) {
    // One pool: the hand-over was to move nothing, so nothing is missing.
    JoinDecode(request);
    return;
  }
  request.blocks = std::move(request.landing);
  request.landing = BlockTable();
  request.computed = request.landing_cached * config_.block_tokens;
  request.prefill_device = request.decode_device;
  if (request.state != RequestState::kPrefilling) {
    MoveTo(request, RequestState::kPrefilling);
  }
  device(request.decode_device).prefilling.push_back(&request);
}

// Nothing is published before its KV is complete, and no table changes under a
// step in flight: this runs in Commit and after a transfer's end only.
void Scheduler::Publish(Request& request) {
  if (!config_.prefix_cache) return;
  PoolOf(request.blocks)
      .index.Publish(request.prefix_seed,
                     std::span(request.tokens).first(request.computed),
                     request.blocks);
}

bool Scheduler::available(DeviceId id) const {
  const Device& own = device(id);
  return own.up && !own.running && !own.lent;
}

const Request* Scheduler::Find(RequestId id) const {
  const auto it = requests_.find(id);
  return it == requests_.end() ? nullptr : it->second.get();
}

PoolId Scheduler::pool_of(DeviceId id) const { return device(id).config.pool; }

bool Scheduler::one_device() const {
  return config_.split == SplitMode::kOff || devices_.size() == 1;
}

bool Scheduler::MayPrefill(const Device& device) {
  return device.config.role != DeviceRole::kDecode;
}

bool Scheduler::MayDecode(const Device& device) {
  return device.config.role != DeviceRole::kPrefill;
}

Scheduler::Device& Scheduler::device(DeviceId id) {
  return const_cast<Device&>(std::as_const(*this).device(id));
}

const Scheduler::Device& Scheduler::device(DeviceId id) const {
  const auto it = std::ranges::find(
      devices_, id, [](const Device& device) { return device.config.id; });
  BRAID_CHECK(it != devices_.end());
  return *it;
}

Scheduler::Pool& Scheduler::PoolOf(const BlockTable& table) {
  return *pools_[table.pool()->id().value()];
}

void Scheduler::CheckInvariants() const {
  std::array<uint32_t, kRequestStateCount> counts{};
  std::vector<uint32_t> bound(devices_.size()), sending(devices_.size());
  for (const auto& [id, request] : requests_) {
    BRAID_CHECK(id == request->id);
    BRAID_CHECK(request->state != RequestState::kFinished);
    ++counts[static_cast<size_t>(request->state)];
    if (request->state == RequestState::kWaiting) {
      BRAID_CHECK(request->blocks.blocks().empty());
      continue;
    }
    const Device& decode = device(request->decode_device);
    const size_t index = &decode - devices_.data();
    ++bound[index];
    if (request->state == RequestState::kTransferring) ++sending[index];
    // The credit: all that it can need is held, here or in `landing`.
    const BlockTable& credit =
        request->landing.pool() != nullptr ? request->landing : request->blocks;
    BRAID_CHECK(credit.pool()->id() == decode.config.pool);
    BRAID_CHECK(credit.blocks().size() ==
                BlocksFor(request->positions(), config_.block_tokens));
    BRAID_CHECK(request->blocks.used() >=
                BlocksFor(request->computed, config_.block_tokens));
    if (request->state == RequestState::kDecoding) {
      BRAID_CHECK(request->landing.pool() == nullptr);
      BRAID_CHECK(request->computed + (request->max_output > 0) ==
                  request->tokens.size());
    }
  }
  BRAID_CHECK(counts == counts_);
  BRAID_CHECK(waiting_.size() == count(RequestState::kWaiting));
  size_t prefilling = 0, decoding = 0;
  for (size_t i = 0; i < devices_.size(); ++i) {
    BRAID_CHECK(devices_[i].bound == bound[i]);
    BRAID_CHECK(devices_[i].transferring == sending[i]);
    prefilling += devices_[i].prefilling.size();
    decoding += devices_[i].decoding.size();
  }
  BRAID_CHECK(prefilling == count(RequestState::kPrefilling));
  BRAID_CHECK(decoding == count(RequestState::kDecoding));
  for (const auto& pool : pools_) {
    pool->blocks.CheckInvariants();
    pool->index.CheckInvariants();
  }
}

}  // namespace braid
