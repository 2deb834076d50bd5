#include "model/parscale_adapter.h"

#include <cmath>
#include <filesystem>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status_macros.h"
#include "model/huggingface_model.h"
#include "model/mapped_file.h"
#include "model/parscale_tensors.h"
#include "model/safetensors.h"
#include "model/sha256.h"

namespace braid {
namespace {

constexpr char kFormat[] = "braid-parscale";
constexpr char kVersion[] = "1";
constexpr char kRemedy[] = "; export the adapter again";

// More than any model has, small enough that products of them fit 64 bits.
constexpr int32_t kMaxExtent = 1 << 20;

absl::Status Invalid(const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(what, kRemedy));
}

// The texts of __metadata__, taken out one by one.
class Metadata final {
 public:
  explicit Metadata(const SafetensorsFile& file)
      : texts_(file.metadata.begin(), file.metadata.end()) {}

  absl::StatusOr<std::string> Text(const std::string& key) {
    const auto it = texts_.find(key);
    if (it == texts_.end()) {
      return Invalid(absl::StrCat("the metadata lacks \"", key, "\""));
    }
    std::string text = std::move(it->second);
    texts_.erase(it);
    return text;
  }

  absl::Status Integer(const char* key, int32_t low, int32_t high,
                       int32_t& field) {
    BRAID_ASSIGN_OR_RETURN(const std::string text, Text(key));
    if (!absl::SimpleAtoi(text, &field)) {
      return Invalid(
          absl::StrCat("\"", key, "\" is \"", text, "\", not an integer"));
    }
    return CheckField(key, field, low, high);
  }

  bool Has(const std::string& key) const { return texts_.contains(key); }
  std::map<std::string, std::string> Rest() && { return std::move(texts_); }

 private:
  std::map<std::string, std::string> texts_;
};

// A key whose text has to be `wanted`.
absl::Status Expect(Metadata& metadata, const char* key, const char* wanted,
                    absl::StatusCode code) {
  BRAID_ASSIGN_OR_RETURN(const std::string text, metadata.Text(key));
  if (text == wanted) return absl::OkStatus();
  return absl::Status(code, absl::StrCat("\"", key, "\" is \"", text,
                                         "\", not \"", wanted, "\"", kRemedy));
}

absl::StatusOr<double> ParseNumber(const char* key, absl::string_view text) {
  double value = 0;
  if (!absl::SimpleAtod(text, &value) || !std::isfinite(value)) {
    return Invalid(
        absl::StrCat("\"", key, "\" holds \"", text, "\", not a number"));
  }
  return value;
}

// "0,0.162,0.175": by number of streams.
absl::StatusOr<std::vector<double>> ParseGain(const std::string& text,
                                              int32_t streams) {
  std::vector<double> gain;
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    BRAID_ASSIGN_OR_RETURN(gain.emplace_back(), ParseNumber("gain", part));
  }
  if (gain.size() != static_cast<size_t>(streams) || gain[0] != 0) {
    return Invalid(absl::StrCat("\"gain\" is \"", text, "\", not ", streams,
                                " numbers of which the first is 0"));
  }
  return gain;
}

