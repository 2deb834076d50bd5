#include "server/openai/openai_api.h"

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"
#include "server/best_of_terms.h"
#include "server/openai/chat_request.h"
#include "server/openai/completion_request.h"
#include "server/openai/generation.h"
#include "server/openai/response_parts.h"
#include "server/request_error.h"

namespace braid::server {
namespace {

ResponseHead MakeHead(absl::string_view prefix, const HttpRequest& request,
                      const ServedModel& model) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return {absl::StrCat(prefix, request.id), model.name(),
          std::chrono::duration_cast<std::chrono::seconds>(now).count()};
}

// A header beats its field: it may be set by a proxy that knows better.
absl::Status TakeHeaders(const HttpRequest& http, GenerationOptions& options) {
  if (const absl::string_view name = http.Header("x-request-class");
      !name.empty()) {
    options.terms.service_class = std::string(name);
  }
  BRAID_RETURN_IF_ERROR(ReadPriority(
      "x-request-priority", http.Header("x-request-priority"), options.terms));
  BRAID_RETURN_IF_ERROR(ReadTimeout("x-request-timeout-ms",
                                    http.Header("x-request-timeout-ms"),
                                    options.terms));
  const absl::string_view timing = http.Header("x-request-timing");
  if (timing.empty()) return absl::OkStatus();
  if (!absl::SimpleAtob(timing, &options.return_timings)) {
    return InvalidField("x-request-timing", "must be true or false");
  }
  return absl::OkStatus();
}

HttpReply Unwrap(absl::StatusOr<HttpReply> reply) {
  if (reply.ok()) return *std::move(reply);
  return ErrorResponse(reply.status());
}

}  // namespace

void OpenAiApi::AddRoutes(Router& router) const {
  router.Add("POST", "/v1/chat/completions", Access::kNeedsKey,
             [this](const HttpRequest& request, Waker wake) {
               return Unwrap(Chat(request, std::move(wake)));
             });
  router.Add("POST", "/v1/completions", Access::kNeedsKey,
             [this](const HttpRequest& request, Waker wake) {
               return Unwrap(Complete(request, std::move(wake)));
             });
  router.Add(
      "GET", "/v1/models", Access::kNeedsKey,
      [this](const HttpRequest&, const Waker&) { return Unwrap(Models()); });
  router.Add("GET", "/v1/models/", Access::kNeedsKey,
             [this](const HttpRequest& request, const Waker&) {
               return Unwrap(Model(request));
             });
}

absl::StatusOr<GenerateRequest> OpenAiApi::MakeRequest(
    const HttpRequest& http, const GenerationOptions& options,
    uint64_t seed) const {
  GenerateRequest request;
  request.sampling = options.sampling;
  request.sampling.seed = seed;
  request.stop = options.stop;
  request.include_stop_in_text = options.include_stop_in_text;
  request.show_special = options.show_special;
  BRAID_ASSIGN_OR_RETURN(
      const ParscaleTerms parscale,
      BesideBestOf(options.best_of, options.sampling, options.parscale));
  BRAID_ASSIGN_OR_RETURN(request.streams, model_.parscale().Resolve(parscale));
  request.best_of = options.best_of;
  BRAID_RETURN_IF_ERROR(Apply(options.terms, http.caller, engine_.classes(),
                              clock_.Now(), request));
  return request;
}

absl::StatusOr<HttpReply> OpenAiApi::Chat(const HttpRequest& request,
                                          Waker wake) const {
  BRAID_ASSIGN_OR_RETURN(
      ChatRequest chat,
      ParseChatRequest(request.body, model_.tokenizer().vocabulary()));
  if (!chat.tools.is_null() && !model_.TakesTools()) {
    chat.options.ignored_fields.emplace_back("tools");
  }
  CountIgnored(chat.options);
  BRAID_RETURN_IF_ERROR(TakeHeaders(request, chat.options));
  BRAID_RETURN_IF_ERROR(model_.CheckName(chat.options.model));
  BRAID_ASSIGN_OR_RETURN(
      std::vector<TokenId> prompt,
      model_.EncodeChat({std::move(chat.messages), std::move(chat.tools),
                         std::move(chat.template_arguments),
                         chat.add_generation_prompt}));
  BRAID_RETURN_IF_ERROR(
      model_.CheckLength(prompt.size(), chat.options.max_tokens.value_or(1)));
  const uint32_t max_tokens =
      chat.options.max_tokens.value_or(model_.DefaultMaxTokens(prompt.size()));

  const uint64_t seed =
      chat.options.has_seed ? chat.options.sampling.seed : model_.NextSeed();
  std::vector<ChoiceJob> jobs(chat.options.n);
  for (uint32_t i = 0; i < chat.options.n; ++i) {
    BRAID_ASSIGN_OR_RETURN(jobs[i].request,
                           MakeRequest(request, chat.options, seed + i));
    jobs[i].request.prompt = prompt;
    jobs[i].request.max_tokens = max_tokens;
    jobs[i].counts_prompt = i == 0;
  }
  ChatResponseWriter writer(&model_.tokenizer(),
                            MakeHead("chatcmpl-", request, model_),
                            chat.options);
  BRAID_ASSIGN_OR_RETURN(
      auto generation, Generation::Start(engine_, std::move(jobs), chat.options,
                                         std::move(writer), max_waiting_tokens_,
                                         std::move(wake)));
  return Generation::Reply(std::move(generation));
}

