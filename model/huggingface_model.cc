#include "model/huggingface_model.h"

#include <filesystem>
#include <map>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/huggingface_config.h"
#include "model/json_value.h"
#include "model/mapped_file.h"
#include "model/safetensors.h"
#include "model/tokenizer_json.h"
#include "model/weight_binding.h"

namespace braid {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxTextBytes = size_t{256} << 20;
constexpr size_t kMaxShards = 1024;

absl::Status In(const fs::path& file, const absl::Status& status) {
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrCat(file.filename().string(),
                                                  ": ", status.message()));
}

bool Exists(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

absl::StatusOr<std::string> ReadText(const fs::path& path) {
  BRAID_ASSIGN_OR_RETURN(const auto file, MappedFile::Open(path.string()));
  if (file->bytes().size() > kMaxTextBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        path.filename().string(), " has more than ", kMaxTextBytes, " bytes"));
  }
  return std::string(reinterpret_cast<const char*>(file->bytes().data()),
                     file->bytes().size());
}

absl::StatusOr<JsonValue> ReadJson(const fs::path& path) {
  BRAID_ASSIGN_OR_RETURN(const std::string text, ReadText(path));
  absl::StatusOr<JsonValue> json = ParseJson(text);
  BRAID_RETURN_IF_ERROR(In(path, json.status()));
  return json;
}

// Files that a model may lack: an empty object then.
absl::StatusOr<JsonValue> ReadOptionalJson(const fs::path& path) {
  if (!Exists(path)) return JsonValue(JsonValue::Object{});
  return ReadJson(path);
}

absl::Status AddShard(const fs::path& path, NamedTensors& tensors,
                      ModelFile::Parts& parts) {
  BRAID_ASSIGN_OR_RETURN(std::unique_ptr<MappedFile> file,
                         MappedFile::Open(path.string()));
  absl::StatusOr<NamedTensors> shard = ParseSafetensors(file->bytes());
  BRAID_RETURN_IF_ERROR(In(path, shard.status()));
  for (const auto& [name, tensor] : *shard) {
    if (!tensors.emplace(name, tensor).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", name, " is in two shards"));
    }
  }
  parts.files.push_back(std::move(file));
  return absl::OkStatus();
}

// model.safetensors.index.json: {"weight_map": {tensor: file}}.
absl::Status AddIndexed(const fs::path& index, NamedTensors& tensors,
                        ModelFile::Parts& parts) {
  BRAID_ASSIGN_OR_RETURN(const JsonValue json, ReadJson(index));
  const JsonValue* map = json.Find("weight_map");
  if (map == nullptr || map->object() == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(
        index.filename().string(), ": \"weight_map\" is not an object"));
  }
  std::map<std::string, std::vector<std::string>> shards;
  for (const auto& [tensor, file] : *map->object()) {
    // A plain name: an index must not lead out of its directory.
    if (file.string() == nullptr ||
        fs::path(*file.string()).filename() != *file.string() ||
        !absl::EndsWith(*file.string(), ".safetensors")) {
      return absl::InvalidArgumentError(
          absl::StrCat(index.filename().string(), ": tensor ", tensor,
                       " is in no .safetensors file of the directory"));
    }
    shards[*file.string()].push_back(tensor);
  }
  if (shards.size() > kMaxShards) {
    return absl::InvalidArgumentError(
        absl::StrCat(index.filename().string(), " names ", shards.size(),
                     " files, more than ", kMaxShards));
  }
  for (const auto& [file, names] : shards) {
    BRAID_RETURN_IF_ERROR(AddShard(index.parent_path() / file, tensors, parts));
    for (const std::string& name : names) {
      if (!tensors.contains(name)) {
        return absl::InvalidArgumentError(absl::StrCat(
            "tensor ", name, " is not in ", file, ", as the index says"));
      }
    }
  }
  return absl::OkStatus();
}

absl::Status ReadTokenizer(const fs::path& directory,
                           const std::vector<TokenId>& config_eos,
                           ModelFile::Parts& parts) {
  BRAID_ASSIGN_OR_RETURN(const JsonValue json,
                         ReadJson(directory / "tokenizer.json"));
  TokenizerSpec& spec = parts.tokenizer;
  BRAID_ASSIGN_OR_RETURN(spec,
                         ReadTokenizerJson(json, parts.config.vocabulary));
  BRAID_ASSIGN_OR_RETURN(const JsonValue config,
                         ReadOptionalJson(directory / "tokenizer_config.json"));
  BRAID_RETURN_IF_ERROR(ApplyTokenizerConfig(config, spec));
  BRAID_ASSIGN_OR_RETURN(
      const JsonValue generation,
      ReadOptionalJson(directory / "generation_config.json"));
  BRAID_ASSIGN_OR_RETURN(spec.end_of_generation,
                         ReadEosIds(generation, "generation_config.json"));
  spec.end_of_generation.insert(spec.end_of_generation.end(),
                                config_eos.begin(), config_eos.end());
  if (!spec.eos && !spec.end_of_generation.empty()) {
    spec.eos = spec.end_of_generation.front();
  }
  const fs::path jinja = directory / "chat_template.jinja";
  if (Exists(jinja)) {
    BRAID_ASSIGN_OR_RETURN(parts.chat_template, ReadText(jinja));
  } else {
    BRAID_ASSIGN_OR_RETURN(parts.chat_template, ReadChatTemplate(config));
  }
  return FinishTokenizerSpec(parts.config.vocabulary, spec);
}

}  // namespace

absl::StatusOr<ModelFile::Parts> ReadHuggingFace(const std::string& path) {
  std::error_code error;
  const bool is_directory = fs::is_directory(path, error);
  const fs::path directory =
      is_directory ? fs::path(path) : fs::path(path).parent_path();
  BRAID_ASSIGN_OR_RETURN(const JsonValue config,
                         ReadJson(directory / "config.json"));
  ModelFile::Parts parts;
  NamedTensors tensors;
  const fs::path single = directory / "model.safetensors";
  const fs::path index = directory / "model.safetensors.index.json";
  if (!is_directory) {
    BRAID_RETURN_IF_ERROR(AddShard(path, tensors, parts));
  } else if (!Exists(single) && Exists(index)) {
    BRAID_RETURN_IF_ERROR(AddIndexed(index, tensors, parts));
  } else {
    BRAID_RETURN_IF_ERROR(AddShard(single, tensors, parts));
  }
  BRAID_ASSIGN_OR_RETURN(
      parts.config,
      ReadHuggingFaceConfig(config, tensors.contains("lm_head.weight")));
  // Some files repeat the embedding here although it is tied.
  if (parts.config.tied_embeddings) tensors.erase("lm_head.weight");
  BRAID_ASSIGN_OR_RETURN(
      parts.weights,
      BindWeights(parts.config, std::move(tensors), kHuggingFaceWeightNames));
  BRAID_ASSIGN_OR_RETURN(const std::vector<TokenId> eos,
                         ReadEosIds(config, "config.json"));
  BRAID_RETURN_IF_ERROR(ReadTokenizer(directory, eos, parts));
  return parts;
}

}  // namespace braid
