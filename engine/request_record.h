// What the engine keeps of a request besides its place in the schedule: how it
// is sampled, how its tokens become text, when it ends, who reads it, and when
// each of its stages ended.
//
// Thread safety: engine thread only. A step in flight reads `sampling`.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "engine/answer.h"
#include "engine/best_of.h"
#include "engine/engine.h"
#include "engine/stage_times.h"
#include "engine/token_sink.h"
#include "model/tokenizer.h"

namespace braid {

class RequestRecord final {
 public:
  RequestRecord(RequestId id, uint32_t prompt_tokens,
                const GenerateRequest& request, std::shared_ptr<TokenSink> sink,
                const Tokenizer* tokenizer, TimePoint received);

  RequestId id() const { return id_; }
  const SamplingParams& sampling() const { return sampling_; }
  const SamplingParams& sampling_of(uint32_t candidate) const {
    return candidate == 0 ? sampling_ : best_of_->sampling(candidate);
  }
  int32_t prompt_logprobs() const { return prompt_logprobs_; }
  TimePoint deadline() const { return deadline_; }

  uint32_t service_class() const { return service_class_; }

  // Where it is. Returns where it was.
  Stage Enter(Stage stage, TimePoint now);
  Stage stage() const { return stages_.stage(); }
  TimePoint received() const { return stages_.received(); }

  // It was taken from the queue; of its prompt, `cached` tokens were found.
  void Admitted(PlacementReport placement, uint32_t cached);
  bool admitted() const { return admitted_; }
  void HandedOver() { handed_over_ = true; }
  // Back in the queue, to be computed again: it is bound nowhere.
  void Preempted();
  void DeviceLost();
  uint32_t recomputed() const { return recomputed_; }
  // On arrival: when its first token is due to come, seconds from then.
  void Predicted(double ttft) { predicted_ttft_ = ttft; }
  double predicted_ttft() const { return predicted_ttft_; }

  // Scores of a chunk's rows. They are given to the sink when the prompt's are
  // complete.
  void AddScores(std::vector<SampledToken> scores);
  // Its prompt will be computed again, and be scored again.
  void DropScores() { scores_.clear(); }
  // Once, however often the prompt is computed.
  void SendScores();

  // A token was drawn, and that many PARSCALE streams answered: text it, and
  // give it to the sink. What ends the request is returned: kStop, kLength, or
  // kCancelled when the reader is too slow.
  std::optional<FinishReason> Accept(SampledToken token, uint32_t streams,
                                     TimePoint now);

  // Of best-of-n: a further candidate has drawn a token. True: it is complete.
  bool AcceptCandidate(uint32_t candidate, SampledToken token) {
    return best_of_->Accept(candidate, std::move(token));
  }
  // Of those complete by now, it is the best.
  bool Leads(uint32_t candidate) const {
    return best_of_->Best(lingers_with_.has_value()) == candidate;
  }
  // Whose answer is told when it ends for that reason.
  uint32_t Chosen(FinishReason reason) const;
  // Its own answer is complete, for that reason, and it waits for candidates no
  // longer than `until`.
  void Linger(FinishReason reason, TimePoint until);
  std::optional<FinishReason> lingers_with() const { return lingers_with_; }
  TimePoint lingers_until() const { return lingers_until_; }

  // Gives the sink its OnFinish. The rest of `outcome` is filled in here.
  Outcome Finish(Outcome outcome, TimePoint now);

  bool first_token_sent() const { return answer_.tokens() > 0; }
  TimePoint first_token() const { return first_token_; }
  TimePoint last_token() const { return last_token_; }

 private:
  void Choose(Outcome& outcome);

  const RequestId id_;
  const uint32_t prompt_tokens_;
  SamplingParams sampling_;
  const int32_t prompt_logprobs_;
  const TimePoint deadline_;
  const uint32_t service_class_;
  std::shared_ptr<TokenSink> sink_;  // shared with the caller's connection
  Answer answer_;
  std::unique_ptr<BestOf> best_of_;  // when it was asked for
  TokenDelta delta_;  // reused, so that a token allocates nothing
  std::vector<SampledToken> scores_;
  bool scores_sent_ = false;
  uint64_t streams_ = 0;  // summed over its tokens
  TimePoint first_token_, last_token_;
  std::optional<FinishReason> lingers_with_;
  TimePoint lingers_until_ = kNever;
  StageClock stages_;
  PlacementReport placement_;
  double predicted_ttft_ = 0;
  bool admitted_ = false, handed_over_ = false;
  uint32_t cached_ = 0, preempted_ = 0, recomputed_ = 0;
};

}  // namespace braid
