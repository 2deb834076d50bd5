// PARSCALE as the scheduler knows it: how many streams a request may have, and
// what one is worth. What a stream computes is the model's affair.
//
// A request's stream 0 is the request itself. Its further streams are
//   elastic   of a nested set under kAuto: any first p of them may answer, each
//             token anew. They use what is idle: rows of steps that nobody else
//             wants, and blocks that they give back when somebody else does.
//   a gang    under kFixed, or of a set that has one P: all of them always, in
//             lock-step from the first position on; reserved as a whole.
//
// Thread safety: none needed; values.
#pragma once

#include <cstdint>
#include <vector>

#include "base/stream_limit.h"  // IWYU pragma: export

namespace braid {

enum class StreamMode : uint8_t {
  kOff,    // one stream
  kAuto,   // as many as idle rows carry, in every step anew
  kFixed,  // `max` in every step, from the first token on
};
const char* ToString(StreamMode mode);

// What a request asks for.
struct StreamTerms {
  StreamMode mode = StreamMode::kOff;
  // 1 <= min <= max. Under kAuto: fewer than `min` are only used while the
  // streams catch up, and under pressure.
  uint32_t min = 1, max = 1;
  friend bool operator==(const StreamTerms&, const StreamTerms&) = default;
};

// A set of PARSCALE weights. A request that has streams has them of one set,
// fixed at admission.
struct StreamSet {
  uint32_t id = 1;       // what a ForwardBatch calls it; 0 is the plain model
  uint32_t streams = 1;  // most; 2 to kMostStreams
  // Any first p streams may be active; else all of them are, always.
  bool elastic = true;
  // Nats per token that p = i + 1 streams gain over one: `streams` values, the
  // first is 0, and none is less than the one before. A stream that gains
  // nothing is never run for its own sake.
  std::vector<double> gain;
  uint64_t fingerprint = 0;  // what the KV of its streams depends on
};

// What became of idle rows, since the start.
struct StreamStats {
  // Rows that steps had room for within the bounds that streams keep to, as far
  // as requests could have used them for streams that lag behind nothing.
  uint64_t offered = 0;
  uint64_t filled = 0;     // rows of streams that answered
  uint64_t caught_up = 0;  // other rows: of tokens that a stream had missed
  // Of them, those on a device that had nothing else to do (stream_catch_up.h);
  // and what became of these streams.
  uint64_t caught_up_elsewhere = 0;
  uint64_t catch_ups = 0, catch_ups_landed = 0, catch_ups_given_up = 0;
  uint64_t shed = 0;       // streams that answered one token and not the next
  uint64_t dropped = 0;    // streams whose blocks somebody else needed
  uint64_t gang_rows = 0;  // of gangs' further streams, in decode steps
  // Times that a step had elastic streams when somebody came to wait for the
  // device's cores or blocks; how many such steps ended with them before one
  // had none, in all and at most for one of them.
  uint64_t pressures = 0, shed_steps = 0;
  // Steps that dropped theirs before their end, or gave way whole.
  uint64_t shed_in_flight = 0;
  uint32_t most_shed_steps = 0;
  double gain = 0;  // nats, predicted, summed over tokens
  // Now.
  uint32_t active = 0;  // streams beyond the first that answered the last token
  uint32_t blocks = 0;  // held by elastic streams
  // What streams may cost is taken from (stream_allowance.h).
  double chance_to_meet = 0, first_token = 0, beside = 0;
};

// Further candidates of best-of-n (request.h), since the start.
struct BestOfStats {
  uint64_t started = 0;
  // As of StreamStats: rows that were left for candidates, those that drew a
  // token, and other rows, of tokens whose KV was missing.
  uint64_t offered = 0, filled = 0, caught_up = 0;
  uint64_t evicted = 0;  // times that somebody else needed one's blocks
  uint32_t blocks = 0;   // held by them alone, now
};

}  // namespace braid
