#include "simulator/answer_judge.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace braid {
namespace {

// A deadline is seen by the turn that it wakes.
constexpr Duration kDeadlineSlack = std::chrono::milliseconds(2);
// Far more than all that a queue may hold takes on the slowest node, with its
// devices away in between.
constexpr Duration kStarved = std::chrono::minutes(30);

}  // namespace

void AnswerJudge::CheckStreams(const SimulatedClient& client,
                               const TokenDelta& delta) const {
  if (delta.streams.size() != delta.tokens.size()) {
    Violate(client, "tokens do not say how many streams answered");
  }
  const StreamTerms& terms = client.scenario->request.streams;
  for (uint32_t streams : delta.streams) {
    const bool right = terms.mode == StreamMode::kFixed ? streams == terms.max
                       : terms.mode == StreamMode::kAuto
                           ? streams >= 1 && streams <= terms.max
                           : streams == 1;
    if (!right) {
      Violate(client, absl::StrCat(streams, " streams answered, of ",
                                   ToString(terms.mode), " ", terms.max));
    }
  }
}

void AnswerJudge::CheckText(const SimulatedClient& client) const {
  if (client.expected.text.starts_with(client.text)) return;
  Violate(client, absl::StrCat("text is '", client.text, "' but must be '",
                               client.expected.text, "'"));
}

void AnswerJudge::CheckAnswer(const SimulatedClient& client,
                              const Outcome& outcome) const {
  CheckText(client);
  if (outcome.reason != FinishReason::kStop &&
      outcome.reason != FinishReason::kLength) {
    if (outcome.status.ok()) Violate(client, "failed without a status");
    return;
  }
  const hash_model::Answer& expected = client.expected;
  if (client.ids != expected.ids) {
    Violate(client, absl::StrCat("has ", client.ids.size(), " tokens of ",
                                 expected.ids.size()));
  }
  if (client.text != expected.text) {
    Violate(client, absl::StrCat("text is '", client.text, "' but must be '",
                                 expected.text, "'"));
  }
  if (outcome.reason != expected.reason ||
      outcome.matched_stop != expected.matched_stop) {
    Violate(client, absl::StrCat("ended with ", ToString(outcome.reason), " '",
                                 outcome.matched_stop, "' but must with ",
                                 ToString(expected.reason), " '",
                                 expected.matched_stop, "'"));
  }
  if (!client.replayed && outcome.output_tokens != expected.output_tokens) {
    Violate(client, absl::StrCat("counts ", outcome.output_tokens,
                                 " tokens, not ", expected.output_tokens));
  }
  const bool wanted = client.scenario->request.prompt_logprobs >= 0;
  if (client.scores.has_value() != wanted) {
    Violate(client, wanted ? "was not scored" : "was scored");
  }
}

// Whether the world gave a reason for this end.
void AnswerJudge::CheckReason(const SimulatedClient& client,
                              const Outcome& outcome) const {
  const FaultSource& faults = world_.faults;
  switch (outcome.reason) {
    case FinishReason::kStop:
    case FinishReason::kLength:
      return;
    case FinishReason::kCancelled:
      if (!client.cancelled && !client.too_slow) {
        Violate(client, "cancelled, but nobody asked for it");
      }
      return;
    case FinishReason::kDeadline:
      if (client.deadline == kNever) Violate(client, "it has no deadline");
      // Before it, only without any work, or when that is lost.
      if (client.node->clock().Now() < client.deadline &&
          client.ids.size() > client.replayed_from &&
          outcome.recomputed + outcome.preempted == 0) {
        Violate(client, "ended with deadline before it, after work");
      }
      return;
    case FinishReason::kFailed:
      // A device that is lost is survived twice.
      if (faults.injected(FaultKind::kStepFailure) == 0 &&
          outcome.recomputed <= 2) {
        Violate(client, absl::StrCat("failed without a reason: ",
                                     outcome.status.ToString()));
      }
      return;
    case FinishReason::kRefused:
      return;
  }
}

void AnswerJudge::CheckTimes(const SimulatedClient& client,
                             const Outcome& outcome) const {
  const StageTimes& t = outcome.times;
  const TimePoint now = client.node->clock().Now();
  Duration sum{0};
  for (Duration stage : t.spent) {
    if (stage < Duration{0}) Violate(client, "a stage of negative length");
    sum += stage;
  }
  if (t.received != client.submitted || t.finished != now ||
      sum != t.finished - t.received) {
    Violate(client, "stages do not sum to the request's time");
  }
  if (t.first_token < t.received || t.first_token > t.finished) {
    Violate(client, "the first token is outside of the request's time");
  }
  if (t.finished - t.received > kStarved) Violate(client, "it starved");
  // One that is late already when it is submitted again ends at once.
  const TimePoint due = std::max(client.deadline, client.submitted);
  const bool late = now - kDeadlineSlack > due;
  if (late && world_.faults.injected(FaultKind::kClockJump) == 0) {
    Violate(client, absl::StrCat("ended ", ToSeconds(now - due),
                                 " s after its deadline"));
  }
}

void AnswerJudge::Violate(const SimulatedClient& client,
                          const std::string& what) const {
  world_.log.Violate(
      absl::StrCat("request ", client.scenario->number,
                   client.node == nullptr
                       ? std::string()
                       : absl::StrCat(" (r", client.id.value(), " of node ",
                                      client.node->index(), ")"),
                   ": ", what));
}

}  // namespace braid
