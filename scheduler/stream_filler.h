// Gives the idle rows of a step to elastic streams of the requests in it
// (stream_terms.h): a pure function of plain values.
//
// A request's next stream is worth what its gain table says, token for token,
// and costs the seconds by which its row makes this step and all later ones
// longer, and, once, the rows that it must run to catch up: they are spread
// over the tokens that are still expected. The most worth per second comes
// first; streams that a caller has asked for (`wanted`) come before all others.
//
// A stream that lags by more rows than fit gets a part of them, and answers
// nothing yet. Not so where that would go on until the answer ends, or cost
// many times what is left of it.
//
// Thread safety: not thread-safe (scratch); engine thread only.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "scheduler/step_time_model.h"
#include "scheduler/stream_terms.h"

namespace braid {

// A request with a row in the step.
struct StreamCandidate {
  uint32_t position = 0;   // of the token that its row computes
  uint32_t remaining = 1;  // tokens expected to come, the next one included
  uint32_t most = 1, wanted = 1;  // streams; 1 <= wanted <= most
  // Those from here on are computed elsewhere: they have no rows in this step.
  uint32_t elsewhere = kMostStreams;
  std::span<const double> gain;  // StreamSet::gain
  // By stream; [0] is not used. KV of [0, computed) is there, in so many
  // blocks. computed <= position.
  std::array<uint32_t, kMostStreams> computed{};
  std::array<uint32_t, kMostStreams> blocks{};

  // What it is given: rows from `computed` on, by stream. Streams 0 to gang - 1
  // reach the position, and answer.
  uint32_t gang = 1;
  std::array<uint32_t, kMostStreams> rows{};
};

struct StreamLimits {
  double seconds = 0;  // that the step may take
  // That streams may add to steps in all, and in each one to come: what would
  // take more than that to catch up is not begun.
  double saved = std::numeric_limits<double>::infinity(), each = 0;
  uint32_t rows = 0;    // that streams may add to it
  uint32_t slice = 0;   // most of them for one stream
  uint32_t blocks = 0;  // that streams may take
  uint32_t block_tokens = 1;
};

struct StreamFill {
  uint32_t rows = 0;       // given
  uint32_t caught_up = 0;  // of them, for tokens that were missed before
  uint32_t blocks = 0;     // taken
  double gain = 0;         // nats, predicted
};

class StreamFiller final {
 public:
  // `shape` is that of the step without streams. Allocates nothing once it has
  // seen as many candidates.
  StreamFill Fill(std::span<StreamCandidate> candidates, StepShape shape,
                  const StepTimeModel& time, const StreamLimits& limits);

  // Rows that the step could have carried, had no stream missed anything: what
  // idles.
  static uint32_t Offered(std::span<const StreamCandidate> candidates,
                          const StepShape& shape, const StepTimeModel& time,
                          double seconds, uint32_t rows);

 private:
  // A candidate's next stream.
  struct Next {
    bool wanted = false;
    double worth = 0;  // nats per second
    uint32_t candidate = 0;
    bool operator<(const Next& other) const;  // comes later
  };
  struct Step;

  void Push(std::span<const StreamCandidate> candidates, uint32_t index,
            const Step& step);

  std::vector<Next> heap_;
};

}  // namespace braid
