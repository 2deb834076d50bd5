#include "simulator/gpu/closed_loop_clients.h"

#include <algorithm>
#include <cmath>

namespace braid::gpu {

ClosedLoopClients::ClosedLoopClients(const ClosedLoop& loop,
                                     const EngineHabits& habits, uint64_t seed)
    : loop_(loop),
      habits_(habits),
      wanted_(size_t{loop.clients} * loop.rounds),
      length_rng_(seed),
      jitter_rng_(~seed) {}

uint32_t ClosedLoopClients::Length(uint32_t longest, double shortest) {
  const double share = shortest + length_rng_.Uniform() * (1 - shortest);
  return std::max(1u, static_cast<uint32_t>(std::lround(longest * share)));
}

double ClosedLoopClients::FrontEnd(double sent) {
  front_end_busy_until_ =
      std::max(front_end_busy_until_, sent) + habits_.request_spacing;
  const double share =
      1 + habits_.request_jitter * (2 * jitter_rng_.Uniform() - 1);
  return front_end_busy_until_ +
         habits_.request_overhead * std::max(0.0, share);
}

std::optional<double> ClosedLoopClients::Send(double now) {
  if (sent_ == wanted_) return std::nullopt;
  ++sent_;
  LoopRequest request;
  request.prompt = Length(loop_.prompt_tokens, loop_.shortest_prompt);
  request.answer = Length(loop_.answer_tokens, loop_.shortest_answer);
  request.sent = now;
  request.queued = FrontEnd(now);
  auto at = waiting_.end();
  while (at != waiting_.begin() && std::prev(at)->queued > request.queued) --at;
  waiting_.insert(at, request);
  return request.queued;
}

void ClosedLoopClients::Ended(const LoopRequest& request, double now) {
  ++ended_;
  ttft_ += std::min(request.seen, now) - request.sent;
  if (request.answer > 1) {
    ++answers_;
    tpot_ += (now - request.first_token) / (request.answer - 1);
  }
  if (request.waited) ++waited_;
}

LoopResult ClosedLoopClients::Result() const {
  const auto mean = [](double sum, size_t of) {
    return of == 0 ? 0 : sum / static_cast<double>(of);
  };
  return {mean(ttft_, ended_), mean(tpot_, answers_),
          mean(static_cast<double>(waited_), ended_)};
}

uint64_t KvReservation::Needs(const LoopRequest& request) const {
  return request.prompt + static_cast<uint64_t>(std::llround(
                              request.answer * habits_.reserved_answer));
}

bool KvReservation::Take(LoopRequest& request) {
  const uint64_t need = Needs(request);
  if (reserved_ > 0 && reserved_ + need > capacity_) {
    request.waited = true;
    return false;
  }
  reserved_ += need;
  return true;
}

void KvReservation::Give(const LoopRequest& request) {
  reserved_ -= std::min(reserved_, Needs(request));
}

}  // namespace braid::gpu