absl::Status ReadMetadata(Metadata& metadata, ParscaleAdapter& adapter) {
  BRAID_RETURN_IF_ERROR(
      Expect(metadata, "format", kFormat, absl::StatusCode::kInvalidArgument));
  BRAID_RETURN_IF_ERROR(
      Expect(metadata, "version", kVersion, absl::StatusCode::kUnimplemented));
  BRAID_RETURN_IF_ERROR(Expect(metadata, "kind",
                               ToString(ParscaleKind::kNested),
                               absl::StatusCode::kUnimplemented));
  BRAID_ASSIGN_OR_RETURN(adapter.base_sha256, metadata.Text("base_sha256"));
  if (!IsSha256(adapter.base_sha256)) {
    return Invalid(absl::StrCat("\"base_sha256\" is \"", adapter.base_sha256,
                                "\", not 64 hexadecimal digits"));
  }
  BRAID_ASSIGN_OR_RETURN(adapter.base_name, metadata.Text("base_name"));
  ParscaleSet& set = adapter.set;
  set.kind = ParscaleKind::kNested;
  BRAID_RETURN_IF_ERROR(
      metadata.Integer("streams", 2, kMostStreams, set.streams));
  BRAID_RETURN_IF_ERROR(metadata.Integer("prefix_tokens", 1, kMaxPrefixTokens,
                                         set.prefix_tokens));
  BRAID_RETURN_IF_ERROR(
      metadata.Integer("hidden", 1, kMaxExtent, adapter.hidden));
  BRAID_RETURN_IF_ERROR(
      metadata.Integer("layers", 1, kMaxExtent, adapter.layers));
  BRAID_RETURN_IF_ERROR(
      metadata.Integer("kv_heads", 1, kMaxExtent, adapter.kv_heads));
  BRAID_RETURN_IF_ERROR(
      metadata.Integer("head_dim", 2, kMaxExtent, adapter.head_dim));
  if (adapter.head_dim % 2 != 0) {
    return Invalid(absl::StrCat("\"head_dim\" is ", adapter.head_dim,
                                ", which RoPE cannot pair"));
  }
  BRAID_ASSIGN_OR_RETURN(const std::string smoothing,
                         metadata.Text("smoothing"));
  BRAID_ASSIGN_OR_RETURN(const double epsilon,
                         ParseNumber("smoothing", smoothing));
  BRAID_RETURN_IF_ERROR(CheckField("smoothing", epsilon, 0, 1));
  set.smoothing = static_cast<float>(epsilon);
  BRAID_ASSIGN_OR_RETURN(const std::string layout, metadata.Text("key_layout"));
  if (layout != "halves" && layout != "adjacent") {
    return Invalid(absl::StrCat("\"key_layout\" is \"", layout,
                                "\", neither \"halves\" nor \"adjacent\""));
  }
  adapter.key_layout =
      layout == "halves" ? RopePairing::kHalves : RopePairing::kAdjacent;
  if (metadata.Has("gain")) {
    BRAID_ASSIGN_OR_RETURN(const std::string gain, metadata.Text("gain"));
    BRAID_ASSIGN_OR_RETURN(set.gain, ParseGain(gain, set.streams));
  }
  return absl::OkStatus();
}

// prefix_k or prefix_v, [layers, streams - 1, kv_heads, tokens, head_dim], as
// [stream][layer]; stream 0 has none.
absl::StatusOr<std::vector<std::vector<Tensor>>> TakePrefixes(
    SafetensorsFile& file, const char* name, const ParscaleAdapter& adapter) {
  const ParscaleSet& set = adapter.set;
  const int32_t prefixed = set.streams - 1;
  BRAID_ASSIGN_OR_RETURN(const Tensor all,
                         TakeFinite(file, name,
                                    {adapter.layers, prefixed, adapter.kv_heads,
                                     set.prefix_tokens, adapter.head_dim}));
  const int64_t rows = int64_t{adapter.kv_heads} * set.prefix_tokens;
  std::vector<std::vector<Tensor>> prefixes(1);
  for (int64_t s = 0; s < prefixed; ++s) {
    std::vector<Tensor>& layers = prefixes.emplace_back();
    for (int64_t l = 0; l < adapter.layers; ++l) {
      layers.push_back(RowsOf(all, (l * prefixed + s) * rows, rows));
    }
  }
  return prefixes;
}

absl::Status RefuseLeftOver(const SafetensorsFile& file) {
  if (file.tensors.empty()) return absl::OkStatus();
  // The first by name, so that the message does not depend on hashing.
  const std::string* first = nullptr;
  for (const auto& [name, tensor] : file.tensors) {
    if (first == nullptr || name < *first) first = &name;
  }
  return Invalid(absl::StrCat(
      "tensor ", *first, " has no place in an adapter of version ", kVersion));
}

