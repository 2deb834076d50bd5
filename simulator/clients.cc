#include "simulator/clients.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace braid {
namespace {

// A client tries that often, later each time.
constexpr uint32_t kMostTries = 4;
// One that was accepted before, and lost its node.
constexpr uint32_t kMostTriesOfReplay = 12;
constexpr Duration kRetryAfter = std::chrono::milliseconds(20);
// How long a gateway takes to see that a node is gone.
constexpr Duration kDetection = std::chrono::milliseconds(5);

}  // namespace

class Clients::Sink final : public TokenSink {
 public:
  Sink(Clients* clients, Client* client)
      : clients_(clients), client_(client), attempt_(client->attempt) {}

  void OnPromptScores(std::vector<SampledToken> scores) override {
    if (current()) clients_->OnScores(*client_, std::move(scores));
  }
  bool OnTokens(const TokenDelta& delta) override {
    return !current() || clients_->OnTokens(*client_, delta);
  }
  void OnFinish(Outcome outcome) override {
    if (finished_)
      clients_->judge_.Violate(*client_, "a second terminal event");
    finished_ = true;
    if (current()) clients_->OnFinish(*client_, std::move(outcome));
  }

 private:
  bool current() const { return client_->attempt == attempt_; }
  Clients* const clients_;
  Client* const client_;
  const uint32_t attempt_;
  bool finished_ = false;
};

Clients::Clients(World& world, const Scenario& scenario,
                 std::vector<std::unique_ptr<SimulatedNode>>& nodes)
    : world_(world),
      scenario_(scenario),
      nodes_(nodes),
      judge_(world, scenario.max_context),
      events_(world.queue),
      placement_(scenario, nodes) {
  for (const RequestScenario& request : scenario_.requests) {
    auto client = std::make_unique<Client>();
    client->scenario = &request;
    clients_.push_back(std::move(client));
  }
  unfinished_ = clients_.size();
}

Clients::~Clients() = default;

void Clients::Start() {
  for (size_t i = 0; i < clients_.size(); ++i) {
    events_.After(clients_[i]->scenario->arrival, [this, i] { Arrive(i); });
  }
}

void Clients::Arrive(size_t index) {
  Client& client = *clients_[index];
  const GenerateRequest& request = client.scenario->request;
  client.arrived = world_.queue.now();
  Expect(client,
         request.streams.mode == StreamMode::kFixed ? request.streams.max : 1);
  Log(client, LogKind::kArrive, static_cast<int64_t>(request.prompt.size()),
      request.max_tokens);
  Submit(client);
}

SimulatedNode* Clients::PickNode(const Client& client) {
  if (scenario_.placed_by_policy) {
    if (SimulatedNode* node = placement_.Pick(RequestOf(client))) return node;
  }
  for (size_t i = 0; i < nodes_.size(); ++i) {
    SimulatedNode* node = nodes_[next_node_++ % nodes_.size()].get();
    if (node->up()) return node;
  }
  return nullptr;
}

// What is still to be generated, as a request of its own.
GenerateRequest Clients::RequestOf(const Client& client) const {
  GenerateRequest request = client.scenario->request;
  if (client.ids.empty()) return request;
  const auto seen = static_cast<uint32_t>(client.ids.size());
  request.max_tokens =
      std::min(request.max_tokens,
               scenario_.max_context -
                   static_cast<uint32_t>(request.prompt.size())) -
      seen;
  request.prompt.insert(request.prompt.end(), client.ids.begin(),
                        client.ids.end());
  request.sampling.min_tokens -= static_cast<int32_t>(seen);
  request.stop.clear();
  request.prompt_logprobs = -1;
  // What it was told is the first candidate's.
  request.best_of = 1;
  return request;
}

void Clients::Submit(Client& client) {
  if (client.finished) return;
  if (client.cancelled) {  // While nobody had it.
    Finished(client);
    return;
  }
  SimulatedNode* node = PickNode(client);
  ++client.tries;
  if (node == nullptr) {
    Refused(client, absl::UnavailableError("no node is up"));
    return;
  }
  client.node = node;
  client.incarnation = node->incarnation();
  client.submitted = node->clock().Now();
  GenerateRequest request = RequestOf(client);
  if (client.scenario->deadline > Duration{0}) {
    const Duration gone = world_.queue.now() - client.arrived;
    client.deadline = client.submitted + client.scenario->deadline - gone;
    request.deadline = client.deadline;
  }
  const auto id = node->loop().Submit(std::move(request),
                                      std::make_shared<Sink>(this, &client));
  if (!id.ok()) {
    Refused(client, id.status());
    return;
  }
  client.id = *id;
  Log(client, LogKind::kSubmit, static_cast<int64_t>(id->value()));
  ScheduleCancel(client);
}

