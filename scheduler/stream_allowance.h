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
//                    have left: a prompt that comes to such rows takes `beside`
//                    seconds longer than one that has the machine for itself.
//                    Little where they stand aside (owing.h). Who
//                    meets others anyway pays too, as there is one more
// Those are to be, over all time, `share` of the mean first token. Of the time,
// steps take as much as newcomers meet somebody, so per second of steps it is
// that share over the chance to meet.
//
// How often newcomers meet rows, and what that costs, is told: it depends on
// how devices are shared and prompts placed, and need not be known here. It is
// kept apart by how many they meet: a step of one row may grow by more than
// that of a crowd, beside which prompts take long.
//
// Thread safety: not thread-safe; engine thread only.
#pragma once

#include <array>
#include <cstdint>

namespace braid {

class StreamAllowance final {
 public:
  explicit StreamAllowance(double share) : share_(share) {}

  // A request came, and found rows decoding where its prompt is computed.
  void Arrived(bool met_rows);
  // Its first token, `seconds` after it came. On an idle machine its prompt is
  // predicted to take `alone`.
  void FirstToken(double seconds, double alone);
  // It met so many rows, all of them such as streams may have kept there, and
  // no other prompts; they made it take `beside` longer.
  void Met(uint32_t rows, double beside, double alone);

  // Seconds by which a step may be longer where a newcomer would meet so many
  // rows; 0 before the first token of all.
  double Extra(double plain, uint32_t rows, bool sheds_in_flight) const;

  double chance_to_meet() const;
  double first_token() const;  // seconds, as they are lately: geometric mean
  double beside() const;       // seconds, of such a first token

 private:
  // Of one row, of two and three, of four to seven, and larger ones.
  static constexpr int kCrowds = 4;
  // A weighted mean.
  struct Beside {
    uint64_t seen = 0;
    double seconds = 0, weight = 0;
    void Add(double sample, double of);
    double mean() const { return weight > 0 ? seconds / weight : 0; }
  };
  static int CrowdOf(uint32_t rows);
  double BesideCrowd(int crowd) const;

  const double share_;
  uint64_t arrived_ = 0, first_tokens_ = 0;
  double met_ = 0;          // share of the arrivals
  double log_seconds_ = 0;  // of first tokens
  Beside all_;
  std::array<Beside, kCrowds> crowds_;
};

}  // namespace braid
