// The OpenAI-compatible paths: chat and text completions, and models.
//
// Stateless but for its references, which outlive it; any thread may handle.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "engine/engine.h"
#include "server/http/message.h"
#include "server/http/router.h"
#include "server/metrics_exporter.h"
#include "server/openai/generation_options.h"
#include "server/served_model.h"

namespace braid::server {

class OpenAiApi final {
 public:
  // A stream's reader is too slow, and its request cancelled, when more than
  // `max_waiting_tokens` wait for it.
  OpenAiApi(const ServedModel& model, Engine& engine, const Clock& clock,
            MetricsExporter& metrics, size_t max_waiting_tokens = 4096)
      : model_(model),
        engine_(engine),
        clock_(clock),
        metrics_(metrics),
        max_waiting_tokens_(max_waiting_tokens) {}

  void AddRoutes(Router& router) const;

 private:
  absl::StatusOr<HttpReply> Chat(const HttpRequest& request, Waker wake) const;
  absl::StatusOr<HttpReply> Complete(const HttpRequest& request,
                                     Waker wake) const;
  absl::StatusOr<HttpReply> Models() const;
  absl::StatusOr<HttpReply> Model(const HttpRequest& request) const;

  // What chat and completions share: everything but the prompt.
  absl::StatusOr<GenerateRequest> MakeRequest(const HttpRequest& http,
                                              const GenerationOptions& options,
                                              uint64_t seed) const;
  void CountIgnored(const GenerationOptions& options) const;
  std::string ModelJson() const;

  const ServedModel& model_;
  Engine& engine_;
  const Clock& clock_;
  MetricsExporter& metrics_;
  const size_t max_waiting_tokens_;
};

}  // namespace braid::server
