// config.json of the Hugging Face layout: what its keys mean.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "base/ids.h"
#include "model/json_value.h"
#include "model/model_config.h"

namespace braid {

// Of what config.json leaves open, `tied_embeddings` is decided by
// `has_output`: whether the weights have an output matrix. The vocabulary is
// the embedding's rows. UNIMPLEMENTED by name for what is not supported.
absl::StatusOr<ModelConfig> ReadHuggingFaceConfig(const JsonValue& json,
                                                  bool has_output);

// What a Qwen2ParScale model has besides a Qwen2's fields. Nothing for other
// models, and for parscale_n = 1, which is plain Qwen2. INVALID_ARGUMENT for a
// field that is missing: published checkpoints do not have the smoothing that
// the class has by default.
struct ParscaleFields {
  int32_t streams;        // parscale_n
  int32_t prefix_tokens;  // parscale_n_tokens
  float smoothing;        // parscale_attn_smooth
};
absl::StatusOr<std::optional<ParscaleFields>> ReadParscaleFields(
    const JsonValue& json);

// "eos_token_id" of config.json or generation_config.json: absent, one or
// many.
absl::StatusOr<std::vector<TokenId>> ReadEosIds(const JsonValue& json,
                                                const char* where);

}  // namespace braid
