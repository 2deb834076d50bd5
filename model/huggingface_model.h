// A model in the Hugging Face layout: a directory with config.json,
// tokenizer.json and safetensors, in one file or in shards.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "model/model_file.h"

namespace braid {

// Everything but `fingerprint`. `path` is the directory, or one .safetensors
// file in it that holds all weights.
absl::StatusOr<ModelFile::Parts> ReadHuggingFace(const std::string& path);

}  // namespace braid
