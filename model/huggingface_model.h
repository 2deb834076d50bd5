// A model in the Hugging Face layout: a directory with config.json,
// tokenizer.json and safetensors, in one file or in shards.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/model_file.h"

namespace braid {

// Everything but `fingerprint`. `path` is the directory, or one .safetensors
// file in it that holds all weights.
absl::StatusOr<ModelFile::Parts> ReadHuggingFace(const std::string& path);

// The same without tokenizer and chat template, whose files may be missing.
absl::StatusOr<ModelFile::Parts> ReadHuggingFaceWeights(
    const std::string& path);

// The .safetensors files of a directory, in order of name. NOT_FOUND, or
// INVALID_ARGUMENT for an index that makes no sense.
absl::StatusOr<std::vector<std::string>> HuggingFaceWeightFiles(
    const std::string& directory);

}  // namespace braid
