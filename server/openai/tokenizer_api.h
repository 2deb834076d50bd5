// What the served model's tokenizer and chat template do, for clients that
// count tokens or build prompts themselves: /tokenize, /detokenize,
// /tokenizer_info (vLLM's names of things) and /apply-template
// (llama-server's).
//
// Stateless but for the model, which outlives it; any thread may handle.
#pragma once

#include "absl/status/statusor.h"
#include "server/http/message.h"
#include "server/http/router.h"
#include "server/served_model.h"

namespace braid::server {

class TokenizerApi final {
 public:
  explicit TokenizerApi(const ServedModel& model) : model_(model) {}

  void AddRoutes(Router& router) const;

 private:
  absl::StatusOr<HttpResponse> Tokenize(const HttpRequest& request) const;
  absl::StatusOr<HttpResponse> Detokenize(const HttpRequest& request) const;
  absl::StatusOr<HttpResponse> ApplyTemplate(const HttpRequest& request) const;
  HttpResponse Info() const;

  const ServedModel& model_;
};

}  // namespace braid::server
