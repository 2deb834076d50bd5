// EngineLoop's part that ends best-of-n: when the request's own answer is
// complete, and when its candidates are, or are not waited for any longer.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "engine/engine_loop.h"

namespace braid {
namespace {

// Of the time that its own answer took from the first token on, that a request
// waits for its candidates; and of the time that is left to its deadline. They
// began a step later and have idle rows only, but as long as its own answer
// they are not likely to be much longer.
constexpr int kLingerPart = 2;

}  // namespace

// The first answer is complete. Ends the request, unless there are candidates
// to wait for.
void EngineLoop::EndFirst(RequestId id, FinishReason reason, TimePoint now) {
  const Request& request = *scheduler_->Find(id);
  if (request.state != RequestState::kDecoding ||
      !request.waits_for_candidates()) {
    End(id, reason, absl::OkStatus(), now);
    return;
  }
  RequestRecord& record = *Record(id);
  TimePoint until = now + (now - record.first_token()) / kLingerPart;
  if (record.deadline() != kNever) {
    until = std::min(until, now + (record.deadline() - now) / kLingerPart);
    // It has its answer: the deadline ends it no more.
    deadlines_.erase({record.deadline(), id});
  }
  scheduler_->Linger(id, now);
  record.Linger(reason, until);
  lingering_.emplace(until, id);
}

// Before the turn plans, so that nobody's rows are planned in vain.
bool EngineLoop::EndLingering(TimePoint now) {
  if (lingering_.empty()) return false;
  std::vector<RequestId> over;
  for (const auto& [until, id] : lingering_) {
    if (until <= now || !scheduler_->Find(id)->waits_for_candidates()) {
      over.push_back(id);
    }
  }
  for (RequestId id : over) EndWithAnswer(id, now);
  return !over.empty();
}

// With what is complete by now.
void EngineLoop::EndWithAnswer(RequestId id, TimePoint now) {
  End(id, *Record(id)->lingers_with(), absl::OkStatus(), now);
}

// A further candidate has drawn a token.
void EngineLoop::FinishCandidate(const PlannedRows& rows,
                                 SequenceResult& result, TimePoint now) {
  const Request* request = scheduler_->Find(rows.request);
  if (request == nullptr) return;  // Ended while the step ran.
  RequestRecord& record = *Record(rows.request);
  Track(*request, record, now);
  if (result.token &&
      record.AcceptCandidate(rows.stream, *std::move(result.token))) {
    scheduler_->CompleteCandidate(rows.request, rows.stream,
                                  record.Leads(rows.stream));
  }
}

void EngineLoop::CountBestOf(const BestOfReport& report) {
  // The first is not counted: it is the request.
  const bool answered = report.self_certainty[0].has_value();
  const uint32_t first = answered ? 1 : 0;
  stats_.best_of.requests += answered;
  stats_.best_of.started += report.started - first;
  stats_.best_of.completed += report.complete - first;
  stats_.best_of.dropped += report.started - report.complete;
  stats_.best_of.chosen += report.chosen > 0;
}

}  // namespace braid
