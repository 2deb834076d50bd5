// The streams of a Qwen2ParScaleForCausalLM checkpoint: prefixes in every layer
// and an aggregator, trained for one number of streams.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "model/huggingface_config.h"
#include "model/model_config.h"
#include "model/parscale.h"
#include "model/safetensors.h"

namespace braid {

// Takes the streams' tensors out of `file`, so that plain Qwen2 is left.
// INVALID_ARGUMENT for a tensor that is missing, has another shape than
// `fields` and `config` say, or holds a value that is not finite.
absl::StatusOr<ParscaleSet> TakePublishedStreams(const ParscaleFields& fields,
                                                 const ModelConfig& config,
                                                 const std::string& name,
                                                 SafetensorsFile& file);

}  // namespace braid
