#include "engine/best_of.h"

#include <iterator>
#include <utility>

#include "base/check.h"

namespace braid {

BestOf::BestOf(const GenerateRequest& request, const Tokenizer* tokenizer) {
  BRAID_CHECK(request.best_of > 1 && request.sampling.self_certainty);
  others_.reserve(request.best_of - 1);
  for (uint32_t i = 1; i < request.best_of; ++i) {
    Candidate& other = others_.emplace_back(Candidate{
        .sampling = request.sampling, .answer = Answer(request, tokenizer)});
    other.sampling.seed = request.sampling.seed + i;
  }
}

const SamplingParams& BestOf::sampling(uint32_t candidate) const {
  return others_[candidate - 1].sampling;
}

void BestOf::NoteFirst(const SampledToken& token) { first_.Add(token); }

bool BestOf::Accept(uint32_t candidate, SampledToken token) {
  Candidate& other = others_[candidate - 1];
  BRAID_CHECK(!other.reason);
  other.certainty.Add(token);
  other.reason = other.answer.Push(std::move(token), 1, delta_);
  std::move(delta_.tokens.begin(), delta_.tokens.end(),
            std::back_inserter(other.tokens));
  other.text += delta_.text;
  return other.reason.has_value();
}

uint32_t BestOf::Best(bool first_is_complete) const {
  uint32_t best = 0;
  std::optional<double> most;
  if (first_is_complete) most = first_.mean();
  for (uint32_t i = 1; i <= others_.size(); ++i) {
    const Candidate& other = others_[i - 1];
    const double certainty = other.certainty.mean();
    if (other.reason && (!most || certainty > *most)) {
      most = certainty;
      best = i;
    }
  }
  return best;
}

BestOfReport BestOf::Abandon() const {
  BestOfReport report{.asked = static_cast<uint32_t>(others_.size()) + 1};
  report.candidate_tokens = first_.tokens;
  report.self_certainty.emplace_back();
  for (const Candidate& other : others_) {
    report.candidate_tokens += other.certainty.tokens;
    report.started += other.certainty.tokens > 0;
    report.complete += other.reason.has_value();
    report.self_certainty.push_back(
        other.reason ? std::optional(other.certainty.mean()) : std::nullopt);
  }
  return report;
}

BestOfReport BestOf::Finish() {
  BestOfReport report = Abandon();
  ++report.started;
  ++report.complete;
  report.self_certainty[0] = first_.mean();
  report.chosen = Best(/*first_is_complete=*/true);
  if (report.chosen > 0) {
    Candidate& best = others_[report.chosen - 1];
    report.answer =
        BestOfReport::Answer{.tokens = std::move(best.tokens),
                             .text = std::move(best.text),
                             .reason = *best.reason,
                             .matched_stop = best.answer.matched_stop(),
                             .output_tokens = best.answer.tokens()};
  }
  return report;
}

}  // namespace braid
