// EngineLoop's part that runs steps: plans into batches, results into tokens.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "engine/engine_loop.h"

namespace braid {

bool EngineLoop::LaunchIdle(TimePoint now) {
  bool any = false;
  for (size_t i : launch_order_) {
    Slot& slot = slots_[i];
    if (!scheduler_->available(slot.device.id)) continue;
    slot.plan = scheduler_->Plan(slot.device.id, now, std::move(slot.plan));
    if (slot.plan.empty()) continue;
    // Before their blocks are anybody else's.
    for (const Preemption& preemption : slot.plan.preempted) {
      ForgetHandoff(preemption.request);
    }
    scheduler_->Apply(slot.plan, now);
    NotePreemptions(slot.plan, now);
    NoteAdmissions(slot.plan, now);
    if (!slot.plan.rows.empty()) Launch(i, now);
    any = true;
  }
  return any;
}

// Who came while steps run waits for no more of them than their own rows.
void EngineLoop::AskToShed() {
  for (Slot& slot : slots_) {
    if (slot.running && scheduler_->WantsShed(slot.plan)) {
      slot.device.runner->ShedStreams();
    }
  }
}

void EngineLoop::NotePreemptions(const StepPlan& plan, TimePoint now) {
  for (const Preemption& preemption : plan.preempted) {
    RequestRecord& record = *Record(preemption.request);
    record.Preempted();
    record.DropScores();
    ++stats_.classes[record.service_class()].preempted;
    Track(*scheduler_->Find(preemption.request), record, now);
  }
}

void EngineLoop::NoteAdmissions(const StepPlan& plan, TimePoint now) {
  for (const Admission& admission : plan.admissions) {
    const Request& request = *scheduler_->Find(admission.request);
    RequestRecord& record = *Record(request.id);
    if (!record.admitted()) stats_.cached_tokens += request.cached;
    stats_.requests_bypassed +=
        admission.reason == PlacementReason::kBypassFaster;
    record.Admitted({.prefill = SlotOf(admission.prefill).device.name,
                     .decode = SlotOf(admission.decode).device.name,
                     .reason = ToString(admission.reason)},
                    request.cached);
    Track(request, record, now);
    if (!request.handed_over()) continue;
    const absl::Status opened = handoff_->Open(
        request, scheduler_->pool(scheduler_->pool_of(admission.prefill)),
        scheduler_->pool(scheduler_->pool_of(admission.decode)));
    if (!opened.ok()) scheduler_->FailTransfer(request.id, now);
  }
}

void EngineLoop::Launch(size_t index, TimePoint now) {
  Slot& slot = slots_[index];
  ForwardBatch& batch = slot.batch;
  batch.sequences.clear();
  batch.lent = slot.plan.lent;
  batch.progress_layers = 0;
  const std::span<const TokenId> end_of_generation =
      config_.tokenizer->spec().end_of_generation;
  for (const PlannedRows& rows : slot.plan.rows) {
    if (rows.kind == RowKind::kCatchUp) {
      AddCatchUp(rows, batch);
      continue;
    }
    const Request& request = *scheduler_->Find(rows.request);
    RequestRecord& record = *Record(rows.request);
    Track(request, record, now);
    const BestOfCandidate* one = rows.kind == RowKind::kCandidate
                                     ? &request.candidates[rows.stream - 1]
                                     : nullptr;
    const std::span<const TokenId> tokens =
        one != nullptr ? one->tokens : request.tokens;
    const uint32_t end = rows.first + rows.count;
    SequenceRows& sequence = batch.sequences.emplace_back();
    sequence.tokens = tokens.subspan(rows.first, rows.count);
    sequence.start = rows.first;
    sequence.may_shed = slot.plan.gives_way;
    const size_t blocks = config_.arenas[0]->layout().BlocksFor(end);
    sequence.blocks =
        (one != nullptr ? one->blocks.blocks() : request.blocks_of(rows.stream))
            .first(blocks);
    if (one == nullptr && (rows.stream > 0 || rows.gang > 1)) {
      sequence.set = request.set->id;
      sequence.stream = rows.stream;
      sequence.gang = rows.gang;
      if (rows.stream > 0) {
        sequence.stream0_blocks = request.blocks_of(0).first(blocks);
        sequence.may_shed |= request.elastic();
      }
    }
    if (rows.draws) {
      sequence.sampling = &record.sampling_of(rows.stream);
      sequence.context = {.prompt = tokens.first(request.prompt_size),
                          .output = tokens.subspan(request.prompt_size),
                          .position = tokens.size(),
                          .end_of_generation = end_of_generation};
    }
    // A prompt that is computed again has been scored already.
    if (record.prompt_logprobs() >= 0 && rows.kind == RowKind::kChunk &&
        rows.stream == 0 && request.output().empty()) {
      sequence.score_top_logprobs = record.prompt_logprobs();
      const uint32_t targets_end = std::min(end + 1, request.prompt_size);
      sequence.score_targets =
          tokens.subspan(rows.first + 1, targets_end - (rows.first + 1));
    }
    if (rows.kind == RowKind::kChunk && rows.draws &&
        handoff_->streams(request.id)) {
      batch.progress_layers = config_.progress_layers;
    }
  }
  slot.running = true;
  slot.launched = now;
  const auto device = static_cast<uint32_t>(index);
  slot.device.runner->Launch(
      batch, {.on_progress =
                  [this, device](uint32_t layers) {
                    mailbox_.ReportProgress(device, layers);
                  },
              .on_done =
                  [this, device](ForwardResult result) {
                    mailbox_.ReportDone(device, std::move(result));
                  }});
}

// Of a stream whose request is elsewhere, and may end while the step runs.
void EngineLoop::AddCatchUp(const PlannedRows& rows, ForwardBatch& batch) {
  const Request& request = *scheduler_->Find(rows.request);
  const StreamCatchUp& one =
      *scheduler_->FindCatchUp(request.streams[rows.stream - 1].catch_up);
  const size_t blocks =
      config_.arenas[0]->layout().BlocksFor(rows.first + rows.count);
  batch.sequences.push_back(
      {.tokens = std::span(one.tokens).subspan(rows.first, rows.count),
       .start = rows.first,
       .blocks = one.blocks.blocks().first(blocks),
       .set = request.set->id,
       .stream = rows.stream,
       .may_shed = true});
}

void EngineLoop::StreamLayers(const Slot& slot, uint32_t layers) {
  for (const PlannedRows& rows : slot.plan.rows) {
    if (rows.kind != RowKind::kChunk || !rows.draws) continue;
    const Request* request = scheduler_->Find(rows.request);
    if (request != nullptr) handoff_->Progress(*request, layers);
  }
}

void EngineLoop::FinishStep(size_t index, ForwardResult result, TimePoint now) {
  Slot& slot = slots_[index];
  BRAID_CHECK(slot.running);
  slot.running = false;
  const double seconds = ToSeconds(now - slot.launched);
  CountStep(index, result, now);
  if (!result.status.ok()) {
    scheduler_->Commit(slot.plan, {}, seconds, now);
    FailStep(slot, result.status, now);
    slot.retired.clear();
    return;
  }
  outages_.DeviceWorked(slot.device.id);
  BRAID_CHECK(result.sequences.size() == slot.plan.rows.size());
  drawn_.clear();
  for (size_t i = 0; i < slot.plan.rows.size(); ++i) {
    const PlannedRows& rows = slot.plan.rows[i];
    const SequenceResult& sequence = result.sequences[i];
    const bool dropped = result.shed && slot.batch.sequences[i].may_shed;
    BRAID_CHECK(sequence.token.has_value() == (rows.draws && !dropped));
    drawn_.push_back(sequence.token ? std::optional(sequence.token->token)
                                    : std::nullopt);
    const Request* request = scheduler_->Find(rows.request);
    if (request != nullptr && rows.kind == RowKind::kChunk &&
        rows.stream == 0) {
      handoff_->ChunkDone(*request, rows.first + rows.count);
    }
  }
  scheduler_->Commit(slot.plan, drawn_, seconds, now, result.shed);
  for (size_t i = 0; i < slot.plan.rows.size(); ++i) {
    const PlannedRows& rows = slot.plan.rows[i];
    if (rows.kind == RowKind::kCandidate) {
      FinishCandidate(rows, result.sequences[i], now);
    } else if (rows.stream == 0) {
      FinishRows(rows, result.sequences[i], result.shed, now);
    }
  }
  slot.retired.clear();
}

// After Commit. UNAVAILABLE is the device's trouble, everything else the
// step's.
void EngineLoop::FailStep(Slot& slot, const absl::Status& why, TimePoint now) {
  if (absl::IsUnavailable(why)) {
    // Some had lost their decode device while the step ran, and are in the
    // queue since it was committed.
    for (const PlannedRows& rows : slot.plan.rows) {
      const Request* request = scheduler_->Find(rows.request);
      if (request != nullptr && request->state == RequestState::kWaiting) {
        Record(rows.request)->DropScores();
      }
    }
    LoseDevice(slot, why, now);
    return;
  }
  for (const PlannedRows& rows : slot.plan.rows) {
    if (rows.stream > 0) continue;
    End(rows.request, FinishReason::kFailed, why, now);
  }
}

// After Commit: what the step means for one of its requests.
void EngineLoop::FinishRows(const PlannedRows& rows, SequenceResult& result,
                            bool shed, TimePoint now) {
  const Request* request = scheduler_->Find(rows.request);
  if (request == nullptr) return;  // Ended while the step ran.
  RequestRecord& record = *Record(rows.request);
  Track(*request, record, now);
  // Not of one that goes back to the queue.
  const bool prefill_ended =
      rows.kind == RowKind::kChunk &&
      (rows.draws || request->state == RequestState::kTransferring ||
       request->state == RequestState::kDecoding);
  if (!result.scores.empty()) record.AddScores(std::move(result.scores));
  if (prefill_ended && record.prompt_logprobs() >= 0) record.SendScores();
  if (request->state == RequestState::kWaiting) record.DropScores();
  if (!result.token) {
    if (prefill_ended) {
      End(rows.request, FinishReason::kLength, absl::OkStatus(), now);
    }
    return;
  }
  CountToken(record, now);
  const uint32_t streams = shed && request->elastic() ? 1 : rows.gang;
  const std::optional<FinishReason> finish =
      record.Accept(*std::move(result.token), streams, now);
  if (!finish) return;
  if (*finish == FinishReason::kCancelled) {
    ++stats_.slow_readers;
    End(rows.request, *finish,
        absl::CancelledError("the reader is too slow: its buffer is full"),
        now);
  } else {
    EndFirst(rows.request, *finish, now);
  }
}

}  // namespace braid
