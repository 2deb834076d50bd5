// `braid parscale inspect FILE`.
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "model/huggingface_model.h"
#include "model/json_value.h"
#include "model/parscale.h"
#include "model/parscale_adapter.h"
#include "model/parscale_summary.h"
#include "server/command_line.h"
#include "server/parscale_command.h"

namespace braid::server {
namespace {

constexpr char kUsage[] =
    "Usage: braid parscale inspect FILE\n"
    "FILE is an adapter (.safetensors), or a folder with a Qwen2ParScale "
    "model.\n"
    "Prints its streams, its base, and by tensor the range of what it "
    "learned.\n";

// What a file says may be anything: no control characters reach the terminal.
std::string Printable(const std::string& text) {
  std::string printable;
  AppendJsonEscaped(text, printable);
  return printable;
}

struct Line {
  std::string key, value;
};

// What both kinds have.
std::vector<Line> LinesOf(const ParscaleSet& set) {
  const ParscaleParameters parameters = CountParameters(set);
  const bool nested = set.kind == ParscaleKind::kNested;
  std::vector<Line> lines = {
      {"name", set.name},
      {"kind", absl::StrCat(ToString(set.kind),
                            nested ? " (stream 0 is the base model; any first "
                                     "p streams may be active)"
                                   : " (all streams are always active)")},
      {"streams", absl::StrCat(set.streams)},
      {"prefix tokens", absl::StrCat(set.prefix_tokens, " of streams ",
                                     nested ? 1 : 0, " to ", set.streams - 1)},
      {"smoothing", absl::StrCat(set.smoothing)},
      {"parameters", absl::StrCat(parameters.prefixes + parameters.aggregator,
                                  " (prefixes ", parameters.prefixes,
                                  ", aggregator ", parameters.aggregator, ")")},
      {"fingerprint",
       absl::StrCat(absl::Hex(set.fingerprint, absl::kZeroPad16))},
  };
  std::string gain = set.gain.empty() ? "not in the file" : "";
  for (size_t i = 1; i < set.gain.size(); ++i) {
    absl::StrAppend(&gain, i > 1 ? "   " : "", "p=", i + 1, " ", set.gain[i]);
  }
  lines.push_back({"gain, nats", gain});
  return lines;
}

std::string ShapeOf(int32_t hidden, int32_t layers, int32_t kv_heads,
                    int32_t head_dim) {
  return absl::StrCat("hidden ", hidden, ", layers ", layers, ", kv_heads ",
                      kv_heads, ", head_dim ", head_dim);
}

void Print(const std::vector<Line>& lines, const ParscaleSet& set) {
  for (const Line& line : lines) {
    std::printf("%-14s %s\n", line.key.c_str(), line.value.c_str());
  }
  std::printf("\n%-18s %-6s %-18s %10s %10s %10s\n", "tensor", "format",
              "shape", "min", "max", "rms");
  for (const TensorSummary& tensor : Summarize(set)) {
    const std::string shape =
        absl::StrCat("[", absl::StrJoin(tensor.shape, ", "), "]");
    std::printf("%-18s %-6s %-18s %10.4g %10.4g %10.4g\n", tensor.name.c_str(),
                ToString(tensor.dtype), shape.c_str(), tensor.min, tensor.max,
                tensor.rms);
  }
}

absl::Status InspectFolder(const std::string& path) {
  BRAID_ASSIGN_OR_RETURN(const ModelFile::Parts parts,
                         ReadHuggingFaceWeights(path));
  if (!parts.parscale) {
    return absl::InvalidArgumentError(
        "a plain model without streams: config.json is not of a "
        "Qwen2ParScaleForCausalLM, or its parscale_n is 1");
  }
  const ModelConfig& config = parts.config;
  std::vector<Line> lines = LinesOf(*parts.parscale);
  lines.push_back({"base", "in the folder"});
  lines.push_back({"base shape", ShapeOf(config.hidden, config.layers,
                                         config.kv_heads, config.head_dim)});
  Print(lines, *parts.parscale);
  return absl::OkStatus();
}

absl::Status InspectAdapter(const std::string& path) {
  BRAID_ASSIGN_OR_RETURN(const ParscaleAdapter adapter,
                         ReadParscaleAdapter(path));
  std::vector<Line> lines = LinesOf(adapter.set);
  lines.push_back({"base", Printable(adapter.base_name)});
  lines.push_back({"base sha256", adapter.base_sha256});
  lines.push_back({"base shape", ShapeOf(adapter.hidden, adapter.layers,
                                         adapter.kv_heads, adapter.head_dim)});
  lines.push_back({"key layout", adapter.key_layout == RopePairing::kHalves
                                     ? "halves"
                                     : "adjacent"});
  for (const auto& [key, text] : adapter.notes) {
    lines.push_back({"note", Printable(absl::StrCat(key, ": ", text))});
  }
  Print(lines, adapter.set);
  return absl::OkStatus();
}

}  // namespace

int InspectParscale(const std::vector<std::string>& args) {
  if (args.size() == 1 && (args[0] == "--help" || args[0] == "-h")) {
    std::fputs(kUsage, stdout);
    return 0;
  }
  if (args.size() != 1 || args[0].starts_with("-")) {
    std::fputs(kUsage, stderr);
    return kUsageError;
  }
  const std::string& path = args[0];
  std::error_code error;
  const bool is_folder = std::filesystem::is_directory(path, error);
  const absl::Status status =
      is_folder ? InspectFolder(path) : InspectAdapter(path);
  if (status.ok()) return 0;
  // Readers of single files name them already.
  const std::string where = is_folder ? path + ": " : "";
  return FailUsage(absl::StrCat(where, status.message()));
}

}  // namespace braid::server
