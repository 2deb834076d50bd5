// The clients of a closed loop as the workers see them: requests that arrive at
// an engine's front end and wait, and what was measured when they have ended.
//
// Thread safety: none; one simulated test, one thread.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

#include "base/rng.h"
#include "simulator/gpu/closed_loop.h"

namespace braid::gpu {

// Times in seconds since the test began, lengths in tokens.
struct LoopRequest {
  double sent = 0, queued = 0;
  double first_token = 0, seen = 0;  // computed; in the client's hands
  uint32_t prompt = 0, answer = 0;
  uint32_t computed = 0;  // of the prompt
  bool waited = false;    // for memory
};

class ClosedLoopClients final {
 public:
  // Both outlive this.
  ClosedLoopClients(const ClosedLoop& loop, const EngineHabits& habits,
                    uint64_t seed);

  // A client whose last answer ended at `now` sends its next request: returns
  // when that is queued, nullopt when all requests of the test were sent.
  std::optional<double> Send(double now);
  // In the order of LoopRequest::queued, some of it still to come.
  std::deque<LoopRequest>& waiting() { return waiting_; }

  void Ended(const LoopRequest& request, double now);
  bool done() const { return ended_ == wanted_; }
  LoopResult Result() const;

 private:
  uint32_t Length(uint32_t longest, double shortest);
  // What a request passes before it is queued: one takes them one after the
  // other, then each goes its own way.
  double FrontEnd(double sent);

  const ClosedLoop& loop_;
  const EngineHabits& habits_;
  const size_t wanted_;
  Rng length_rng_, jitter_rng_;
  size_t sent_ = 0;
  std::deque<LoopRequest> waiting_;
  double front_end_busy_until_ = 0;
  // Of what has ended; answers are those with a token after the first.
  size_t ended_ = 0, answers_ = 0, waited_ = 0;
  double ttft_ = 0, tpot_ = 0;  // seconds, summed
};

// KV memory that a worker's requests were promised.
class KvReservation final {
 public:
  // `capacity` tokens.
  KvReservation(uint64_t capacity, const EngineHabits& habits)
      : capacity_(capacity), habits_(habits) {}

  // False, and the request has waited: there is no room for what its engine
  // wants to see before it starts one. Alone it is always let in.
  bool Take(LoopRequest& request);
  void Give(const LoopRequest& request);

 private:
  uint64_t Needs(const LoopRequest& request) const;

  uint64_t capacity_, reserved_ = 0;
  const EngineHabits& habits_;
};

}  // namespace braid::gpu
