// Compares what a client was told with what the tokens alone say it must be,
// and asks whether the world gave a reason for how it ended.
#pragma once

#include <cstdint>
#include <string>

#include "engine/token_sink.h"
#include "simulator/client.h"
#include "simulator/world.h"

namespace braid {

class AnswerJudge final {
 public:
  AnswerJudge(World& world, uint32_t max_context)
      : world_(world), max_context_(max_context) {}

  // As many streams answered as the caller may have.
  void CheckStreams(const SimulatedClient& client,
                    const TokenDelta& delta) const;
  // Best-of-n: every candidate that competed is what it is alone, and the best
  // of them is told. What the outcome is of: the first, or the best.
  hash_model::Answer CheckBestOf(const SimulatedClient& client,
                                 const Outcome& outcome) const;
  // It is the beginning of what must be said.
  void CheckText(const SimulatedClient& client) const;
  // After the end: all of it was said, if it was to be.
  void CheckAnswer(const SimulatedClient& client, const Outcome& outcome) const;
  void CheckReason(const SimulatedClient& client, const Outcome& outcome) const;
  // Stages sum to the request's time, deadlines are kept, nobody starves.
  void CheckTimes(const SimulatedClient& client, const Outcome& outcome) const;

  void Violate(const SimulatedClient& client, const std::string& what) const;

 private:
  World& world_;
  const uint32_t max_context_;
};

}  // namespace braid