absl::StatusOr<HttpReply> OpenAiApi::Complete(const HttpRequest& request,
                                              Waker wake) const {
  BRAID_ASSIGN_OR_RETURN(
      CompletionRequest completion,
      ParseCompletionRequest(request.body, model_.tokenizer().vocabulary()));
  CountIgnored(completion.options);
  BRAID_RETURN_IF_ERROR(TakeHeaders(request, completion.options));
  const GenerationOptions& options = completion.options;
  BRAID_RETURN_IF_ERROR(model_.CheckName(options.model));
  const uint64_t seed =
      options.has_seed ? options.sampling.seed : model_.NextSeed();
  std::vector<ChoiceJob> jobs;
  for (const Prompt& prompt : completion.prompts) {
    const auto* ids = std::get_if<std::vector<TokenId>>(&prompt);
    const auto* text = std::get_if<std::string>(&prompt);
    std::vector<TokenId> tokens;
    if (ids != nullptr) {
      tokens = *ids;
    } else {
      BRAID_ASSIGN_OR_RETURN(tokens, model_.EncodeText(*text));
    }
    BRAID_RETURN_IF_ERROR(
        model_.CheckLength(tokens.size(), *options.max_tokens));
    for (uint32_t i = 0; i < options.n; ++i) {
      ChoiceJob job;
      BRAID_ASSIGN_OR_RETURN(job.request,
                             MakeRequest(request, options, seed + i));
      job.request.prompt = tokens;
      job.request.max_tokens = *options.max_tokens;
      job.counts_prompt = i == 0;
      if (completion.echo) {
        job.echo =
            text != nullptr ? *text : model_.tokenizer().Decode(tokens, true);
        job.request.prompt_logprobs = options.sampling.top_logprobs;
        // Nothing to generate and no logprobs to tell: the engine has to be
        // asked for something, and the scores are thrown away.
        if (*options.max_tokens == 0 && job.request.prompt_logprobs < 0) {
          job.request.prompt_logprobs = 0;
        }
      }
      jobs.push_back(std::move(job));
    }
  }
  CompletionResponseWriter writer(&model_.tokenizer(),
                                  MakeHead("cmpl-", request, model_), options,
                                  static_cast<uint32_t>(jobs.size()));
  BRAID_ASSIGN_OR_RETURN(
      auto generation,
      Generation::Start(engine_, std::move(jobs), options, std::move(writer),
                        max_waiting_tokens_, std::move(wake)));
  return Generation::Reply(std::move(generation));
}

void OpenAiApi::CountIgnored(const GenerationOptions& options) const {
  for (const std::string& field : options.ignored_fields) {
    metrics_.CountIgnoredField(field);
  }
}

std::string OpenAiApi::ModelJson() const {
  std::string out = "{\"id\":";
  AppendJsonString(model_.name(), out);
  absl::StrAppend(
      &out, ",\"object\":\"model\",\"created\":", model_.created_unix_seconds(),
      ",\"owned_by\":\"braid\",\"max_model_len\":", model_.max_context());
  if (const ParscaleOffer& offer = model_.parscale(); offer.any()) {
    absl::StrAppend(&out, ",\"parscale\":{\"mode\":\"", ToString(offer.mode()),
                    "\",\"max\":", offer.most(), "}");
  }
  out += '}';
  return out;
}

absl::StatusOr<HttpReply> OpenAiApi::Models() const {
  return JsonResponse(
      absl::StrCat("{\"object\":\"list\",\"data\":[", ModelJson(), "]}"));
}

absl::StatusOr<HttpReply> OpenAiApi::Model(const HttpRequest& request) const {
  absl::string_view name = request.path;
  absl::ConsumePrefix(&name, "/v1/models/");
  BRAID_RETURN_IF_ERROR(model_.CheckName(name));
  return JsonResponse(ModelJson());
}

}  // namespace braid::server
