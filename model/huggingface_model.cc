#include "model/huggingface_model.h"

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/huggingface_config.h"
#include "model/json_value.h"
#include "model/mapped_file.h"
#include "model/parscale_published.h"
#include "model/safetensors.h"
#include "model/tokenizer_json.h"
#include "model/weight_binding.h"

namespace braid {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxTextBytes = size_t{256} << 20;
constexpr size_t kMaxShards = 1024;
constexpr char kSingleFile[] = "model.safetensors";

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

// Adds a file's tensors to those of the files before it.
absl::Status AddShard(const fs::path& path, SafetensorsFile& all,
                      ModelFile::Parts& parts) {
  BRAID_ASSIGN_OR_RETURN(std::unique_ptr<MappedFile> file,
                         MappedFile::Open(path.string()));
  absl::StatusOr<SafetensorsFile> shard = ParseSafetensors(file->bytes());
  BRAID_RETURN_IF_ERROR(In(path, shard.status()));
  for (const auto& [name, tensor] : shard->tensors) {
    if (!all.tensors.emplace(name, tensor).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", name, " is in two shards"));
    }
    all.shapes.emplace(name, std::move(shard->shapes.at(name)));
  }
  parts.files.push_back(std::move(file));
  return absl::OkStatus();
}

// Tensors by the file that an index says they are in.
using ShardMap = std::map<std::string, std::vector<std::string>>;

// model.safetensors.index.json: {"weight_map": {tensor: file}}.
absl::StatusOr<ShardMap> ReadIndex(const fs::path& index) {
  BRAID_ASSIGN_OR_RETURN(const JsonValue json, ReadJson(index));
  const JsonValue* map = json.Find("weight_map");
  if (map == nullptr || map->object() == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(
        index.filename().string(), ": \"weight_map\" is not an object"));
  }
  ShardMap shards;
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
  return shards;
}

// A directory's files: the index where it has one and no single file.
absl::StatusOr<ShardMap> FindShards(const fs::path& directory) {
  const fs::path index = directory / "model.safetensors.index.json";
  if (!Exists(directory / kSingleFile) && Exists(index)) {
    return ReadIndex(index);
  }
  return ShardMap{{kSingleFile, {}}};
}

absl::Status AddShards(const fs::path& directory, SafetensorsFile& all,
                       ModelFile::Parts& parts) {
  BRAID_ASSIGN_OR_RETURN(const ShardMap shards, FindShards(directory));
  for (const auto& [file, names] : shards) {
    BRAID_RETURN_IF_ERROR(AddShard(directory / file, all, parts));
    for (const std::string& name : names) {
      if (!all.tensors.contains(name)) {
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

// The last part of the path, of "folder/" and "." too.
std::string FolderName(const fs::path& directory) {
  std::error_code error;
  const fs::path whole = fs::absolute(directory / ".", error);
  return whole.lexically_normal().parent_path().filename().string();
}

// All but tokenizer and chat template.
absl::StatusOr<ModelFile::Parts> ReadWeights(const std::string& path,
                                             const fs::path& directory,
                                             const JsonValue& config) {
  ModelFile::Parts parts;
  SafetensorsFile file;
  if (fs::path(path) == directory) {
    BRAID_RETURN_IF_ERROR(AddShards(directory, file, parts));
  } else {
    BRAID_RETURN_IF_ERROR(AddShard(path, file, parts));
  }
  BRAID_ASSIGN_OR_RETURN(
      parts.config,
      ReadHuggingFaceConfig(config, file.tensors.contains("lm_head.weight")));
  // Some files repeat the embedding here although it is tied.
  if (parts.config.tied_embeddings) file.tensors.erase("lm_head.weight");
  BRAID_ASSIGN_OR_RETURN(const std::optional<ParscaleFields> streams,
                         ReadParscaleFields(config));
  if (streams) {
    BRAID_ASSIGN_OR_RETURN(parts.parscale,
                           TakePublishedStreams(*streams, parts.config,
                                                FolderName(directory), file));
  }
  BRAID_ASSIGN_OR_RETURN(parts.weights,
                         BindWeights(parts.config, std::move(file.tensors),
                                     kHuggingFaceWeightNames));
  return parts;
}

fs::path DirectoryOf(const std::string& path) {
  std::error_code error;
  return fs::is_regular_file(path, error) ? fs::path(path).parent_path()
                                          : fs::path(path);
}

}  // namespace

absl::StatusOr<ModelFile::Parts> ReadHuggingFaceWeights(
    const std::string& path) {
  const fs::path directory = DirectoryOf(path);
  BRAID_ASSIGN_OR_RETURN(const JsonValue config,
                         ReadJson(directory / "config.json"));
  return ReadWeights(path, directory, config);
}

absl::StatusOr<ModelFile::Parts> ReadHuggingFace(const std::string& path) {
  const fs::path directory = DirectoryOf(path);
  BRAID_ASSIGN_OR_RETURN(const JsonValue config,
                         ReadJson(directory / "config.json"));
  BRAID_ASSIGN_OR_RETURN(ModelFile::Parts parts,
                         ReadWeights(path, directory, config));
  BRAID_ASSIGN_OR_RETURN(const std::vector<TokenId> eos,
                         ReadEosIds(config, "config.json"));
  BRAID_RETURN_IF_ERROR(ReadTokenizer(directory, eos, parts));
  return parts;
}

absl::StatusOr<std::vector<std::string>> HuggingFaceWeightFiles(
    const std::string& directory) {
  BRAID_ASSIGN_OR_RETURN(const ShardMap shards, FindShards(directory));
  std::vector<std::string> files;
  for (const auto& [file, names] : shards) {
    files.push_back((fs::path(directory) / file).string());
  }
  return files;
}

}  // namespace braid
