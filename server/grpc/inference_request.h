// Braid's gRPC messages to and from the engine's values. Pure: no calls.
#pragma once

#include <grpcpp/support/status.h>

#include "absl/status/statusor.h"
#include "braid/v1/inference.pb.h"
#include "engine/engine.h"
#include "server/served_model.h"

namespace braid::server {

// Everything but the deadline. INVALID_ARGUMENT naming the field, NOT_FOUND for
// another model.
absl::StatusOr<GenerateRequest> ParseGenerate(const v1::GenerateRequest& wire,
                                              const ServedModel& model);

// `with_logprobs`: as the request asked.
void AppendToken(const SampledToken& token, bool with_logprobs,
                 v1::GenerateResponse& out);
void SetFinished(const Outcome& outcome, v1::GenerateResponse& out);

// How a request that has ended badly ends its call; OK for kStop and kLength.
grpc::Status CallStatus(const Outcome& outcome);
grpc::Status CallStatus(const absl::Status& status);

}  // namespace braid::server
