// By how much streams in idle rows may make steps longer, so that first tokens
// come no later than by a small share of what they take: learned from those
// that came lately.
//
// A step that takes `plain` seconds and is made `extra` seconds longer costs
// who comes
//   while it runs    the rest of it that is due to the extra, extra^2 / 2 +
//                    plain x extra, seconds squared; a small part of that where
//                    the runner sheds in flight
//   at other times   `extra` in which a row is still to be met that would else
//                    have left: a prompt beside rows takes `beside` seconds
//                    longer than one that has the machine for itself. Who meets
//                    others anyway pays too, as there is one more
// Those are to be, over all time, a share of the mean first token. Of the time,
// steps take as much as newcomers meet somebody, so per second of steps it is
// that share over the chance to meet.
//
// How often newcomers meet rows, and what that costs, is measured: it depends
// on how devices are shared and prompts placed, and need not be known here.
//
// Thread safety: not thread-safe; engine thread only.
#pragma once

#include <cstdint>

namespace braid {

class StreamAllowance final {
 public:
  // A request came, and found rows decoding where its prompt is computed.
  void Arrived(bool met_rows);
  // Its first token, `seconds` after it came. On an idle machine its prompt is
  // predicted to take `alone`. `compare`: the two may be, as that is no guess,
  // and no other prompts were there before it.
  void FirstToken(double seconds, double alone, bool met_rows, bool compare);

  // Seconds; 0 before the first token of all.
  double Extra(double plain, bool sheds_in_flight) const;

  double chance_to_meet() const;
  double first_token() const;  // seconds, as they are lately: geometric mean
  double beside() const;       // seconds

 private:
  // Seconds that prompts took, and were predicted to take alone.
  struct Taken {
    double seen = 0, predicted = 0;
    void Add(double seconds, double alone);
    double ratio() const { return predicted > 0 ? seen / predicted : 0; }
  };
  uint64_t arrived_ = 0, first_tokens_ = 0;
  double met_ = 0;          // share of the arrivals
  double log_seconds_ = 0;  // of first tokens
  Taken alone_, beside_;
};

}  // namespace braid
