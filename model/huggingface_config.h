// config.json of the Hugging Face layout: what its keys mean.
#pragma once

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

// "eos_token_id" of config.json or generation_config.json: absent, one or
// many.
absl::StatusOr<std::vector<TokenId>> ReadEosIds(const JsonValue& json,
                                                const char* where);

}  // namespace braid
