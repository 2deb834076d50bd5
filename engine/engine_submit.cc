// EngineLoop's part that any thread may call: what a request must be before it
// goes to the mailbox. It reads the configuration and nothing that turns
// change.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "engine/engine_loop.h"

namespace braid {
namespace {

absl::Status CheckStreams(const StreamTerms& terms,
                          const std::vector<StreamSet>& sets) {
  if (terms.mode == StreamMode::kOff) return absl::OkStatus();
  uint32_t most = 1;
  for (const StreamSet& set : sets) most = std::max(most, set.streams);
  if (terms.min < 1 || terms.min > terms.max || terms.max > most) {
    return absl::InvalidArgumentError(
        absl::StrCat("a request may have 1 to ", most, " streams here, not ",
                     terms.min, " to ", terms.max));
  }
  return absl::OkStatus();
}

absl::Status CheckBestOf(const GenerateRequest& request) {
  if (request.best_of == 1) return absl::OkStatus();
  if (request.best_of < 1 || request.best_of > kMostCandidates) {
    return absl::InvalidArgumentError(
        absl::StrCat("best_of must be between 1 and ", kMostCandidates,
                     ", not ", request.best_of));
  }
  if (request.streams.mode != StreamMode::kOff) {
    return absl::InvalidArgumentError(
        "best_of and PARSCALE streams use the same idle rows: ask for one of "
        "them");
  }
  if (!(request.sampling.temperature >= kGreedyBelow)) {
    return absl::InvalidArgumentError(
        "best_of needs a temperature above 0: at 0 all candidates are equal");
  }
  if (request.max_tokens == 0) {
    return absl::InvalidArgumentError("best_of needs max_tokens above 0");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status EngineLoop::CheckRequest(const GenerateRequest& request) const {
  const auto invalid = [](auto&&... parts) {
    return absl::InvalidArgumentError(absl::StrCat(parts...));
  };
  const bool scores = request.prompt_logprobs >= 0;
  if (request.max_tokens == 0 && !scores) {
    return invalid("max_tokens 0 is only for requests that score their prompt");
  }
  if (request.service_class >= config_.classes.size()) {
    return invalid("there are ", config_.classes.size(),
                   " service classes, none is number ", request.service_class);
  }
  BRAID_RETURN_IF_ERROR(CheckStreams(request.streams, config_.stream_sets));
  BRAID_RETURN_IF_ERROR(CheckBestOf(request));
  const size_t size = request.prompt.size();
  if (size + (request.max_tokens > 0 ? 1 : 0) > config_.max_context) {
    return invalid("the prompt has ", size,
                   " tokens, which leaves no room for an answer: the context "
                   "holds ",
                   config_.max_context);
  }
  BRAID_RETURN_IF_ERROR(
      scheduler_->CheckSize(size, MostTokens(request), request.streams));
  for (TokenId token : request.prompt) {
    if (token < 0 || token >= config_.tokenizer->vocabulary()) {
      return invalid("token ", token, " is not in the vocabulary of ",
                     config_.tokenizer->vocabulary());
    }
  }
  return absl::OkStatus();
}

// What the context cannot hold is not asked for: it ends with kLength.
uint32_t EngineLoop::MostTokens(const GenerateRequest& request) const {
  return std::min(
      request.max_tokens,
      config_.max_context - static_cast<uint32_t>(request.prompt.size()));
}

absl::StatusOr<RequestId> EngineLoop::Submit(GenerateRequest request,
                                             std::shared_ptr<TokenSink> sink) {
  if (absl::Status status = CheckRequest(request); !status.ok()) {
    return mailbox_.Refuse(std::move(status));
  }
  request.max_tokens = MostTokens(request);
  request.sampling.self_certainty = request.best_of > 1;
  return mailbox_.Submit(std::move(request), std::move(sink),
                         config_.clock->Now());
}

bool EngineLoop::Drain(Duration timeout) {
  mailbox_.Close();
  return mailbox_.WaitUntilEmpty(timeout);
}

}  // namespace braid
