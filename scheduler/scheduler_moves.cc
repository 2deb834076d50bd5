// How a request moves between the books: from its prompt to its answer, by a
// hand-over, back to the queue, and to its end.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "scheduler/owing.h"
#include "scheduler/scheduler.h"

namespace braid {

void Scheduler::StartPrefill(Request& request, DeviceState& device) {
  device.prefill_left +=
      PromptWork::Of(request.computed, request.prefill_size, request.gang);
  const auto behind = std::ranges::upper_bound(device.prefilling, request.key,
                                               {}, &Request::key);
  device.prefilling.insert(behind, &request);
}

void Scheduler::StopPrefill(Request& request) {
  DeviceState& device = state_.Device(request.prefill_device);
  device.prefill_left -=
      PromptWork::Of(request.computed, request.prefill_size, request.gang);
  device.prefilling.erase(std::ranges::find(device.prefilling, &request));
}

void Scheduler::EndPrefill(Request& request) {
  request.prefill_ended = state_.now;
  if (request.handed_over() && request.transfer_failed) {
    Recompute(request);
    return;
  }
  StopPrefill(request);
  if (request.handed_over()) {
    state_.MoveTo(request, RequestState::kTransferring);
    ++state_.Device(request.decode_device).transferring;
  } else {
    JoinDecode(request);
  }
}

void Scheduler::JoinDecode(Request& request) {
  state_.MoveTo(request, RequestState::kDecoding);
  DeviceState& device = state_.Device(request.decode_device);
  std::vector<DecodeRow>& batch = device.decoding;
  request.place_in_batch = static_cast<uint32_t>(batch.size());
  batch.push_back({.request = request.id,
                   .slot = request.slot,
                   .computed = request.computed,
                   .due = state_.DueOf(request, request.prefill_ended),
                   .may_stand_aside = MayStandAside(state_.config, request),
                   .pace_mark = device.pace_lost});
  if (request.elastic()) ++device.elastic;
  best_of_.Open(request);
}

void Scheduler::CompleteTransfer(RequestId id, TimePoint now) {
  state_.now = now;
  Request& request = *state_.requests.Find(id);
  BRAID_CHECK(request.state == RequestState::kTransferring);
  --state_.Device(request.decode_device).transferring;
  if (request.landing.pool() != nullptr) {
    const uint32_t known = request.landing_cached * state_.config.block_tokens;
    state_.LinkOf(request.blocks.pool()->id(), request.landing.pool()->id())
        .time.Observe(
            request.prefill_size - std::min(request.prefill_size, known),
            ToSeconds(now - request.prefill_ended));
    request.landing.UseUpTo(state_.BlocksFor(request.computed));
    request.blocks = std::move(request.landing);
    request.landing = BlockTable();
    Publish(request);
  }
  JoinDecode(request);
}

void Scheduler::FailTransfer(RequestId id, TimePoint now) {
  state_.now = now;
  Request& request = *state_.requests.Find(id);
  request.transfer_failed = true;
  // In kPrefilling its first token is still to come, and comes as it would
  // have; then the prompt is computed again.
  if (request.state == RequestState::kTransferring) {
    --state_.Device(request.decode_device).transferring;
    Recompute(request);
  } else {
    BRAID_CHECK(request.state == RequestState::kPrefilling);
  }
}

// What the decode device lacks is computed there, from the tokens: the prompt,
// and the one that prefill has drawn.
void Scheduler::Recompute(Request& request) {
  if (request.state == RequestState::kPrefilling) StopPrefill(request);
  if (request.landing.pool() == nullptr) {
    // One pool: the hand-over was to move nothing, so nothing is missing.
    JoinDecode(request);
    return;
  }
  request.blocks = std::move(request.landing);
  request.landing = BlockTable();
  request.computed = request.landing_cached * state_.config.block_tokens;
  request.prefill_device = request.decode_device;
  request.prefill_size = request.size();
  if (request.state != RequestState::kPrefilling) {
    state_.MoveTo(request, RequestState::kPrefilling);
  }
  StartPrefill(request, state_.Device(request.decode_device));
}

// Its blocks go back now, or, when a step is in flight on them, with its
// Commit.
void Scheduler::Requeue(Request& request) {
  request.displaced = request.in_flight;
  if (request.in_flight) return;
  best_of_.Close(request);
  Unlist(request);
  state_.MoveTo(request, RequestState::kWaiting);
  request.blocks = BlockTable();
  request.landing = BlockTable();
  request.landing_cached = 0;
  request.computed = 0;
  if (request.elastic()) request.streams.clear();
  for (RequestStream& stream : request.streams) {
    stream.blocks = BlockTable();
    stream.computed = 0;
  }
  request.transfer_failed = false;
  waiting_.Restore(request);
}

void Scheduler::Finish(RequestId id, uint32_t chosen) {
  Request* found = state_.requests.Find(id);
  BRAID_CHECK(found != nullptr);
  Request& request = *found;
  if (chosen > 0) best_of_.Publish(request, request.candidates[chosen - 1]);
  best_of_.Close(request);
  if (request.state == RequestState::kLingering) {
    // All else was done when its own answer was complete.
  } else if (request.state != RequestState::kWaiting) {
    Unlist(request);
    NoteAnswer(request);
  } else if (request.refused) {
    waiting_.ForgetRefused(id);
  } else {
    waiting_.Leave(request, /*served=*/false);
  }
  state_.MoveTo(request, RequestState::kFinished);
  state_.requests.Forget(id);
  if (!request.in_flight) state_.requests.Free(request.slot);
}

void Scheduler::Linger(RequestId id, TimePoint now) {
  state_.now = now;
  Request& request = *state_.requests.Find(id);
  BRAID_CHECK(request.state == RequestState::kDecoding && !request.in_flight);
  BRAID_CHECK(!request.candidates.empty());
  Unlist(request);
  NoteAnswer(request);
  state_.MoveTo(request, RequestState::kLingering);
  // Its candidates share what they need of it.
  request.blocks = BlockTable();
  state_.Device(request.decode_device).lingering.push_back(&request);
}

// It is over: what answers of its class are like.
void Scheduler::NoteAnswer(const Request& request) {
  if (request.output().empty()) return;
  roles_.demand().FinishAnswer();
  state_.answers.Observe(request);
}

// Takes the request off the lists and sums that running it put it on.
void Scheduler::Unlist(Request& request) {
  if (request.elastic()) catch_ups_.GiveUpAllOf(request);
  DeviceState& decode = state_.Device(request.decode_device);
  --decode.bound;
  decode.bound_streams -= request.gang - 1;
  decode.bound_tokens -= uint64_t{request.gang} * request.size();
  state_.stream_stats.active -= request.answered - 1;
  request.answered = 1;
  decode.bound_max_output -= request.max_output;
  --decode.bound_by_class[request.service_class];
  switch (request.state) {
    case RequestState::kPrefilling:
      StopPrefill(request);
      break;
    case RequestState::kTransferring:
      --decode.transferring;
      break;
    case RequestState::kDecoding: {
      // The last one takes its place.
      std::vector<DecodeRow>& batch = decode.decoding;
      decode.Forgive(batch[request.place_in_batch]);
      batch[request.place_in_batch] = batch.back();
      state_.requests.at(batch.back().slot).place_in_batch =
          request.place_in_batch;
      batch.pop_back();
      if (request.elastic()) streams_.Close(request);
      break;
    }
    default:
      BRAID_CHECK_MSG(false, "it does not run");
  }
}

// Nothing is published before its KV is complete, and no table changes under a
// step in flight: this runs in Commit and after a transfer's end only.
void Scheduler::Publish(Request& request) {
  if (!state_.config.prefix_cache) return;
  const std::span computed = std::span(request.tokens).first(request.computed);
  request.keys.Extend(computed);
  state_.PoolOf(request.blocks)
      .index()
      .Publish(request.keys, computed, request.blocks);
}

}  // namespace braid
