// Answers to /v1/chat/completions, whole or as a stream of events, exactly as
// OpenAI's schema has them: every chunk has finish_reason (null on inner ones),
// the first chunk is the role, the last one of a choice an empty delta.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "absl/strings/string_view.h"
#include "server/openai/generation_options.h"
#include "server/openai/response_parts.h"

namespace braid::server {

class ChatResponseWriter final {
 public:
  // `tokenizer` outlives the writer.
  ChatResponseWriter(const Tokenizer* tokenizer, ResponseHead head,
                     const GenerationOptions& options);

  // Each appends one server-sent event.
  void Begin(uint32_t choice, std::string& out);
  void Delta(uint32_t choice, const AnswerPart& part, std::string& out);
  void Finish(uint32_t choice, FinishReason reason, std::string& out);
  void FinalUsage(const Usage& usage, absl::string_view timings,
                  std::string& out);

  // The answer as one document. `timings` is JSON, or empty.
  std::string Whole(std::span<const ChoiceResult> choices, const Usage& usage,
                    absl::string_view timings);

 private:
  bool wants_logprobs() const { return top_logprobs_ >= 0; }
  // Tokens tell something even while they are no text yet.
  bool wants_tokens() const { return wants_logprobs() || per_token_streams_; }
  void AppendLogprobs(std::span<const SampledToken> tokens, std::string& out);

  const Tokenizer* tokenizer_;
  const int32_t top_logprobs_;
  const bool per_token_streams_;
  std::string fields_;  // "id":..,"created":..,"model":..
  // What stands before and behind the choices of a chunk, prepared once.
  std::string chunk_prefix_, chunk_suffix_;
};

}  // namespace braid::server
