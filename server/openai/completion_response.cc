#include "server/openai/completion_response.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace braid::server {

CompletionResponseWriter::CompletionResponseWriter(
    const Tokenizer* tokenizer, ResponseHead head,
    const GenerationOptions& options, uint32_t choices)
    : tokenizer_(tokenizer),
      top_logprobs_(options.sampling.top_logprobs),
      per_token_streams_(options.parscale.per_token),
      echoes_(choices),
      text_offsets_(choices, 0) {
  fields_ = "\"id\":";
  AppendJsonString(head.id, fields_);
  absl::StrAppend(&fields_, ",\"object\":\"text_completion\",\"created\":",
                  head.created_unix_seconds, ",\"model\":");
  AppendJsonString(head.model, fields_);
  chunk_prefix_ = absl::StrCat("data: {", fields_);
  chunk_suffix_ = options.include_usage ? "}],\"usage\":null}\n\n" : "}]}\n\n";
}

void CompletionResponseWriter::Echo(uint32_t choice, EchoedPrompt prompt) {
  echoes_[choice] = std::move(prompt);
}

void CompletionResponseWriter::AppendChunk(uint32_t choice,
                                           const AnswerPart& part,
                                           size_t unscored, std::string& out) {
  absl::StrAppend(&out, chunk_prefix_, ",\"choices\":[{\"index\":", choice,
                  ",\"text\":");
  AppendJsonString(part.text, out);
  out += ",\"logprobs\":";
  if (wants_logprobs()) {
    AppendTextLogprobs(*tokenizer_, part.tokens, unscored, top_logprobs_,
                       text_offsets_[choice], out);
  } else {
    out += "null";
  }
  if (per_token_streams_) AppendParscaleStreams(part.streams, out);
  absl::StrAppend(&out, ",\"finish_reason\":null", chunk_suffix_);
}

void CompletionResponseWriter::Begin(uint32_t choice, std::string& out) {
  const EchoedPrompt& echo = echoes_[choice];
  if (echo.text.empty() && echo.tokens.empty()) return;
  AppendChunk(choice, {echo.text, echo.tokens, {}}, echo.unscored, out);
}

void CompletionResponseWriter::Delta(uint32_t choice, const AnswerPart& part,
                                     std::string& out) {
  if (part.text.empty() && (part.tokens.empty() || !wants_tokens())) return;
  AppendChunk(choice, part, 0, out);
}

void CompletionResponseWriter::Finish(uint32_t choice, FinishReason reason,
                                      std::string& out) {
  absl::StrAppend(&out, chunk_prefix_, ",\"choices\":[{\"index\":", choice,
                  ",\"text\":\"\",\"logprobs\":null,\"finish_reason\":");
  AppendFinishReason(reason, out);
  out += chunk_suffix_;
}

void CompletionResponseWriter::FinalUsage(const Usage& usage,
                                          absl::string_view timings,
                                          std::string& out) {
  AppendUsageEvent(chunk_prefix_, usage, timings, out);
}

std::string CompletionResponseWriter::Whole(
    std::span<const ChoiceResult> choices, const Usage& usage,
    absl::string_view timings) {
  std::string out = absl::StrCat("{", fields_, ",\"choices\":[");
  for (size_t i = 0; i < choices.size(); ++i) {
    const ChoiceResult& choice = choices[i];
    const EchoedPrompt& echo = echoes_[i];
    absl::StrAppend(&out, i == 0 ? "" : ",", "{\"index\":", i, ",\"text\":");
    AppendJsonString(absl::StrCat(echo.text, choice.text), out);
    out += ",\"logprobs\":";
    if (wants_logprobs()) {
      std::vector<SampledToken> tokens = echo.tokens;
      tokens.insert(tokens.end(), choice.tokens.begin(), choice.tokens.end());
      size_t offset = 0;
      AppendTextLogprobs(*tokenizer_, tokens, echo.unscored, top_logprobs_,
                         offset, out);
    } else {
      out += "null";
    }
    if (per_token_streams_) AppendParscaleStreams(choice.streams, out);
    out += ",\"finish_reason\":";
    AppendFinishReason(choice.reason, out);
    out += '}';
  }
  out += "],\"usage\":";
  AppendUsage(usage, out);
  if (!timings.empty()) absl::StrAppend(&out, ",\"timings\":", timings);
  out += '}';
  return out;
}

}  // namespace braid::server
