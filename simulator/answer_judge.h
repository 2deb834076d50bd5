// Compares what a client was told with what the tokens alone say it must be,
// and asks whether the world gave a reason for how it ended.
#pragma once

#include <string>

#include "engine/token_sink.h"
#include "simulator/client.h"
#include "simulator/world.h"

namespace braid {

class AnswerJudge final {
 public:
  explicit AnswerJudge(World& world) : world_(world) {}

  // As many streams answered as the caller may have.
  void CheckStreams(const SimulatedClient& client,
                    const TokenDelta& delta) const;
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
};

}  // namespace braid
