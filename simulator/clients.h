// The clients of a cluster and the little gateway before it: submits each
// request to a node, cancels, reads slowly, tries again when it is refused, and
// replays a request from its own tokens when its node has died. And the judge:
// whatever is said to a client is compared with what the tokens alone say it
// must be.
//
//   - a token is neither lost, doubled nor wrong; nor is text
//   - exactly one end, nothing after it, and for a reason that there is
//   - the stages of a request follow each other and sum to its time
//
// Threads: one.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/token_sink.h"
#include "simulator/answer_judge.h"
#include "simulator/client.h"
#include "simulator/gateway_placement.h"
#include "simulator/scenario.h"
#include "simulator/simulated_node.h"
#include "simulator/world.h"

namespace braid {

class Clients final {
 public:
  Clients(World& world, const Scenario& scenario,
          std::vector<std::unique_ptr<SimulatedNode>>& nodes);
  ~Clients();

  // Schedules every arrival.
  void Start();
  // Cancels what waits for its request to be in a certain state.
  void AfterTurn(SimulatedNode& node);
  // Call before the node dies, and again when it is dead.
  void Forget(uint32_t node);
  void Replay(uint32_t node);
  // Every request has ended.
  void CheckAtRest();

 private:
  using Client = SimulatedClient;
  class Sink;

  void Arrive(size_t index);
  void Submit(Client& client);
  void Refused(Client& client, const absl::Status& status,
               double retry_after = 0);
  GenerateRequest RequestOf(const Client& client) const;
  void ScheduleCancel(Client& client);
  void Cancel(Client& client);
  SimulatedNode* PickNode(const Client& client);

  void OnScores(Client& client, std::vector<SampledToken> scores);
  // What must be said, were the tokens it was not told of answered by that many
  // streams.
  void Expect(Client& client, uint32_t rest);
  bool OnTokens(Client& client, const TokenDelta& delta);
  void OnFinish(Client& client, Outcome outcome);
  void OnRefused(Client& client, const Outcome& outcome);
  void AddText(Client& client, const TokenDelta& delta);
  void Finished(Client& client);
  void Log(const Client& client, LogKind kind, int64_t b = 0, int64_t c = 0);

  World& world_;
  const Scenario& scenario_;
  std::vector<std::unique_ptr<SimulatedNode>>& nodes_;
  const AnswerJudge judge_;
  EventScope events_;
  std::vector<std::unique_ptr<Client>> clients_;
  size_t unfinished_ = 0;
  uint32_t next_node_ = 0;
  GatewayPlacement placement_;
};

}  // namespace braid
