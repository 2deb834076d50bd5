// How long KV is under way from one pool to another, learned from hand-overs:
//
//   seconds = latency + tokens x rate
//
// from the end of the prompt's last chunk to the arrival, by the tokens that
// the receiver lacked. Least squares in the two terms, the past forgotten
// exponentially, neither of them ever negative. A transport that sends chunks
// as they are computed shows a small rate, one that sends all at the end its
// bandwidth; both are just learned.
//
// Thread safety: not thread-safe; engine thread only.
#pragma once

#include <cstdint>

namespace braid {

class LinkTimeModel final {
 public:
  // REQUIRES: seconds >= 0.
  void Observe(uint32_t tokens, double seconds);

  // >= 0, and never less for more tokens.
  double Predict(uint32_t tokens) const { return latency_ + rate_ * tokens; }

  double latency() const { return latency_; }         // seconds
  double seconds_per_token() const { return rate_; }  // seconds
  uint64_t observed() const { return observed_; }

 private:
  void Fit();

  // What is believed before the first hand-over.
  double latency_ = 0.001, rate_ = 0;
  // Weighted means of tokens x, seconds y and their products.
  double x_ = 0, y_ = 0, xx_ = 0, xy_ = 0;
  uint64_t observed_ = 0;
};

}  // namespace braid
