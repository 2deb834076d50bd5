// One OpenAI request on its way through the engine: submits its choices,
// collects what they produce, and writes the answer, whole or as events.
//
// Threads: the connection's thread, except that the engine fills the outboxes
// and calls the waker.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "server/http/message.h"
#include "server/openai/chat_response.h"
#include "server/openai/completion_response.h"
#include "server/token_outbox.h"

namespace braid::server {

using ResponseWriter =
    std::variant<ChatResponseWriter, CompletionResponseWriter>;

// One choice to be made.
struct ChoiceJob {
  GenerateRequest request;
  // With echo: the prompt's text; its logprobs come from the engine.
  std::optional<std::string> echo;
  // False for the second and further choices of one prompt.
  bool counts_prompt = true;
};

class Generation final {
 public:
  // Submits all jobs. An error of the engine for one of them cancels the
  // others. `engine` outlives the generation. More than `max_waiting_tokens` of
  // a choice that are not taken cancel that choice; a whole answer is taken as
  // it comes.
  static absl::StatusOr<std::shared_ptr<Generation>> Start(
      Engine& engine, std::vector<ChoiceJob> jobs,
      const GenerationOptions& options, ResponseWriter writer,
      size_t max_waiting_tokens, Waker wake);
  ~Generation();  // Cancels what still runs.

  // The reply of this generation: it keeps the generation alive.
  static HttpReply Reply(std::shared_ptr<Generation> generation);

 private:
  struct Choice {
    RequestId id;
    std::shared_ptr<TokenOutbox> outbox;  // shared with the engine
    std::vector<TokenId> prompt;          // with echo and logprobs
    std::optional<std::string> echo;
    bool counts_prompt = true;
    bool scored = false;
    bool begun = false;
    ChoiceResult result;
    std::optional<Outcome> outcome;
  };

  Generation(Engine& engine, const GenerationOptions& options,
             ResponseWriter writer);

  Pulled Pull(std::string& out, bool begun);
  std::optional<HttpResponse> Poll();
  void Cancel();

  // Takes what the engine has produced; appends events when streaming.
  void Advance(uint32_t index, std::string& events);
  static void TakeBest(BestOfReport& report, ChoiceResult& result);
  void EchoPrompt(uint32_t index, std::vector<SampledToken> scores);
  // The first trouble of a choice that has ended badly.
  absl::Status Failure() const;
  bool Finished() const;
  Usage TotalUsage() const;
  std::string Timings() const;

  Engine& engine_;
  const bool stream_, include_usage_, return_timings_;
  bool tells_streams_;   // in its usage
  HttpHeaders headers_;  // of the answer
  ResponseWriter writer_;
  std::vector<Choice> choices_;
  TokenOutbox::Batch batch_;  // reused
};

}  // namespace braid::server
