// Best-of-n of one request: what its further candidates have drawn, and which
// answer is the best. Candidate 0 is the request itself, as it would be alone.
//
//   - Candidate i draws with the seed of the request plus i, so its answer is
//     that of a request of its own with that seed, bit for bit.
//   - The best is the one of the highest self-certainty (model/sampling.h),
//     averaged over the tokens it has drawn, the one that ended it included; of
//     equals the first. Only complete answers compete: which ones are complete
//     when the first is over depends on what else runs, their texts do not.
//
// Thread safety: engine thread only. A step in flight reads `sampling`.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/answer.h"
#include "engine/engine.h"
#include "engine/token_sink.h"
#include "model/sampling.h"
#include "model/tokenizer.h"

namespace braid {

class BestOf final {
 public:
  // `request` draws candidate 0; its sampling asks for self-certainty.
  BestOf(const GenerateRequest& request, const Tokenizer* tokenizer);

  // Of a further candidate, from 1 on.
  const SamplingParams& sampling(uint32_t candidate) const;

  // Candidate 0 has drawn a token.
  void NoteFirst(const SampledToken& token);
  // A further candidate has. True: its answer is complete.
  bool Accept(uint32_t candidate, SampledToken token);

  // Of the candidates that are complete the best; 0 when there is none.
  uint32_t Best(bool first_is_complete) const;

  // Candidate 0 is complete. The report of them all; its answer is that of the
  // best one, where that is another.
  BestOfReport Finish();
  // The request ended otherwise, with no answer.
  BestOfReport Abandon() const;

 private:
  struct Certainty {
    double sum = 0;
    uint32_t tokens = 0;
    void Add(const SampledToken& token) {
      sum += token.self_certainty;
      ++tokens;
    }
    double mean() const { return tokens == 0 ? 0 : sum / tokens; }
  };
  struct Candidate {
    SamplingParams sampling;
    Answer answer;
    Certainty certainty;
    std::vector<SampledToken> tokens;
    std::string text;
    std::optional<FinishReason> reason;  // complete
  };

  Certainty first_;
  std::vector<Candidate> others_;  // candidate i at [i - 1]
  TokenDelta delta_;               // reused
};

}  // namespace braid
