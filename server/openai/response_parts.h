// What answers of both kinds of completion are made of. Written straight into
// strings: no document tree on the path of a token.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "engine/token_sink.h"
#include "model/sampling.h"
#include "model/tokenizer.h"

namespace braid::server {

// Of best-of-n, what the client is told: candidates, the first included.
struct BestOfUsage {
  uint32_t asked = 1, complete = 1, chosen = 0;
  uint64_t candidate_tokens = 0;  // of all of them
  // By candidate; nothing of those that were not complete in time.
  std::vector<std::optional<double>> self_certainty;
};

struct Usage {
  uint32_t prompt_tokens = 0;
  uint32_t cached_tokens = 0;
  uint32_t output_tokens = 0;
  // PARSCALE streams per output token, where the client is to know.
  std::optional<double> mean_streams;
  std::optional<BestOfUsage> best_of;  // when it was asked for
};

// A part of an answer as it is streamed: see TokenDelta.
struct AnswerPart {
  absl::string_view text;
  std::span<const SampledToken> tokens;
  std::span<const uint32_t> streams;  // by token
};

// One of `n` answers, complete.
struct ChoiceResult {
  std::string text;
  std::vector<SampledToken> tokens;
  std::vector<uint32_t> streams;  // by token
  FinishReason reason = FinishReason::kStop;
};

// What every object of one answer begins with.
struct ResponseHead {
  std::string id;  // "chatcmpl-..."
  std::string model;
  int64_t created_unix_seconds = 0;
};

// `"key"`-less JSON pieces, each a complete value.
void AppendJsonString(absl::string_view text, std::string& out);
void AppendFinishReason(FinishReason reason, std::string& out);  // or null
void AppendUsage(const Usage& usage, std::string& out);
// The event without choices that ends a stream whose client asked for usage;
// `timings` is an object, or empty.
void AppendUsageEvent(absl::string_view chunk_prefix, const Usage& usage,
                      absl::string_view timings, std::string& out);
// The request's number in /debug/decisions; milliseconds of each stage, which
// sum to total_ms; where it ran and why.
void AppendTimings(const Outcome& outcome, std::string& out);
// Shortest decimal that reads back as the same float; -9999 for what JSON
// cannot say.
void AppendLogprob(float logprob, std::string& out);

// {"content":[{token,logprob,bytes,top_logprobs}],"refusal":null}
void AppendChatLogprobs(const Tokenizer& tokenizer,
                        std::span<const SampledToken> tokens, int32_t top,
                        std::string& out);

// ,"parscale_streams":[1,4,4]
void AppendParscaleStreams(std::span<const uint32_t> streams, std::string& out);

// {"tokens","token_logprobs","top_logprobs","text_offset"}. The first
// `unscored` tokens have no logprob (null). `text_offset` is that of the first
// token, and is moved behind the last one.
void AppendTextLogprobs(const Tokenizer& tokenizer,
                        std::span<const SampledToken> tokens, size_t unscored,
                        int32_t top, size_t& text_offset, std::string& out);

}  // namespace braid::server
