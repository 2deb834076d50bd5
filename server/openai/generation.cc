#include "server/openai/generation.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/check.h"
#include "server/request_error.h"

namespace braid::server {

Generation::Generation(Engine& engine, const GenerationOptions& options,
                       ResponseWriter writer)
    : engine_(engine),
      stream_(options.stream),
      include_usage_(options.include_usage),
      return_timings_(options.return_timings),
      tells_streams_(options.parscale.given),
      writer_(std::move(writer)) {
  if (!options.ignored_fields.empty()) {
    headers_.emplace_back("x-ignored-fields",
                          absl::StrJoin(options.ignored_fields, ", "));
  }
}

absl::StatusOr<std::shared_ptr<Generation>> Generation::Start(
    Engine& engine, std::vector<ChoiceJob> jobs,
    const GenerationOptions& options, ResponseWriter writer,
    size_t max_waiting_tokens, Waker wake) {
  BRAID_CHECK(!jobs.empty());
  std::shared_ptr<Generation> generation(
      new Generation(engine, options, std::move(writer)));
  for (ChoiceJob& job : jobs) {
    Choice choice;
    choice.echo = std::move(job.echo);
    choice.counts_prompt = job.counts_prompt;
    generation->tells_streams_ |= job.request.streams.mode != StreamMode::kOff;
    if (choice.echo && job.request.prompt_logprobs >= 0) {
      choice.prompt = job.request.prompt;
    }
    choice.outbox = std::make_shared<TokenOutbox>(max_waiting_tokens, wake);
    absl::StatusOr<RequestId> id =
        engine.Submit(std::move(job.request), choice.outbox);
    if (!id.ok()) return id.status();  // The destructor cancels the others.
    choice.id = *id;
    generation->choices_.push_back(std::move(choice));
  }
  return generation;
}

Generation::~Generation() { Cancel(); }

void Generation::Cancel() {
  for (const Choice& choice : choices_) {
    if (!choice.outcome) engine_.Cancel(choice.id);
  }
}

HttpReply Generation::Reply(std::shared_ptr<Generation> generation) {
  if (!generation->stream_) {
    return LaterResponse{[generation] { return generation->Poll(); },
                         [generation] { generation->Cancel(); }};
  }
  StreamedResponse reply;
  reply.content_type = "text/event-stream; charset=utf-8";
  reply.headers = generation->headers_;
  reply.headers.emplace_back("Cache-Control", "no-cache");
  reply.headers.emplace_back("X-Accel-Buffering", "no");
  reply.pull = [generation](std::string& out, bool begun) {
    return generation->Pull(out, begun);
  };
  reply.cancel = [generation] { generation->Cancel(); };
  reply.ping = ":\n\n";
  return reply;
}

void Generation::EchoPrompt(uint32_t index, std::vector<SampledToken> scores) {
  Choice& choice = choices_[index];
  EchoedPrompt echo;
  echo.text = std::move(*choice.echo);
  // The first token has no logprob: nothing stands before it. It may be all
  // there is.
  BRAID_CHECK(scores.empty() || scores.size() < choice.prompt.size());
  echo.unscored = choice.prompt.size() - scores.size();
  for (size_t i = 0; i < echo.unscored; ++i) {
    echo.tokens.push_back({choice.prompt[i], 0, {}});
  }
  std::ranges::move(scores, std::back_inserter(echo.tokens));
  std::get<CompletionResponseWriter>(writer_).Echo(index, std::move(echo));
}

void Generation::Advance(uint32_t index, std::string& events) {
  Choice& choice = choices_[index];
  if (choice.outcome) return;
  TokenOutbox::Batch& batch = batch_;
  choice.outbox->Take(batch);
  if (choice.echo && !choice.scored &&
      (batch.prompt_scores || !batch.tokens.empty() || batch.outcome)) {
    choice.scored = true;
    EchoPrompt(index, batch.prompt_scores ? std::move(*batch.prompt_scores)
                                          : std::vector<SampledToken>{});
  }
  const bool something = !batch.text.empty() || !batch.tokens.empty() ||
                         batch.outcome || choice.scored;
  std::visit(
      [&](auto& writer) {
        if (!stream_) return;
        if (!choice.begun && something) {
          choice.begun = true;
          writer.Begin(index, events);
        }
        writer.Delta(index, {batch.text, batch.tokens, batch.streams}, events);
        if (batch.outcome && OutcomeStatus(*batch.outcome).ok()) {
          writer.Finish(index, batch.outcome->reason, events);
        }
      },
      writer_);
  if (!stream_) {
    choice.result.text += batch.text;
    std::move(batch.tokens.begin(), batch.tokens.end(),
              std::back_inserter(choice.result.tokens));
    choice.result.streams.insert(choice.result.streams.end(),
                                 batch.streams.begin(), batch.streams.end());
  }
  if (batch.outcome && batch.outcome->best_of) {
    TakeBest(*batch.outcome->best_of, choice.result);
  }
  if (batch.outcome) {
    choice.result.reason = batch.outcome->reason;
    choice.outcome = std::move(batch.outcome);
  }
}

// The best answer, where it is not the first one.
void Generation::TakeBest(BestOfReport& report, ChoiceResult& result) {
  if (!report.answer) return;
  result.text = std::move(report.answer->text);
  result.tokens = std::move(report.answer->tokens);
  result.streams.assign(result.tokens.size(), 1);
}

absl::Status Generation::Failure() const {
  for (const Choice& choice : choices_) {
    if (!choice.outcome) continue;
    if (absl::Status status = OutcomeStatus(*choice.outcome); !status.ok()) {
      return status;
    }
  }
  return absl::OkStatus();
}

bool Generation::Finished() const {
  return std::all_of(choices_.begin(), choices_.end(),
                     [](const Choice& c) { return c.outcome.has_value(); });
}

Usage Generation::TotalUsage() const {
  Usage usage;
  double streams = 0;
  for (const Choice& choice : choices_) {
    if (choice.counts_prompt) {
      usage.prompt_tokens += choice.outcome->prompt_tokens;
      usage.cached_tokens += choice.outcome->cached_tokens;
    }
    usage.output_tokens += choice.outcome->output_tokens;
    streams += choice.outcome->mean_streams * choice.outcome->output_tokens;
  }
  if (const auto& best_of = choices_.front().outcome->best_of) {
    usage.best_of = {.asked = best_of->asked,
                     .complete = best_of->complete,
                     .chosen = best_of->chosen,
                     .candidate_tokens = best_of->candidate_tokens,
                     .self_certainty = best_of->self_certainty};
  }
  if (tells_streams_) {
    usage.mean_streams =
        usage.output_tokens > 0 ? streams / usage.output_tokens : 1;
  }
  return usage;
}

std::string Generation::Timings() const {
  std::string out;
  // Of the first choice: stages of several do not add up to anything.
  if (return_timings_) AppendTimings(*choices_.front().outcome, out);
  return out;
}

Pulled Generation::Pull(std::string& out, bool begun) {
  for (uint32_t i = 0; i < choices_.size(); ++i) Advance(i, out);
  if (absl::Status failure = Failure(); !failure.ok()) {
    Cancel();
    if (!begun) return {.more = false, .instead = ErrorResponse(failure)};
    absl::StrAppend(&out, "data: ", ToJson(ToApiError(failure)), "\n\n");
    return {.more = false};
  }
  if (!Finished()) return {.more = true};
  if (include_usage_ || return_timings_) {
    std::visit(
        [&](auto& writer) { writer.FinalUsage(TotalUsage(), Timings(), out); },
        writer_);
  }
  out += "data: [DONE]\n\n";
  return {.more = false};
}

std::optional<HttpResponse> Generation::Poll() {
  std::string no_events;
  for (uint32_t i = 0; i < choices_.size(); ++i) Advance(i, no_events);
  if (absl::Status failure = Failure(); !failure.ok()) {
    Cancel();
    return ErrorResponse(failure);
  }
  if (!Finished()) return std::nullopt;
  std::vector<ChoiceResult> results;
  for (Choice& choice : choices_) results.push_back(std::move(choice.result));
  HttpResponse response = JsonResponse(std::visit(
      [&](auto& writer) {
        return writer.Whole(results, TotalUsage(), Timings());
      },
      writer_));
  response.headers = headers_;
  return response;
}

}  // namespace braid::server