// Where the adapter's shape is not that of the model.
absl::Status CheckShape(const ParscaleAdapter& adapter,
                        const ModelConfig& config) {
  const struct {
    const char* field;
    int32_t adapters, models;
  } extents[] = {{"hidden", adapter.hidden, config.hidden},
                 {"layers", adapter.layers, config.layers},
                 {"kv_heads", adapter.kv_heads, config.kv_heads},
                 {"head_dim", adapter.head_dim, config.head_dim}};
  for (const auto& [field, adapters, models] : extents) {
    if (adapters == models) continue;
    return Invalid(absl::StrCat("\"", field, "\" is ", adapters,
                                ", the model's is ", models));
  }
  return absl::OkStatus();
}

absl::Status In(const std::string& path, const absl::Status& status) {
  if (status.ok()) return status;
  return absl::Status(status.code(),
                      absl::StrCat(path, ": ", status.message()));
}

// A folder counts as its weights: the configuration beside them may be edited.
absl::StatusOr<std::string> Sha256OfModel(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) {
    return Sha256OfFiles(std::vector<std::string>{path});
  }
  BRAID_ASSIGN_OR_RETURN(const std::vector<std::string> files,
                         HuggingFaceWeightFiles(path));
  return Sha256OfFiles(files);
}

}  // namespace

absl::StatusOr<ParscaleAdapter> ParseParscaleAdapter(
    std::span<const std::byte> file, const std::string& name) {
  BRAID_ASSIGN_OR_RETURN(SafetensorsFile parsed, ParseSafetensors(file));
  ParscaleAdapter adapter;
  adapter.set.name = name;
  Metadata metadata(parsed);
  BRAID_RETURN_IF_ERROR(ReadMetadata(metadata, adapter));
  adapter.notes = std::move(metadata).Rest();
  ParscaleTensors tensors;
  BRAID_ASSIGN_OR_RETURN(tensors.prefix_k,
                         TakePrefixes(parsed, "prefix_k", adapter));
  BRAID_ASSIGN_OR_RETURN(tensors.prefix_v,
                         TakePrefixes(parsed, "prefix_v", adapter));
  static constexpr const char* kAggregator[] = {
      "aggregator.w1", "aggregator.b1", "aggregator.w2", "aggregator.b2"};
  BRAID_RETURN_IF_ERROR(TakeAggregator(parsed, kAggregator, adapter.set.streams,
                                       adapter.hidden, tensors));
  BRAID_RETURN_IF_ERROR(RefuseLeftOver(parsed));
  FillParscaleSet(tensors, adapter.key_layout, adapter.set);
  return adapter;
}

absl::StatusOr<ParscaleAdapter> ReadParscaleAdapter(const std::string& path) {
  BRAID_ASSIGN_OR_RETURN(const auto file, MappedFile::Open(path));
  absl::StatusOr<ParscaleAdapter> adapter = ParseParscaleAdapter(
      file->bytes(), std::filesystem::path(path).filename().string());
  BRAID_RETURN_IF_ERROR(In(path, adapter.status()));
  return adapter;
}

absl::StatusOr<ParscaleSet> LoadParscaleAdapter(const std::string& path,
                                                const std::string& model_path,
                                                const ModelConfig& config) {
  BRAID_ASSIGN_OR_RETURN(ParscaleAdapter adapter, ReadParscaleAdapter(path));
  BRAID_ASSIGN_OR_RETURN(const std::string sum, Sha256OfModel(model_path));
  if (sum != adapter.base_sha256) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is for ", adapter.base_name, " with sha256 ",
                     adapter.base_sha256, ", but ", model_path, " has ", sum,
                     "; serve that model, or train an adapter for this one"));
  }
  BRAID_RETURN_IF_ERROR(In(path, CheckShape(adapter, config)));
  return std::move(adapter.set);
}

}  // namespace braid