void Clients::Refused(Client& client, const absl::Status& status,
                      double retry_after) {
  Log(client, LogKind::kRefused, static_cast<int64_t>(status.code()));
  if (status.code() != absl::StatusCode::kResourceExhausted &&
      status.code() != absl::StatusCode::kUnavailable) {
    judge_.Violate(client, absl::StrCat("refused: ", status.ToString()));
  }
  client.node = nullptr;
  client.cancel_due = false;
  const uint32_t most =
      client.replay_count > 0 ? kMostTriesOfReplay : kMostTries;
  if (client.tries >= most) {
    Finished(client);
    return;
  }
  const uint32_t doublings = std::min(client.tries, 10u);
  const auto asked = std::chrono::duration_cast<Duration>(
      std::chrono::duration<double>(std::min(retry_after, 60.0)));
  events_.After(std::max<Duration>(asked, kRetryAfter * (1 << doublings)),
                [this, &client] { Submit(client); });
}

void Clients::ScheduleCancel(Client& client) {
  const RequestScenario& scenario = *client.scenario;
  if (scenario.cancel == CancelStage::kNever) return;
  if (scenario.cancel != CancelStage::kAfter) {
    client.cancel_due = true;
    return;
  }
  events_.After(scenario.cancel_delay, [this, &client] { Cancel(client); });
}

void Clients::AfterTurn(SimulatedNode& node) {
  for (const auto& client : clients_) {
    if (!client->cancel_due || client->node != &node) continue;
    const Request* request = node.loop().scheduler().Find(client->id);
    if (request == nullptr) continue;
    const auto stage =
        static_cast<CancelStage>(static_cast<int>(CancelStage::kWaiting) +
                                 static_cast<int>(request->state));
    if (stage != client->scenario->cancel) continue;
    client->cancel_due = false;
    events_.After(client->scenario->cancel_delay,
                  [this, c = client.get()] { Cancel(*c); });
  }
}

void Clients::Cancel(Client& client) {
  Log(client, LogKind::kCancel);
  client.cancelled = true;
  // Also when it has ended: a cancellation may come late, or twice.
  if (client.node == nullptr || !client.node->up()) return;
  if (client.node->incarnation() != client.incarnation) return;
  client.node->loop().Cancel(client.id);
  if (client.id.value() % 4 == 0) client.node->loop().Cancel(client.id);
}

void Clients::Forget(uint32_t node) {
  for (const auto& client : clients_) {
    if (client->finished || client->node == nullptr) continue;
    if (client->node->index() == node) ++client->attempt;
  }
}

void Clients::Replay(uint32_t node) {
  for (const auto& owned : clients_) {
    Client& client = *owned;
    if (client.finished || client.node == nullptr) continue;
    if (client.node->index() != node) continue;
    client.node = nullptr;
    client.cancel_due = false;
    if (client.too_slow) {
      Finished(client);
      continue;
    }
    // It has its own answer, so it lingered for others, or was about to.
    if (client.scenario->request.best_of > 1 && !client.ids.empty() &&
        client.ids == client.expected.ids &&
        client.text == client.expected.text) {
      Finished(client);
      continue;
    }
    client.tries = 0;
    ++client.replay_count;
    client.replayed_from = client.ids.size();
    Log(client, LogKind::kReplay, static_cast<int64_t>(client.ids.size()));
    if (!client.ids.empty()) {
      client.replayed = std::make_unique<ReplayedText>(
          client.scenario->request, hash_model::Vocabulary());
      std::string text;
      for (TokenId id : client.ids) {
        if (client.replayed->Push(id, text)) {
          judge_.Violate(client, "a stop string was not seen");
        }
      }
      if (text != client.text) {
        judge_.Violate(client, absl::StrCat("was told '", client.text,
                                            "', its tokens say '", text, "'"));
      }
    }
    events_.After(kDetection, [this, &client] { Submit(client); });
  }
}

void Clients::Expect(Client& client, uint32_t rest) {
  client.expected = hash_model::UndisturbedAnswer(
      client.scenario->request, scenario_.max_context,
      {.sets = scenario_.stream_sets,
       .by_token = client.streams,
       .rest = rest});
}

void Clients::OnScores(Client& client, std::vector<SampledToken> scores) {
  Log(client, LogKind::kScores, static_cast<int64_t>(scores.size()));
  if (client.finished) judge_.Violate(client, "scores after the end");
  if (!client.ids.empty()) judge_.Violate(client, "scores after tokens");
  // A node that died may have sent them.
  if (client.scores && client.attempt == 0)
    judge_.Violate(client, "scored twice");
  // A gang that was chosen for it at admission has scored it as one.
  if (client.scenario->request.streams.mode == StreamMode::kAuto) {
    for (const StreamSet& set : scenario_.stream_sets) {
      if (set.elastic || scores == client.expected.scores) continue;
      Expect(client, set.streams);
    }
  }
  if (scores != client.expected.scores) judge_.Violate(client, "wrong scores");
  client.scores = std::move(scores);
}

