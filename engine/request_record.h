// What the engine keeps of a request besides its place in the schedule: how it
// is sampled, how its tokens become text, when it ends, who reads it, and when
// each of its stages ended.
//
// Thread safety: engine thread only. A step in flight reads `sampling`.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "engine/engine.h"
#include "engine/stop_matcher.h"
#include "engine/token_sink.h"
#include "model/tokenizer.h"

namespace braid {

class RequestRecord final {
 public:
  RequestRecord(RequestId id, GenerateRequest request,
                std::shared_ptr<TokenSink> sink, const Tokenizer* tokenizer,
                TimePoint received);

  RequestId id() const { return id_; }
  const SamplingParams& sampling() const { return sampling_; }
  int32_t prompt_logprobs() const { return prompt_logprobs_; }
  TimePoint deadline() const { return deadline_; }

  // The stages, in order. Each is told at most once.
  void Admitted(TimePoint now);
  void PrefillEnded(TimePoint now);
  void DecodeJoined(TimePoint now);
  void HandedOver() { handed_over_ = true; }
  bool prefilled() const { return prefilled_; }

  // Scores of a chunk's rows. They are given to the sink when the prompt's are
  // complete.
  void AddScores(std::vector<SampledToken> scores);
  void SendScores();

  // A token was drawn: text it, and give it to the sink. What ends the request
  // is returned: kStop, kLength, or kCancelled when the reader is too slow.
  std::optional<FinishReason> Accept(SampledToken token, TimePoint now);

  // Gives the sink its OnFinish. The rest of `outcome` is filled in here.
  Outcome Finish(Outcome outcome, TimePoint now);

  bool first_token_sent() const { return output_tokens_ > 0; }
  TimePoint last_token() const { return last_token_; }
  const StageTimes& times() const { return times_; }

 private:
  bool EndsGeneration(TokenId token) const;

  const RequestId id_;
  SamplingParams sampling_;
  const uint32_t max_output_;
  const int32_t prompt_logprobs_;
  const TimePoint deadline_;
  const Tokenizer* tokenizer_;
  std::shared_ptr<TokenSink> sink_;  // shared with the caller's connection
  Detokenizer detokenizer_;
  StopMatcher stops_;
  std::string matched_stop_;
  std::string fresh_;  // reused between tokens
  std::vector<SampledToken> scores_;
  uint32_t output_tokens_ = 0;
  TimePoint last_token_;
  StageTimes times_;
  // Stages that have ended, in the order of StageTimes.
  bool admitted_ = false, prefilled_ = false, joined_ = false;
  bool handed_over_ = false;
};

}  // namespace braid
