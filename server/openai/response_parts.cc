#include "server/openai/response_parts.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "model/json_value.h"
#include "server/text_view.h"

namespace braid::server {
namespace {

void AppendTokenText(const Tokenizer& tokenizer, TokenId token,
                     std::string& out) {
  AppendJsonString(ToAbsl(tokenizer.TokenBytes(token, /*show_special=*/true)),
                   out);
}

// "token":..,"logprob":..,"bytes":[..]
void AppendTokenFields(const Tokenizer& tokenizer, const TokenLogprob& token,
                       std::string& out) {
  out += "\"token\":";
  AppendTokenText(tokenizer, token.token, out);
  out += ",\"logprob\":";
  AppendLogprob(token.logprob, out);
  out += ",\"bytes\":[";
  const std::string_view bytes =
      tokenizer.TokenBytes(token.token, /*show_special=*/true);
  for (size_t i = 0; i < bytes.size(); ++i) {
    absl::StrAppend(&out, i == 0 ? "" : ",",
                    static_cast<unsigned char>(bytes[i]));
  }
  out += ']';
}

std::span<const TokenLogprob> Top(const SampledToken& token, int32_t top) {
  const size_t n = std::min(token.top.size(),
                            static_cast<size_t>(std::max<int32_t>(top, 0)));
  return std::span(token.top).first(n);
}

void AppendBestOf(const BestOfUsage& best_of, std::string& out) {
  absl::StrAppend(&out, ",\"best_of\":{\"asked\":", best_of.asked,
                  ",\"complete\":", best_of.complete,
                  ",\"chosen\":", best_of.chosen,
                  ",\"candidate_tokens\":", best_of.candidate_tokens,
                  ",\"self_certainty\":[");
  for (size_t i = 0; i < best_of.self_certainty.size(); ++i) {
    if (i > 0) out += ',';
    if (const std::optional<double> one = best_of.self_certainty[i]) {
      absl::StrAppendFormat(&out, "%.6g", *one);
    } else {
      out += "null";
    }
  }
  out += "]}";
}

}  // namespace

void AppendJsonString(absl::string_view text, std::string& out) {
  out += '"';
  AppendJsonEscaped(ToStd(text), out);
  out += '"';
}

void AppendFinishReason(FinishReason reason, std::string& out) {
  out += reason == FinishReason::kLength ? "\"length\"" : "\"stop\"";
}

void AppendUsage(const Usage& usage, std::string& out) {
  absl::StrAppend(
      &out, "{\"prompt_tokens\":", usage.prompt_tokens,
      ",\"completion_tokens\":", usage.output_tokens,
      ",\"total_tokens\":", usage.prompt_tokens + usage.output_tokens,
      ",\"prompt_tokens_details\":{\"cached_tokens\":", usage.cached_tokens,
      "}");
  if (usage.mean_streams) {
    absl::StrAppendFormat(&out, ",\"parscale\":{\"mean\":%.6g}",
                          *usage.mean_streams);
  }
  if (usage.best_of) AppendBestOf(*usage.best_of, out);
  out += '}';
}

void AppendUsageEvent(absl::string_view chunk_prefix, const Usage& usage,
                      absl::string_view timings, std::string& out) {
  absl::StrAppend(&out, chunk_prefix, ",\"choices\":[],\"usage\":");
  AppendUsage(usage, out);
  if (!timings.empty()) absl::StrAppend(&out, ",\"timings\":", timings);
  out += "}\n\n";
}

void AppendTimings(const Outcome& outcome, std::string& out) {
  const StageTimes& times = outcome.times;
  absl::StrAppend(&out, "{\"request\":", outcome.id.value(), ",");
  for (int i = 0; i < kStageCount; ++i) {
    const auto stage = static_cast<Stage>(i);
    absl::StrAppendFormat(&out, "\"%s_ms\":%.3f,", ToString(stage),
                          ToSeconds(times[stage]) * 1e3);
  }
  const PlacementReport& placement = outcome.placement;
  absl::StrAppendFormat(
      &out,
      "\"total_ms\":%.3f,\"time_to_first_token_ms\":%.3f,"
      "\"predicted_time_to_first_token_ms\":%.3f,\"split\":%s,"
      "\"placement\":{\"prefill\":",
      ToSeconds(times.finished - times.received) * 1e3,
      ToSeconds(times.first_token - times.received) * 1e3,
      placement.predicted_ttft * 1e3, outcome.split ? "true" : "false");
  AppendJsonString(placement.prefill, out);
  out += ",\"decode\":";
  AppendJsonString(placement.decode, out);
  absl::StrAppend(&out, ",\"reason\":\"", placement.reason,
                  "\"},\"preempted\":", outcome.preempted,
                  ",\"recomputed\":", outcome.recomputed, "}");
}

void AppendLogprob(float logprob, std::string& out) {
  if (!std::isfinite(logprob)) {
    out += "-9999.0";
    return;
  }
  char digits[32];
  const auto [end, error] =
      std::to_chars(digits, digits + sizeof(digits), logprob);
  out.append(digits, end);
}

void AppendChatLogprobs(const Tokenizer& tokenizer,
                        std::span<const SampledToken> tokens, int32_t top,
                        std::string& out) {
  out += "{\"content\":[";
  for (size_t i = 0; i < tokens.size(); ++i) {
    out += i == 0 ? "{" : ",{";
    AppendTokenFields(tokenizer, {tokens[i].token, tokens[i].logprob}, out);
    out += ",\"top_logprobs\":[";
    bool first = true;
    for (const TokenLogprob& alternative : Top(tokens[i], top)) {
      out += first ? "{" : ",{";
      first = false;
      AppendTokenFields(tokenizer, alternative, out);
      out += '}';
    }
    out += "]}";
  }
  out += "],\"refusal\":null}";
}

void AppendParscaleStreams(std::span<const uint32_t> streams,
                           std::string& out) {
  out += ",\"parscale_streams\":[";
  for (size_t i = 0; i < streams.size(); ++i) {
    absl::StrAppend(&out, i == 0 ? "" : ",", streams[i]);
  }
  out += ']';
}

void AppendTextLogprobs(const Tokenizer& tokenizer,
                        std::span<const SampledToken> tokens, size_t unscored,
                        int32_t top, size_t& text_offset, std::string& out) {
  const auto list = [&](const char* key, auto append) {
    absl::StrAppend(&out, "\"", key, "\":[");
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (i > 0) out += ',';
      append(i);
    }
    out += ']';
  };
  out += '{';
  list("tokens",
       [&](size_t i) { AppendTokenText(tokenizer, tokens[i].token, out); });
  out += ',';
  list("token_logprobs", [&](size_t i) {
    if (i < unscored) {
      out += "null";
    } else {
      AppendLogprob(tokens[i].logprob, out);
    }
  });
  out += ',';
  list("top_logprobs", [&](size_t i) {
    if (i < unscored || top <= 0) {
      out += "null";
      return;
    }
    out += '{';
    bool first = true;
    for (const TokenLogprob& alternative : Top(tokens[i], top)) {
      if (!first) out += ',';
      first = false;
      AppendTokenText(tokenizer, alternative.token, out);
      out += ':';
      AppendLogprob(alternative.logprob, out);
    }
    out += '}';
  });
  out += ',';
  list("text_offset", [&](size_t i) {
    absl::StrAppend(&out, text_offset);
    text_offset += tokenizer.TokenBytes(tokens[i].token).size();
  });
  out += '}';
}

}  // namespace braid::server
