#include "server/grpc/inference_request.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "braid/v1/rich_status.pb.h"
#include "server/best_of_terms.h"
#include "server/openai/generation_options.h"
#include "server/request_error.h"

namespace braid::server {
namespace {

constexpr uint32_t kMostTokens = 1u << 30;

// Takes an optional field into `out` when it is set and in range.
template <typename T, typename U>
absl::Status Take(bool has, T value, T min, T max, const char* name, U& out) {
  if (!has) return absl::OkStatus();
  if (!(value >= min && value <= max)) {
    return InvalidField(name, absl::StrCat("must be between ", min, " and ",
                                           max, ", not ", value));
  }
  out = static_cast<U>(value);
  return absl::OkStatus();
}

absl::StatusOr<SamplingParams> ParseSampling(const v1::Sampling& wire,
                                             const ServedModel& model) {
  SamplingParams out;
  BRAID_RETURN_IF_ERROR(Take(wire.has_temperature(), wire.temperature(), 0.0f,
                             2.0f, "sampling.temperature", out.temperature));
  BRAID_RETURN_IF_ERROR(Take(wire.has_top_k(), wire.top_k(), 0u, kMostTokens,
                             "sampling.top_k", out.top_k));
  BRAID_RETURN_IF_ERROR(Take(wire.has_top_p(), wire.top_p(), 0.0f, 1.0f,
                             "sampling.top_p", out.top_p));
  BRAID_RETURN_IF_ERROR(Take(wire.has_min_p(), wire.min_p(), 0.0f, 1.0f,
                             "sampling.min_p", out.min_p));
  BRAID_RETURN_IF_ERROR(
      Take(wire.has_repetition_penalty(), wire.repetition_penalty(), 0.01f,
           10.0f, "sampling.repetition_penalty", out.repetition_penalty));
  BRAID_RETURN_IF_ERROR(
      Take(wire.has_presence_penalty(), wire.presence_penalty(), -2.0f, 2.0f,
           "sampling.presence_penalty", out.presence_penalty));
  BRAID_RETURN_IF_ERROR(
      Take(wire.has_frequency_penalty(), wire.frequency_penalty(), -2.0f, 2.0f,
           "sampling.frequency_penalty", out.frequency_penalty));
  BRAID_RETURN_IF_ERROR(Take(wire.has_min_tokens(), wire.min_tokens(), 0u,
                             kMostTokens, "sampling.min_tokens",
                             out.min_tokens));
  out.ignore_eos = wire.ignore_eos();
  out.seed = wire.has_seed() ? wire.seed() : model.NextSeed();
  if (wire.logit_bias().size() > static_cast<int>(kMaxLogitBias)) {
    return InvalidField("sampling.logit_bias", "has too many tokens");
  }
  for (const auto& [token, bias] : wire.logit_bias()) {
    if (token < 0 || token >= model.tokenizer().vocabulary() ||
        !(bias >= -100 && bias <= 100)) {
      return InvalidField("sampling.logit_bias",
                          "maps token ids to numbers between -100 and 100");
    }
    out.logit_bias.emplace_back(token, bias);
  }
  return out;
}

absl::StatusOr<std::vector<TokenId>> ParsePrompt(
    const v1::GenerateRequest& wire, const ServedModel& model) {
  switch (wire.input_case()) {
    case v1::GenerateRequest::kText:
      return model.EncodeText(wire.text());
    case v1::GenerateRequest::kChat: {
      if (wire.chat().messages().empty()) {
        return InvalidField("chat.messages", "must not be empty");
      }
      JsonValue::Array messages;
      for (const v1::ChatMessage& message : wire.chat().messages()) {
        if (message.role().empty()) {
          return InvalidField(
              absl::StrCat("chat.messages[", messages.size(), "].role"),
              "is missing");
        }
        messages.emplace_back(JsonValue::Object{
            {"role", message.role()}, {"content", message.content()}});
      }
      ServedModel::ChatInput input;
      input.messages = std::move(messages);
      return model.EncodeChat(std::move(input));
    }
    case v1::GenerateRequest::kTokens: {
      for (const TokenId id : wire.tokens().ids()) {
        if (id < 0 || id >= model.tokenizer().vocabulary()) {
          return InvalidField("tokens.ids",
                              absl::StrCat(id, " is not a token id below ",
                                           model.tokenizer().vocabulary()));
        }
      }
      return std::vector<TokenId>(wire.tokens().ids().begin(),
                                  wire.tokens().ids().end());
    }
    case v1::GenerateRequest::INPUT_NOT_SET:
      break;
  }
  return InvalidField("input", "give text, chat or tokens");
}

absl::StatusOr<StreamTerms> ParseParscale(const v1::GenerateRequest& wire,
                                          const GenerateRequest& request,
                                          const ParscaleOffer& offer) {
  const v1::Parscale& parscale = wire.parscale();
  ParscaleTerms terms{.given = wire.has_parscale()};
  switch (parscale.mode()) {
    case v1::PARSCALE_MODE_UNSPECIFIED:
      break;
    case v1::PARSCALE_MODE_OFF:
      terms.mode = StreamMode::kOff;
      break;
    case v1::PARSCALE_MODE_AUTO:
      terms.mode = StreamMode::kAuto;
      break;
    case v1::PARSCALE_MODE_FIXED:
      terms.mode = StreamMode::kFixed;
      break;
    default:
      return InvalidField("parscale.mode",
                          absl::StrCat("there is no mode number ",
                                       static_cast<int>(parscale.mode())));
  }
  if (parscale.has_min()) terms.min = parscale.min();
  if (parscale.has_max()) terms.max = parscale.max();
  BRAID_ASSIGN_OR_RETURN(
      terms, BesideBestOf(request.best_of, request.sampling, terms));
  return offer.Resolve(terms);
}

}  // namespace

AnswerDetail DetailOf(const v1::GenerateRequest& wire,
                      const GenerateRequest& request) {
  return {.logprobs = request.sampling.top_logprobs >= 0,
          .token_streams = wire.parscale().per_token(),
          .mean_streams =
              wire.has_parscale() || request.streams.mode != StreamMode::kOff,
          .whole = request.best_of > 1};
}

absl::StatusOr<GenerateRequest> ParseGenerate(const v1::GenerateRequest& wire,
                                              const ServedModel& model) {
  BRAID_RETURN_IF_ERROR(model.CheckName(wire.model()));
  GenerateRequest request;
  BRAID_ASSIGN_OR_RETURN(request.sampling,
                         ParseSampling(wire.sampling(), model));
  BRAID_RETURN_IF_ERROR(Take(wire.has_top_logprobs(), wire.top_logprobs(), 0u,
                             static_cast<uint32_t>(kMaxTopLogprobs),
                             "top_logprobs", request.sampling.top_logprobs));
  if (wire.stop().size() > static_cast<int>(kMaxStopStrings)) {
    return InvalidField("stop", absl::StrCat("at most ", kMaxStopStrings,
                                             " texts are allowed"));
  }
  for (const std::string& stop : wire.stop()) {
    if (stop.empty() || stop.size() > kMaxStopBytes) {
      return InvalidField(
          "stop", absl::StrCat("texts have 1 to ", kMaxStopBytes, " bytes"));
    }
    request.stop.push_back(stop);
  }
  request.include_stop_in_text = wire.include_stop_in_text();
  request.show_special = wire.show_special_tokens();
  BRAID_ASSIGN_OR_RETURN(request.prompt, ParsePrompt(wire, model));
  BRAID_RETURN_IF_ERROR(Take(wire.has_best_of(), wire.best_of(), 1u,
                             kMostCandidates, "best_of", request.best_of));
  BRAID_ASSIGN_OR_RETURN(request.streams,
                         ParseParscale(wire, request, model.parscale()));

  uint32_t max_tokens = 1;
  BRAID_RETURN_IF_ERROR(Take(wire.has_max_tokens(), wire.max_tokens(), 1u,
                             kMostTokens, "max_tokens", max_tokens));
  BRAID_RETURN_IF_ERROR(model.CheckLength(request.prompt.size(), max_tokens));
  request.max_tokens = wire.has_max_tokens()
                           ? max_tokens
                           : model.DefaultMaxTokens(request.prompt.size());
  if (request.sampling.min_tokens > int64_t{request.max_tokens}) {
    return InvalidField(
        "sampling.min_tokens",
        absl::StrCat("must not be above max_tokens, ", request.max_tokens,
                     ", but is ", request.sampling.min_tokens));
  }
  return request;
}

absl::StatusOr<ServiceTerms> ParseTerms(const v1::GenerateRequest& wire) {
  ServiceTerms terms;
  terms.service_class = wire.service_class();
  terms.cache_salt = wire.cache_salt();
  BRAID_RETURN_IF_ERROR(Take(wire.has_priority(), wire.priority(),
                             -kMaxPriority, kMaxPriority, "priority",
                             terms.priority));
  return terms;
}

void AppendToken(const SampledToken& token, uint32_t streams,
                 const AnswerDetail& detail, v1::GenerateResponse& out) {
  v1::GeneratedToken* wire = out.add_tokens();
  wire->set_id(token.token);
  if (detail.token_streams) wire->set_parscale_streams(streams);
  if (!detail.logprobs) return;
  wire->set_logprob(token.logprob);
  for (const TokenLogprob& alternative : token.top) {
    v1::TokenLogprob* top = wire->add_top();
    top->set_id(alternative.token);
    top->set_logprob(alternative.logprob);
  }
}

namespace {

void SetTimings(const Outcome& outcome, v1::Timings& out) {
  const StageTimes& times = outcome.times;
  out.set_queue_ms(ToSeconds(times[Stage::kQueue]) * 1e3);
  out.set_prefill_wait_ms(ToSeconds(times[Stage::kPrefillWait]) * 1e3);
  out.set_prefill_ms(ToSeconds(times[Stage::kPrefill]) * 1e3);
  out.set_transfer_ms(ToSeconds(times[Stage::kTransfer]) * 1e3);
  out.set_decode_wait_ms(ToSeconds(times[Stage::kDecodeWait]) * 1e3);
  out.set_decode_ms(ToSeconds(times[Stage::kDecode]) * 1e3);
  out.set_total_ms(ToSeconds(times.finished - times.received) * 1e3);
  out.set_time_to_first_token_ms(ToSeconds(times.first_token - times.received) *
                                 1e3);
  const PlacementReport& placement = outcome.placement;
  out.set_predicted_time_to_first_token_ms(placement.predicted_ttft * 1e3);
  out.set_prefill_device(placement.prefill);
  out.set_decode_device(placement.decode);
  out.set_placement_reason(placement.reason);
  out.set_preempted(outcome.preempted);
  out.set_recomputed(outcome.recomputed);
}

}  // namespace

void TakeBest(const Outcome& outcome, const AnswerDetail& detail,
              v1::GenerateResponse& out) {
  if (!outcome.best_of || !outcome.best_of->answer) return;
  out.set_text(outcome.best_of->answer->text);
  out.clear_tokens();
  for (const SampledToken& token : outcome.best_of->answer->tokens) {
    AppendToken(token, /*streams=*/1, detail, out);
  }
}

void SetFinished(const Outcome& outcome, const AnswerDetail& detail,
                 v1::GenerateResponse& out) {
  v1::Finished* finished = out.mutable_finished();
  finished->set_reason(outcome.reason == FinishReason::kLength
                           ? v1::FINISH_REASON_LENGTH
                           : v1::FINISH_REASON_STOP);
  finished->set_matched_stop(outcome.matched_stop);
  finished->set_prompt_tokens(outcome.prompt_tokens);
  finished->set_cached_tokens(outcome.cached_tokens);
  finished->set_output_tokens(outcome.output_tokens);
  finished->set_split(outcome.split);
  if (detail.mean_streams) {
    finished->mutable_parscale()->set_mean(outcome.mean_streams);
  }
  if (outcome.best_of) {
    v1::BestOfUsage* best_of = finished->mutable_best_of();
    best_of->set_asked(outcome.best_of->asked);
    best_of->set_complete(outcome.best_of->complete);
    best_of->set_chosen(outcome.best_of->chosen);
    best_of->set_candidate_tokens(outcome.best_of->candidate_tokens);
    for (const std::optional<double>& one : outcome.best_of->self_certainty) {
      v1::CandidateUsage* candidate = best_of->add_candidates();
      if (one) candidate->set_self_certainty(*one);
    }
  }
  SetTimings(outcome, *finished->mutable_timings());
}

grpc::Status CallStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  // Both families of codes are numbered alike.
  const auto code = static_cast<grpc::StatusCode>(status.code());
  const std::string message = ToApiError(status).message;
  const std::optional<double> retry_after = RetryAfter(status);
  if (!retry_after) return grpc::Status(code, message);
  v1::RetryInfo retry;
  const double nanos = std::ceil(*retry_after * 1e9);
  retry.mutable_retry_delay()->set_seconds(static_cast<int64_t>(nanos / 1e9));
  retry.mutable_retry_delay()->set_nanos(
      static_cast<int32_t>(std::fmod(nanos, 1e9)));
  v1::RichStatus details;
  details.set_code(code);
  details.set_message(message);
  google::protobuf::Any& any = *details.add_details();
  any.set_type_url("type.googleapis.com/google.rpc.RetryInfo");
  retry.SerializeToString(any.mutable_value());
  return grpc::Status(code, message, details.SerializeAsString());
}

}  // namespace braid::server
