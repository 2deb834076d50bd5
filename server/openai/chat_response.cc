#include "server/openai/chat_response.h"

#include "absl/strings/str_cat.h"

namespace braid::server {

ChatResponseWriter::ChatResponseWriter(const Tokenizer* tokenizer,
                                       ResponseHead head,
                                       const GenerationOptions& options)
    : tokenizer_(tokenizer),
      top_logprobs_(options.sampling.top_logprobs),
      per_token_streams_(options.parscale.per_token) {
  fields_ = "\"id\":";
  AppendJsonString(head.id, fields_);
  absl::StrAppend(&fields_, ",\"created\":", head.created_unix_seconds,
                  ",\"model\":");
  AppendJsonString(head.model, fields_);
  chunk_prefix_ =
      absl::StrCat("data: {", fields_, ",\"object\":\"chat.completion.chunk\"");
  // With include_usage every other chunk says that it has none.
  chunk_suffix_ = options.include_usage ? "}],\"usage\":null}\n\n" : "}]}\n\n";
}

void ChatResponseWriter::AppendLogprobs(std::span<const SampledToken> tokens,
                                        std::string& out) {
  if (wants_logprobs()) {
    AppendChatLogprobs(*tokenizer_, tokens, top_logprobs_, out);
  } else {
    out += "null";
  }
}

void ChatResponseWriter::Begin(uint32_t choice, std::string& out) {
  absl::StrAppend(&out, chunk_prefix_, ",\"choices\":[{\"index\":", choice,
                  ",\"delta\":{\"role\":\"assistant\",\"content\":\"\"},"
                  "\"logprobs\":null,\"finish_reason\":null",
                  chunk_suffix_);
}

void ChatResponseWriter::Delta(uint32_t choice, const AnswerPart& part,
                               std::string& out) {
  if (part.text.empty() && (part.tokens.empty() || !wants_tokens())) return;
  absl::StrAppend(&out, chunk_prefix_, ",\"choices\":[{\"index\":", choice,
                  ",\"delta\":{\"content\":");
  AppendJsonString(part.text, out);
  out += "},\"logprobs\":";
  AppendLogprobs(part.tokens, out);
  if (per_token_streams_) AppendParscaleStreams(part.streams, out);
  absl::StrAppend(&out, ",\"finish_reason\":null", chunk_suffix_);
}

void ChatResponseWriter::Finish(uint32_t choice, FinishReason reason,
                                std::string& out) {
  absl::StrAppend(&out, chunk_prefix_, ",\"choices\":[{\"index\":", choice,
                  ",\"delta\":{},\"logprobs\":null,\"finish_reason\":");
  AppendFinishReason(reason, out);
  out += chunk_suffix_;
}

void ChatResponseWriter::FinalUsage(const Usage& usage,
                                    absl::string_view timings,
                                    std::string& out) {
  AppendUsageEvent(chunk_prefix_, usage, timings, out);
}

std::string ChatResponseWriter::Whole(std::span<const ChoiceResult> choices,
                                      const Usage& usage,
                                      absl::string_view timings) {
  std::string out = absl::StrCat(
      "{", fields_, ",\"object\":\"chat.completion\",\"choices\":[");
  for (size_t i = 0; i < choices.size(); ++i) {
    absl::StrAppend(&out, i == 0 ? "" : ",", "{\"index\":", i,
                    ",\"message\":{\"role\":\"assistant\",\"content\":");
    AppendJsonString(choices[i].text, out);
    out += ",\"refusal\":null},\"logprobs\":";
    AppendLogprobs(choices[i].tokens, out);
    if (per_token_streams_) AppendParscaleStreams(choices[i].streams, out);
    out += ",\"finish_reason\":";
    AppendFinishReason(choices[i].reason, out);
    out += '}';
  }
  out += "],\"usage\":";
  AppendUsage(usage, out);
  if (!timings.empty()) absl::StrAppend(&out, ",\"timings\":", timings);
  out += '}';
  return out;
}

}  // namespace braid::server
