#include "server/openai/generation_options.h"

#include <limits>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "engine/engine.h"
#include "model/parscale.h"

namespace braid::server {
namespace {

constexpr int64_t kMaxTokens = 1 << 30;

void ParseStop(FieldReader& fields, std::vector<std::string>& stop) {
  const JsonValue* value = fields.Get("stop");
  if (value == nullptr) return;
  if (value->string() != nullptr) {
    stop.push_back(*value->string());
  } else if (value->array() != nullptr) {
    for (const JsonValue& item : *value->array()) {
      if (item.string() == nullptr) {
        fields.FailType("stop", "a string or a list of strings", item);
        return;
      }
      stop.push_back(*item.string());
    }
  } else {
    fields.FailType("stop", "a string or a list of strings", *value);
    return;
  }
  if (stop.size() > kMaxStopStrings) {
    fields.Fail("stop", absl::StrCat("has ", stop.size(), " strings; at most ",
                                     kMaxStopStrings, " are allowed"));
  }
  for (const std::string& text : stop) {
    if (text.empty()) fields.Fail("stop", "must not hold an empty string");
    if (text.size() > kMaxStopBytes) {
      fields.Fail("stop", absl::StrCat("holds a string of more than ",
                                       kMaxStopBytes, " bytes"));
    }
  }
}

void ParseLogitBias(FieldReader& fields, int32_t vocabulary,
                    SamplingParams& sampling) {
  constexpr absl::string_view kKey = "logit_bias";
  const JsonValue* value = fields.Get(kKey);
  if (value == nullptr) return;
  if (value->object() == nullptr) {
    fields.FailType(kKey, "an object of token ids and numbers", *value);
    return;
  }
  if (value->object()->size() > kMaxLogitBias) {
    fields.Fail(kKey, absl::StrCat("has more than ", kMaxLogitBias, " tokens"));
    return;
  }
  FieldReader biases(*value, absl::StrCat(kKey, "."));
  for (const auto& [key, bias] : *value->object()) {
    TokenId token = 0;
    if (!absl::SimpleAtoi(key, &token) || token < 0 || token >= vocabulary) {
      fields.Fail(kKey, absl::StrCat("'", key, "' is not a token id below ",
                                     vocabulary));
      return;
    }
    const double number = biases.Number(key, 0, -100, 100);
    if (!biases.ok()) {
      fields.Fail(kKey, "biases must be numbers between -100 and 100");
      return;
    }
    sampling.logit_bias.emplace_back(token, static_cast<float>(number));
  }
}

void ParseSampling(FieldReader& fields, SamplingParams& sampling) {
  const auto number = [&](absl::string_view key, float fallback, double min,
                          double max) {
    return static_cast<float>(fields.Number(key, fallback, min, max));
  };
  sampling.temperature = number("temperature", 1, 0, 2);
  sampling.top_p = number("top_p", 1, 0, 1);
  sampling.min_p = number("min_p", 0, 0, 1);
  // -1 is how some clients write "off".
  const int64_t top_k = fields.Integer("top_k", 0, -1, 1 << 30);
  sampling.top_k = static_cast<int32_t>(top_k < 0 ? 0 : top_k);
  sampling.presence_penalty = number("presence_penalty", 0, -2, 2);
  sampling.frequency_penalty = number("frequency_penalty", 0, -2, 2);
  sampling.repetition_penalty = number("repetition_penalty", 1, 0.01, 10);
  sampling.min_tokens =
      static_cast<int32_t>(fields.Integer("min_tokens", 0, 0, kMaxTokens));
  sampling.ignore_eos = fields.Bool("ignore_eos", false);
}

// False, or nothing in it. An empty object is a schema of anything.
bool AsksForNothing(const JsonValue& value) {
  if (const bool* flag = value.boolean()) return !*flag;
  if (const std::string* text = value.string()) return text->empty();
  return value.array() != nullptr && value.array()->empty();
}

// Of OpenAI and of other servers, in both kinds of completion. To ignore these
// would be to answer something else than what was asked.
void RefuseUnsupported(FieldReader& fields) {
  if (const JsonValue* format = fields.Get("response_format")) {
    const JsonValue* type = format->Find("type");
    if (type == nullptr || type->string() == nullptr) {
      fields.Fail("response_format", "must be an object with a type");
    } else if (*type->string() != "text") {
      fields.Fail("response_format",
                  absl::StrCat("'", *type->string(), "' is not supported yet"));
    }
  }
  for (const char* key : {"functions",
                          "audio",
                          "prediction",
                          "suffix",
                          "grammar",
                          "json_schema",
                          "regex",
                          "ebnf",
                          "structural_tag",
                          "guided_json",
                          "guided_regex",
                          "guided_choice",
                          "guided_grammar",
                          "structured_outputs",
                          "allowed_token_ids",
                          "bad_words",
                          "stop_token_ids",
                          "stop_regex",
                          "use_beam_search",
                          "continue_final_message",
                          "chat_template",
                          "documents",
                          "truncate_prompt_tokens",
                          "prompt_logprobs",
                          "return_token_ids",
                          "web_search_options"}) {
    const JsonValue* value = fields.Get(key);
    if (value != nullptr && !AsksForNothing(*value)) {
      fields.Fail(key, "is not supported");
    }
  }
}

// {"mode": "off"|"auto"|"fixed", "min": 1, "max": 4, "per_token": true}. Unlike
// OpenAI's own fields, this one is ours alone: a key that is not known is a
// mistake.
ParscaleTerms ParseParscale(FieldReader& fields) {
  constexpr absl::string_view kKey = "parscale";
  ParscaleTerms terms;
  const JsonValue* value = fields.Get(kKey);
  if (value == nullptr) return terms;
  terms.given = true;
  if (value->object() == nullptr) {
    fields.FailType(kKey, "an object with mode, min and max", *value);
    return terms;
  }
  FieldReader inner(*value, absl::StrCat(kKey, "."));
  for (const auto& [key, unused] : *value->object()) {
    if (key != "mode" && key != "min" && key != "max" && key != "per_token") {
      inner.Fail(key.substr(0, 100),
                 "is not known; there are mode, min, max and per_token");
    }
  }
  if (inner.Get("mode") != nullptr) {
    const std::string mode = inner.String("mode");
    terms.mode = ParseStreamMode(mode);
    if (!terms.mode) inner.Fail("mode", "must be 'off', 'auto' or 'fixed'");
  }
  const auto streams = [&](absl::string_view key) -> std::optional<uint32_t> {
    const auto number = inner.OptionalInteger(key, 1, kMostStreams);
    if (!number) return std::nullopt;
    return static_cast<uint32_t>(*number);
  };
  terms.min = streams("min");
  terms.max = streams("max");
  if (terms.min && terms.max && *terms.min > *terms.max) {
    inner.Fail("min", absl::StrCat("must not be above parscale.max, ",
                                   *terms.max, ", but is ", *terms.min));
  }
  terms.per_token = inner.Bool("per_token", false);
  fields.Adopt(inner);
  return terms;
}

// OpenAI's field for text completions, and ours for chat. As many as n are what
// n alone asks for.
uint32_t ParseBestOf(FieldReader& fields, uint32_t n, bool stream) {
  constexpr absl::string_view kKey = "best_of";
  const auto asked = fields.OptionalInteger(kKey, 1, kMaxChoices);
  if (!asked || *asked == n) return 1;
  if (n > 1) {
    fields.Fail(kKey, absl::StrCat("with n above 1 must be n, ", n,
                                   ", or left out: of several candidates one "
                                   "answer is told"));
  } else if (*asked > kMostCandidates) {
    fields.Fail(kKey, absl::StrCat("must be between 1 and ", kMostCandidates,
                                   ", not ", *asked));
  } else if (stream) {
    fields.Fail(kKey,
                "cannot be streamed: which answer is the best is known at the "
                "end; leave out stream: true");
  }
  return static_cast<uint32_t>(*asked);
}

}  // namespace

GenerationOptions ParseGenerationOptions(FieldReader& fields,
                                         int32_t vocabulary) {
  GenerationOptions options;
  options.model = fields.String("model");
  ParseSampling(fields, options.sampling);
  ParseLogitBias(fields, vocabulary, options.sampling);
  ParseStop(fields, options.stop);
  const auto seed =
      fields.OptionalInteger("seed", std::numeric_limits<int64_t>::min(),
                             std::numeric_limits<int64_t>::max());
  options.has_seed = seed.has_value();
  options.sampling.seed = static_cast<uint64_t>(seed.value_or(0));
  // The newer name wins, as in OpenAI's own server.
  auto max_tokens =
      fields.OptionalInteger("max_completion_tokens", 0, kMaxTokens);
  const auto older = fields.OptionalInteger("max_tokens", 0, kMaxTokens);
  if (!max_tokens.has_value()) max_tokens = older;
  if (max_tokens.has_value()) {
    options.max_tokens = static_cast<uint32_t>(*max_tokens);
  }
  options.include_stop_in_text =
      fields.Bool("include_stop_str_in_output", false);
  options.show_special = !fields.Bool("skip_special_tokens", true);
  options.n = static_cast<uint32_t>(fields.Integer("n", 1, 1, kMaxChoices));
  options.stream = fields.Bool("stream", false);
  options.best_of = ParseBestOf(fields, options.n, options.stream);
  RefuseUnsupported(fields);
  options.return_timings = fields.Bool("return_timings", false);
  options.terms.service_class = fields.String("service_class");
  options.terms.priority = static_cast<int32_t>(
      fields.Integer("priority", 0, -kMaxPriority, kMaxPriority));
  options.terms.timeout_ms =
      fields.OptionalInteger("timeout_ms", 1, kMaxTimeoutMilliseconds);
  options.terms.cache_salt = fields.String("cache_salt");
  options.parscale = ParseParscale(fields);
  if (const JsonValue* stream_options = fields.Get("stream_options")) {
    if (stream_options->object() == nullptr) {
      fields.FailType("stream_options", "an object", *stream_options);
    } else if (!options.stream) {
      fields.Fail("stream_options", "is allowed only with stream: true");
    } else {
      FieldReader inner(*stream_options, "stream_options.");
      options.include_usage = inner.Bool("include_usage", false);
      fields.Adopt(inner);
    }
  }
  return options;
}

void CheckMinTokens(const GenerationOptions& options, FieldReader& fields) {
  const int32_t least = options.sampling.min_tokens;
  if (!options.max_tokens || least <= int64_t{*options.max_tokens}) return;
  fields.Fail("min_tokens",
              absl::StrCat("must not be above max_tokens, ",
                           *options.max_tokens, ", but is ", least));
}

}  // namespace braid::server
