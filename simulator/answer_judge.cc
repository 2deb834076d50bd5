#include "simulator/answer_judge.h"

#include <algorithm>
#include <cmath>
#include <utility>

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
  const hash_model::Answer told = CheckBestOf(client, outcome);
  if (outcome.reason != told.reason ||
      outcome.matched_stop != told.matched_stop) {
    Violate(client,
            absl::StrCat("ended with ", ToString(outcome.reason), " '",
                         outcome.matched_stop, "' but must with ",
                         ToString(told.reason), " '", told.matched_stop, "'"));
  }
  if (!client.replayed && outcome.output_tokens != told.output_tokens) {
    Violate(client, absl::StrCat("counts ", outcome.output_tokens,
                                 " tokens, not ", told.output_tokens));
  }
  const bool wanted = client.scenario->request.prompt_logprobs >= 0;
  if (client.scores.has_value() != wanted) {
    Violate(client, wanted ? "was not scored" : "was scored");
  }
}

hash_model::Answer AnswerJudge::CheckBestOf(const SimulatedClient& client,
                                            const Outcome& outcome) const {
  const GenerateRequest& asked = client.scenario->request;
  if (!outcome.best_of) {
    if (asked.best_of > 1 && client.replay_count == 0) {
      Violate(client, "asked for the best of several, and was not told");
    }
    return client.expected;
  }
  const BestOfReport& report = *outcome.best_of;
  if (report.asked != asked.best_of ||
      report.self_certainty.size() != asked.best_of ||
      !report.self_certainty[0]) {
    Violate(client, "was told of other candidates than it asked for");
    return client.expected;
  }
  hash_model::Answer best;
  uint32_t chosen = 0, complete = 0;
  for (uint32_t i = 0; i < asked.best_of; ++i) {
    if (!report.self_certainty[i]) continue;
    ++complete;
    GenerateRequest alone = asked;
    alone.sampling.seed += i;
    hash_model::Answer answer =
        hash_model::UndisturbedAnswer(alone, max_context_);
    if (std::abs(answer.self_certainty - *report.self_certainty[i]) > 1e-5) {
      Violate(client,
              absl::StrCat("candidate ", i, " is not what it is alone"));
    }
    if (i == 0 || *report.self_certainty[i] > *report.self_certainty[chosen]) {
      chosen = i;
      best = std::move(answer);
    }
  }
  if (report.chosen != chosen || report.complete != complete ||
      report.complete > report.started ||
      report.answer.has_value() != (chosen > 0)) {
    Violate(client,
            absl::StrCat("candidate ", report.chosen, " of ", report.complete,
                         " was chosen, not ", chosen, " of ", complete));
  } else if (chosen > 0) {
    std::vector<TokenId> ids;
    for (const SampledToken& token : report.answer->tokens) {
      ids.push_back(token.token);
    }
    if (ids != best.ids || report.answer->text != best.text) {
      Violate(client, absl::StrCat("the best answer is '", report.answer->text,
                                   "' but must be '", best.text, "'"));
    }
  }
  return best;
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
