#include "server/parscale_weights.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "server/text_view.h"

namespace braid::server {
namespace {

// Nats per token that p streams are taken to gain where nobody has measured it:
// kGainPerLog * ln p, between what the published models gain on Python (0.025)
// and on the Pile (0.038). Streams are ranked by it, so the form matters more
// than the factor.
constexpr double kGainPerLog = 0.03;

absl::Status Named(absl::string_view flag, const std::string& path,
                   const absl::Status& status) {
  const absl::string_view message = status.message();
  const bool named = absl::StrContains(message, path);
  return absl::Status(
      status.code(),
      absl::StrCat(flag, named ? "" : " ", named ? "" : path, ": ", message));
}

}  // namespace

absl::StatusOr<std::vector<ParscaleSet>> LoadParscaleSets(
    const ModelFile& file, const std::string& model_path,
    const std::string& adapter, const std::vector<std::string>& folders) {
  std::vector<ParscaleSet> sets;
  if (const ParscaleSet* own = file.parscale()) {
    if (!adapter.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "--parscale ", adapter,
          ": the model has PARSCALE streams of its own (", own->streams,
          "), beside which there can be no adapter; leave the "
          "flag out"));
    }
    sets.push_back(*own);
  }
  if (!adapter.empty()) {
    absl::StatusOr<ParscaleSet> set =
        LoadParscaleAdapter(adapter, model_path, file.config());
    if (!set.ok()) return Named("--parscale", adapter, set.status());
    sets.push_back(*std::move(set));
  }
  for (const std::string& folder : folders) {
    absl::StatusOr<ParscaleSet> set = LoadParscaleSet(folder, file);
    if (!set.ok()) return Named("--parscale-set", folder, set.status());
    sets.push_back(*std::move(set));
  }
  return sets;
}

std::vector<StreamSet> StreamSetsOf(std::span<const ParscaleSet> sets) {
  std::vector<StreamSet> out;
  for (const ParscaleSet& set : sets) {
    StreamSet& stream_set = out.emplace_back();
    stream_set.id = static_cast<uint32_t>(out.size());
    stream_set.streams = static_cast<uint32_t>(set.streams);
    stream_set.elastic = set.kind == ParscaleKind::kNested;
    stream_set.fingerprint = set.fingerprint;
    for (size_t i = 0; i < stream_set.streams; ++i) {
      const double gain =
          i < set.gain.size()
              ? set.gain[i]
              : kGainPerLog * std::log(static_cast<double>(i + 1));
      // What was measured may have noise in it.
      stream_set.gain.push_back(
          i == 0 ? 0 : std::max(gain, stream_set.gain.back()));
    }
  }
  return out;
}

}  // namespace braid::server