bool Clients::OnTokens(Client& client, const TokenDelta& delta) {
  if (client.finished) judge_.Violate(client, "tokens after the end");
  if (client.too_slow) judge_.Violate(client, "tokens after it was too slow");
  judge_.CheckStreams(client, delta);
  if (client.scenario->request.streams.mode == StreamMode::kAuto) {
    client.streams.insert(client.streams.end(), delta.streams.begin(),
                          delta.streams.end());
    Expect(client, 1);
  }
  for (const SampledToken& token : delta.tokens) {
    const size_t number = client.ids.size();
    Log(client, LogKind::kToken, static_cast<int64_t>(number), token.token);
    if (client.matched_stop) continue;  // Its cancellation is on its way.
    const auto& expected = client.expected.ids;
    if (number >= expected.size()) {
      judge_.Violate(client, absl::StrCat("a token more than the ",
                                          expected.size(), " there are"));
    } else if (expected[number] != token.token) {
      judge_.Violate(client,
                     absl::StrCat("token number ", number, " is ", token.token,
                                  " but must be ", expected[number]));
    }
    client.ids.push_back(token.token);
  }
  if (client.replayed) {
    AddText(client, delta);
  } else {
    client.text += delta.text;
  }
  // Text without a token was held back until the end, which only OnFinish tells
  // all about.
  if (!delta.tokens.empty()) judge_.CheckText(client);
  client.too_slow |= client.ids.size() > client.scenario->takes;
  return !client.too_slow;
}

// The text of a replayed request is the gateway's own.
void Clients::AddText(Client& client, const TokenDelta& delta) {
  for (const SampledToken& token : delta.tokens) {
    if (client.matched_stop) return;
    client.matched_stop = client.replayed->Push(token.token, client.text);
  }
  if (client.matched_stop) client.node->loop().Cancel(client.id);
}

void Clients::OnFinish(Client& client, Outcome outcome) {
  Log(client, LogKind::kFinish, static_cast<int64_t>(outcome.reason),
      static_cast<int64_t>(client.ids.size()));
  if (client.finished) judge_.Violate(client, "finished twice");
  if (client.replayed) {
    const bool over = outcome.reason == FinishReason::kStop ||
                      outcome.reason == FinishReason::kLength;
    if (over && !client.matched_stop) {
      client.matched_stop = client.replayed->Flush(client.text);
    }
    if (client.matched_stop && !client.cancelled) {
      outcome.reason = FinishReason::kStop;
      outcome.status = absl::OkStatus();
      outcome.matched_stop = *client.matched_stop;
    }
    outcome.output_tokens += static_cast<uint32_t>(client.replayed_from);
  }
  judge_.CheckTimes(client, outcome);
  if (outcome.reason == FinishReason::kRefused) {
    OnRefused(client, outcome);
    return;
  }
  judge_.CheckReason(client, outcome);
  // How many answered the token that ended it, which was not told.
  if (client.scenario->request.streams.mode == StreamMode::kAuto) {
    for (uint32_t rest = 1; rest <= client.scenario->request.streams.max;
         ++rest) {
      if (client.expected.ids == client.ids &&
          client.expected.reason == outcome.reason) {
        break;
      }
      Expect(client, rest);
    }
  }
  judge_.CheckAnswer(client, outcome);
  Finished(client);
}

// After it was queued, or in the turn that took it.
void Clients::OnRefused(Client& client, const Outcome& outcome) {
  if (outcome.status.ok() || outcome.retry_after <= 0) {
    judge_.Violate(client, "refused without saying why, or for how long");
  }
  if (client.ids.size() > client.replayed_from) {
    judge_.Violate(client, "refused after tokens of it were sent");
  }
  ++client.attempt;
  Refused(client, outcome.status, outcome.retry_after);
}

void Clients::Finished(Client& client) {
  if (client.finished) return;
  client.finished = true;
  --unfinished_;
}

void Clients::CheckAtRest() {
  for (const auto& owned : clients_) {
    const Client& client = *owned;
    if (client.finished) continue;
    const Request* request =
        client.node == nullptr || !client.node->up()
            ? nullptr
            : client.node->loop().scheduler().Find(client.id);
    judge_.Violate(
        client, absl::StrCat(
                    "never ended; its state is ",
                    request == nullptr ? "unknown" : ToString(request->state)));
  }
}

void Clients::Log(const Client& client, LogKind kind, int64_t b, int64_t c) {
  world_.Log(client.node == nullptr ? 0 : client.node->index(), kind,
             client.scenario->number, b, c);
}

}  // namespace braid
