// How many of a set of equal devices should do nothing but decode: the question
// that a placement, one request at a time, cannot answer. Two kinds of layouts
// are compared by the request rate that they could carry, given what requests
// have been like lately and what the step model says:
//
//   0 decode devices  every device computes prompts beside its own rows; its
//                     steps last what the rows' token target allows. Where
//                     devices lend, all may gather on one with every core
//   k of n            k devices decode, in batches as large as the target and
//                     the memory allow, and the others compute prompts in
//                     chunks as long as they like
//
// Bounds of the steady state: without queues, bursts and hand-overs. So a
// change has to promise more than they could cost, and where much less comes
// than all carry together they stay so.
//
// Thread safety: not thread-safe; engine thread only.
#pragma once

#include <cstdint>

#include "base/clock.h"
#include "scheduler/step_time_model.h"

namespace braid {

// One device, all of them being like it.
struct PlannedDevice {
  const StepTimeModel* time = nullptr;
  // Of steps with the cores of all devices; null: nobody lends.
  const StepTimeModel* gathered = nullptr;
  uint32_t max_chunk = 0;  // most prompt tokens of a step
  uint32_t max_rows = 0;   // of a decode batch
  uint64_t kv_tokens = 0;  // that its pool holds
};

class SplitPlanner final {
 public:
  // A request has come.
  void Arrive(TimePoint now);
  // A request was placed: of its prompt so much is not cached, and as many
  // tokens may follow, `pace` seconds apart.
  void Observe(uint32_t prompt, uint32_t uncached, uint32_t most_output,
               double pace);
  // Rows of a step have drawn so many tokens; an answer is complete.
  void Draw(uint32_t tokens) { drawn_ += tokens; }
  void FinishAnswer();

  // Requests per second of that layout on `n` devices. 0 decode devices: all do
  // both. REQUIRES: decode < n, and something was observed.
  double Capacity(const PlannedDevice& device, uint32_t n,
                  uint32_t decode) const;

  // Decode devices of `n` from `now` on; asks itself again at most every
  // second, and at once when n has changed.
  uint32_t Plan(const PlannedDevice& device, uint32_t n, TimePoint now);

  uint64_t observed() const { return observed_; }

 private:
  double Together(const PlannedDevice& device, uint32_t n) const;
  double PromptSeconds(const PlannedDevice& device) const;
  bool IsSlack(const PlannedDevice& device, uint32_t n) const;
  uint32_t MostRows(const PlannedDevice& device) const;
  StepShape Rows(uint32_t rows) const;
  double Output() const;

  // Means of a request.
  double prompt_ = 0, uncached_ = 0, attended_ = 0, most_output_ = 0, pace_ = 0;
  // Tokens drawn, of answers complete or not, per answer completed: so that
  // those who are still at it count, though the short ones end first.
  double drawn_ = 0, answers_ = 0;
  uint64_t observed_ = 0;
  double interval_ = 0;  // seconds between arrivals, a mean
  uint64_t arrived_ = 0;
  TimePoint last_arrival_;
  uint32_t decode_ = 0, devices_ = 0;  // as last planned
  TimePoint planned_ = TimePoint::min();
};

}  // namespace braid
