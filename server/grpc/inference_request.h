// Braid's gRPC messages to and from the engine's values. Pure: no calls.
#pragma once

#include <cstdint>

#include <grpcpp/support/status.h>

#include "absl/status/statusor.h"
#include "braid/v1/inference.pb.h"
#include "engine/engine.h"
#include "server/served_model.h"
#include "server/service_terms.h"

namespace braid::server {

// Everything but its terms. INVALID_ARGUMENT naming the field, NOT_FOUND for
// another model.
absl::StatusOr<GenerateRequest> ParseGenerate(const v1::GenerateRequest& wire,
                                              const ServedModel& model);

// What the answer tells besides its text.
struct AnswerDetail {
  bool logprobs = false;
  bool token_streams = false;  // of each token
  bool mean_streams = false;
  bool whole = false;  // not before the end
};
// Of a request that has been parsed.
AnswerDetail DetailOf(const v1::GenerateRequest& wire,
                      const GenerateRequest& request);

// INVALID_ARGUMENT naming the field.
absl::StatusOr<ServiceTerms> ParseTerms(const v1::GenerateRequest& wire);

void AppendToken(const SampledToken& token, uint32_t streams,
                 const AnswerDetail& detail, v1::GenerateResponse& out);
// The best answer of best-of-n, where it is not the one that was told.
void TakeBest(const Outcome& outcome, const AnswerDetail& detail,
              v1::GenerateResponse& out);
void SetFinished(const Outcome& outcome, const AnswerDetail& detail,
                 v1::GenerateResponse& out);

// With google.rpc.RetryInfo among the details where `status` says when to try
// again.
grpc::Status CallStatus(const absl::Status& status);

}  // namespace braid::server
