// Everything that the books say, counted again.
#include <algorithm>
#include <array>
#include <vector>

#include "base/check.h"
#include "scheduler/owing.h"
#include "scheduler/scheduler.h"

namespace braid {
namespace {

// A gang is in lock-step, and its credit is complete. Elastic streams have no
// credit: what they hold, they use.
void CheckStreams(const SchedulerState& state, const Request& request) {
  const bool decodes = request.state == RequestState::kDecoding;
  const uint32_t most = request.elastic() ? request.most_streams() : 1;
  BRAID_CHECK(request.streams.size() ==
              (request.elastic() ? most - 1 : request.gang - 1));
  BRAID_CHECK(request.answered == 1 || request.set != nullptr);
  BRAID_CHECK(request.gang == 1 || !request.handed_over());
  for (const RequestStream& stream : request.streams) {
    const BlockTable& table = stream.blocks;
    BRAID_CHECK(!stream.in_flight || request.in_flight);
    if (request.gang > 1) {
      BRAID_CHECK(stream.computed == request.computed);
      BRAID_CHECK(table.blocks().size() == request.blocks.blocks().size());
      BRAID_CHECK(table.used() == request.blocks.used());
      continue;
    }
    BRAID_CHECK(stream.computed <= request.computed);
    BRAID_CHECK(table.reserved() == 0);
    BRAID_CHECK(decodes || table.pool() == nullptr);
    if (table.pool() == nullptr) {
      BRAID_CHECK(stream.computed == 0 && !stream.in_flight);
    } else {
      BRAID_CHECK(table.pool()->id() == state.pool_of(request.decode_device));
      BRAID_CHECK(stream.in_flight ||
                  table.used() >= state.BlocksFor(stream.computed));
    }
  }
}

void CheckWaiting(const Request& request) {
  BRAID_CHECK(request.blocks.blocks().empty());
  BRAID_CHECK(request.landing.blocks().empty());
  BRAID_CHECK(!request.in_flight && !request.displaced);
  BRAID_CHECK(!(request.refused && request.bound));
  BRAID_CHECK(request.answered == 1);
  BRAID_CHECK(request.streams.size() == request.gang - 1);
  for (const RequestStream& stream : request.streams) {
    BRAID_CHECK(stream.blocks.blocks().empty() && stream.computed == 0 &&
                !stream.in_flight);
  }
}

// The credit: all that it can need is held, here or in `landing`.
void CheckRunning(const SchedulerState& state, const Request& request) {
  const bool two = request.landing.pool() != nullptr;
  const BlockTable& credit = two ? request.landing : request.blocks;
  BRAID_CHECK(!request.bound && !request.refused);
  BRAID_CHECK(state.Device(request.decode_device).up || request.displaced);
  BRAID_CHECK(credit.pool()->id() == state.pool_of(request.decode_device));
  BRAID_CHECK(credit.blocks().size() == state.BlocksFor(request.positions()));
  BRAID_CHECK(request.blocks.used() >= state.BlocksFor(request.computed));
  const bool arrived = request.state == RequestState::kDecoding ||
                       request.prefill_device == request.decode_device;
  if (arrived) {
    BRAID_CHECK(!two);
  } else {
    BRAID_CHECK(request.blocks.pool()->id() ==
                state.pool_of(request.prefill_device));
  }
  if (two) {
    BRAID_CHECK(request.blocks.blocks().size() ==
                state.BlocksFor(request.prefill_size));
  }
  if (request.state == RequestState::kDecoding) {
    BRAID_CHECK(request.computed + (request.max_output > 0) == request.size());
  }
  CheckStreams(state, request);
}

// Candidates hold blocks while their request decodes or lingers; the first ones
// are its own while it has any.
void CheckBestOf(const SchedulerState& state, const Request& request) {
  const bool lingers = request.state == RequestState::kLingering;
  BRAID_CHECK(request.candidates.size() == request.best_of - 1);
  if (lingers) BRAID_CHECK(request.blocks.blocks().empty());
  uint32_t kept = 0;
  for (const BestOfCandidate& one : request.candidates) {
    BRAID_CHECK(!one.in_flight || (request.in_flight && one.holds()));
    if (!one.holds()) {
      BRAID_CHECK(one.computed == 0 && one.shared == 0);
      continue;
    }
    BRAID_CHECK(one.blocks.reserved() == 0);
    kept += one.complete;
    BRAID_CHECK(lingers || request.state == RequestState::kDecoding);
    BRAID_CHECK(one.blocks.pool()->id() ==
                state.pool_of(request.decode_device));
    BRAID_CHECK(one.computed < one.tokens.size() &&
                one.blocks.used() >= state.BlocksFor(one.computed));
    BRAID_CHECK(std::ranges::equal(
        request.prompt(), std::span(one.tokens).first(request.prompt_size)));
  }
  BRAID_CHECK(kept <= 1);
}

// Each is of a stream that knows it, unless it is over and a step works on it.
void CheckCatchUps(const SchedulerState& state) {
  using State = StreamCatchUp::State;
  size_t known = 0, computed = 0;
  for (const auto& one : state.catch_ups) {
    const DeviceState& own = state.Device(one->device);
    const bool computes = own.catch_up == one.get();
    computed += computes;
    BRAID_CHECK(one->blocks.pool()->id() == own.config.pool);
    BRAID_CHECK(one->blocks.used() >= state.BlocksFor(one->computed));
    BRAID_CHECK(!one->in_flight || (computes && own.running));
    if (one->state == State::kOver) {
      BRAID_CHECK(one->in_flight && one->landing.pool() == nullptr);
      continue;
    }
    ++known;
    BRAID_CHECK(own.up && computes == (one->state == State::kComputing));
    BRAID_CHECK(computes == (one->computed < one->size()));
    BRAID_CHECK((one->sending > 0) == (one->state == State::kSending));
    const Request& request = state.requests.at(one->slot);
    BRAID_CHECK(request.id == one->request &&
                request.state != RequestState::kWaiting);
    BRAID_CHECK(one->state != State::kSending ||
                request.state == RequestState::kDecoding);
    const RequestStream& stream = request.streams[one->stream - 1];
    BRAID_CHECK(stream.catch_up == one->id && !stream.in_flight);
    BRAID_CHECK(one->landing.pool()->id() ==
                state.pool_of(request.decode_device));
    BRAID_CHECK(one->landing.blocks().size() == one->blocks.blocks().size());
    BRAID_CHECK(one->landed + one->sending <= one->landing.blocks().size());
  }
  for (uint32_t slot = 0; slot < state.requests.slots(); ++slot) {
    const Request* request = state.requests.Peek(slot);
    if (request == nullptr) continue;
    for (const RequestStream& stream : request->streams) {
      known -= stream.catch_up != CatchUpId();
    }
  }
  for (const DeviceState& device : state.devices) {
    computed -= device.catch_up != nullptr;
  }
  BRAID_CHECK(known == 0 && computed == 0);
}

void CheckElasticBlocks(const SchedulerState& state) {
  size_t of_candidates = 0;
  for (const auto& pool : state.pools) {
    std::vector<uint32_t> holders(pool->blocks().capacity());
    for (uint32_t slot = 0; slot < state.requests.slots(); ++slot) {
      const Request* request = state.requests.Peek(slot);
      if (request == nullptr) continue;
      for (const BestOfCandidate& one : request->candidates) {
        if (one.blocks.pool() != &pool->blocks()) continue;
        for (BlockId block : one.own_blocks()) ++holders[block.value()];
        of_candidates += one.own_blocks().size();
      }
      if (!request->elastic()) continue;
      for (const RequestStream& stream : request->streams) {
        if (stream.blocks.pool() != &pool->blocks()) continue;
        for (BlockId block : stream.blocks.blocks()) ++holders[block.value()];
      }
    }
    for (const auto& one : state.catch_ups) {
      for (const BlockTable* table : {&one->blocks, &one->landing}) {
        if (table->pool() != &pool->blocks()) continue;
        for (BlockId block : table->blocks()) ++holders[block.value()];
      }
    }
    pool->CheckElastic(holders);
  }
  BRAID_CHECK(of_candidates == state.best_of_stats.blocks);
}

}  // namespace

void Scheduler::CheckInvariants() const {
  struct Sums {
    uint32_t bound = 0, transferring = 0, prefilling = 0, decoding = 0;
    uint32_t bound_streams = 0, elastic = 0, best_of = 0, lingering = 0;
    uint64_t bound_tokens = 0, bound_max_output = 0;
    PromptWork prefill_left;
    QueuedWork queued;
  };
  std::array<uint32_t, kRequestStateCount> counts{};
  std::vector<Sums> sums(state_.devices.size());
  std::vector<std::vector<uint32_t>> by_class(
      state_.devices.size(),
      std::vector<uint32_t>(state_.config.classes.size()));
  uint32_t unbound = 0, refused = 0, found = 0, dated = 0, active = 0;
  for (uint32_t slot = 0; slot < state_.requests.slots(); ++slot) {
    const Request* request = state_.requests.Peek(slot);
    if (request == nullptr) continue;
    BRAID_CHECK(request->slot == slot);
    if (request->state == RequestState::kFinished) {
      BRAID_CHECK(request->in_flight &&
                  state_.requests.Find(request->id) == nullptr);
      continue;
    }
    ++found;
    BRAID_CHECK(state_.requests.Find(request->id) == request);
    ++counts[static_cast<size_t>(request->state)];
    if (request->state == RequestState::kWaiting) {
      CheckWaiting(*request);
      refused += request->refused;
      unbound += !request->refused && !request->bound;
      dated += request->bound && request->deadline != kNever;
      state_.VisitQueued(*request,
                         [&](uint32_t device, const QueuedWork& work) {
                           sums[device].queued += work;
                         });
      continue;
    }
    CheckBestOf(state_, *request);
    const DeviceState& decode = state_.Device(request->decode_device);
    Sums& own = sums[decode.index];
    const bool lingers = request->state == RequestState::kLingering;
    if (lingers ||
        (request->best_of > 1 && request->state == RequestState::kDecoding)) {
      ++own.elastic;
      ++own.best_of;
    }
    own.lingering += lingers;
    if (lingers) continue;
    CheckRunning(state_, *request);
    ++own.bound;
    own.bound_streams += request->gang - 1;
    own.bound_tokens += uint64_t{request->gang} * request->size();
    active += request->answered - 1;
    own.bound_max_output += request->max_output;
    ++by_class[decode.index][request->service_class];
    own.transferring += request->state == RequestState::kTransferring;
    own.decoding += request->state == RequestState::kDecoding;
    own.elastic +=
        request->state == RequestState::kDecoding && request->elastic();
    if (request->state == RequestState::kPrefilling) {
      Sums& prefill = sums[state_.Device(request->prefill_device).index];
      ++prefill.prefilling;
      prefill.prefill_left += PromptWork::Of(
          request->computed, request->prefill_size, request->gang);
    }
  }
  BRAID_CHECK(counts == state_.counts);
  BRAID_CHECK(found == state_.requests.size());
  binder_.Check(unbound, dated);
  BRAID_CHECK(state_.queue.size() + refused == count(RequestState::kWaiting));
  BRAID_CHECK(waiting_.refused() <= refused);
  for (const DeviceState& device : state_.devices) {
    const Sums& own = sums[device.index];
    BRAID_CHECK(device.bound == own.bound &&
                device.bound_streams == own.bound_streams &&
                device.DecodeShape().rows() < device.config.max_rows);
    BRAID_CHECK(device.elastic == own.elastic);
    BRAID_CHECK(device.best_of == own.best_of);
    BRAID_CHECK(device.lingering.size() == own.lingering);
    BRAID_CHECK(device.running || device.pinned == 0);
    BRAID_CHECK(device.bound_tokens == own.bound_tokens);
    BRAID_CHECK(device.bound_max_output == own.bound_max_output);
    BRAID_CHECK(device.bound_by_class == by_class[device.index]);
    BRAID_CHECK(device.transferring == own.transferring);
    BRAID_CHECK(device.prefilling.size() == own.prefilling);
    BRAID_CHECK(device.prefill_left == own.prefill_left);
    BRAID_CHECK(device.queued == own.queued);
    BRAID_CHECK(device.decoding.size() == own.decoding);
    BRAID_CHECK(device.up ||
                (device.decoding.empty() && device.prefilling.empty() &&
                 device.queued == QueuedWork()));
    uint32_t owing = 0, aside = 0;
    for (uint32_t place = 0; place < device.decoding.size(); ++place) {
      const DecodeRow& row = device.decoding[place];
      const Request& request = state_.requests.at(row.slot);
      BRAID_CHECK(request.id == row.request && request.place_in_batch == place);
      BRAID_CHECK(request.computed == row.computed);
      BRAID_CHECK(row.may_stand_aside == MayStandAside(state_.config, request));
      owing += row.owed > 0;
      aside += row.StandsAside();
    }
    BRAID_CHECK(device.owing == owing && device.aside == aside);
  }
  BRAID_CHECK(state_.stream_stats.active == active);
  CheckCatchUps(state_);
  CheckElasticBlocks(state_);
  for (const auto& pool : state_.pools) {
    pool->blocks().CheckInvariants();
    pool->index().CheckInvariants();
  }
}

}  // namespace braid
