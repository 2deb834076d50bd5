// Answers to /v1/completions, whole or as a stream of events. With echo a
// choice begins with its prompt, whose tokens lead the logprobs.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "server/openai/generation_options.h"
#include "server/openai/response_parts.h"

namespace braid::server {

// What echo puts before a choice.
struct EchoedPrompt {
  std::string text;
  std::vector<SampledToken> tokens;  // with logprobs, when asked for
  size_t unscored = 0;               // leading tokens without a logprob
};

class CompletionResponseWriter final {
 public:
  // `tokenizer` outlives the writer.
  CompletionResponseWriter(const Tokenizer* tokenizer, ResponseHead head,
                           const GenerationOptions& options, uint32_t choices);

  // With echo; before anything else of that choice. Whole or streamed.
  void Echo(uint32_t choice, EchoedPrompt prompt);

  // Each appends one server-sent event, or none where there is nothing to say.
  void Begin(uint32_t choice, std::string& out);
  void Delta(uint32_t choice, const AnswerPart& part, std::string& out);
  void Finish(uint32_t choice, FinishReason reason, std::string& out);
  void FinalUsage(const Usage& usage, absl::string_view timings,
                  std::string& out);

  std::string Whole(std::span<const ChoiceResult> choices, const Usage& usage,
                    absl::string_view timings);

 private:
  bool wants_logprobs() const { return top_logprobs_ >= 0; }
  // Tokens tell something even while they are no text yet.
  bool wants_tokens() const { return wants_logprobs() || per_token_streams_; }
  void AppendChunk(uint32_t choice, const AnswerPart& part, size_t unscored,
                   std::string& out);

  const Tokenizer* tokenizer_;
  const int32_t top_logprobs_;
  const bool per_token_streams_;
  std::string fields_;
  std::string chunk_prefix_, chunk_suffix_;
  std::vector<EchoedPrompt> echoes_;  // by choice
  std::vector<size_t> text_offsets_;  // by choice, bytes of text so far
};

}  // namespace braid::server
