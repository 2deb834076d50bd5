// What is known of one client: what it wants, where its request is, and what it
// was told so far.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "simulator/hash_model.h"
#include "simulator/replayed_text.h"
#include "simulator/scenario.h"
#include "simulator/simulated_node.h"

namespace braid {

struct SimulatedClient {
  const RequestScenario* scenario = nullptr;
  // Under kAuto, as far as it follows from `streams`.
  hash_model::Answer expected;
  TimePoint arrived;

  // Where it is now. An attempt is over when its node is gone.
  SimulatedNode* node = nullptr;
  uint32_t incarnation = 0;  // of the node
  RequestId id;
  uint32_t attempt = 0;
  TimePoint submitted;          // by the node's clock
  TimePoint deadline = kNever;  // by the node's clock
  uint32_t tries = 0;

  // What it was told.
  std::vector<TokenId> ids;
  std::vector<uint32_t> streams;  // that answered, by token
  std::string text;
  std::optional<std::vector<SampledToken>> scores;
  bool finished = false;

  bool cancelled = false;   // it has asked for it
  bool too_slow = false;    // it has refused tokens
  bool cancel_due = false;  // by its stage
  uint32_t replay_count = 0;
  size_t replayed_from = 0;
  // Set once it was replayed with tokens.
  std::unique_ptr<ReplayedText> replayed;
  std::optional<std::string> matched_stop;  // by `replayed`
};

}  // namespace braid
