#include "cpu/parscale_weights.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "cpu/float_kernels.h"

namespace braid::cpu {
namespace {

absl::Status CheckShape(const ParscaleSet& set, const std::string& what,
                        const Tensor& t, int64_t rows, int64_t columns) {
  if (t.rows == rows && t.columns == columns) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "the PARSCALE set ", set.name, " has ", what, " of ", t.rows, " x ",
      t.columns, ", not ", rows, " x ", columns, " as the model wants"));
}

absl::Status CheckSet(const ModelConfig& config, const ParscaleSet& set) {
  const auto streams = static_cast<size_t>(set.streams);
  if (set.streams < 1 || set.streams > kMostStreams || set.prefix_tokens < 0 ||
      set.prefix_k.size() != streams || set.prefix_v.size() != streams ||
      set.w1.size() != streams || set.b2.size() != streams ||
      set.b1.size() != static_cast<size_t>(config.hidden)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the PARSCALE set ", set.name, " of ", set.streams,
        " streams is not complete, or has more than ", kMostStreams));
  }
  BRAID_RETURN_IF_ERROR(
      CheckShape(set, "w2", set.w2, set.streams, config.hidden));
  for (int32_t s = 0; s < set.streams; ++s) {
    const std::string of = absl::StrCat(" (stream ", s, ")");
    BRAID_RETURN_IF_ERROR(
        CheckShape(set, "w1" + of, set.w1[s], config.hidden, config.hidden));
    if (PackedFormatOf(set.w1[s].dtype) < PackedFormat::kF32) {
      return absl::UnimplementedError(
          absl::StrCat("the PARSCALE set ", set.name, " has w1", of, " in ",
                       ToString(set.w1[s].dtype), ": convert it to floats"));
    }
    const size_t layers =
        set.PrefixOf(s) > 0 ? static_cast<size_t>(config.layers) : 0;
    if (set.prefix_k[s].size() != layers || set.prefix_v[s].size() != layers) {
      return absl::InvalidArgumentError(
          absl::StrCat("the PARSCALE set ", set.name, of, " has prefixes for ",
                       set.prefix_k[s].size(), " and ", set.prefix_v[s].size(),
                       " layers, not ", layers));
    }
    for (size_t l = 0; l < layers; ++l) {
      const int64_t rows = int64_t{config.kv_heads} * set.prefix_tokens;
      BRAID_RETURN_IF_ERROR(CheckShape(set, "prefix_k" + of, set.prefix_k[s][l],
                                       rows, config.head_dim));
      BRAID_RETURN_IF_ERROR(CheckShape(set, "prefix_v" + of, set.prefix_v[s][l],
                                       rows, config.head_dim));
    }
  }
  return absl::OkStatus();
}

std::vector<float> ToFloats(const Tensor& t) {
  std::vector<float> floats(static_cast<size_t>(t.rows * t.columns));
  for (int64_t r = 0; r < t.rows; ++r) {
    DequantizeRow(t.dtype, t.row(r), t.columns, floats.data() + r * t.columns);
  }
  return floats;
}

}  // namespace

absl::StatusOr<PackedStreams> PackStreams(const ModelConfig& config,
                                          const ParscaleSet& set) {
  BRAID_RETURN_IF_ERROR(CheckSet(config, set));
  PackedStreams packed;
  packed.kind = set.kind;
  packed.streams = set.streams;
  packed.prefix_tokens = set.prefix_tokens;
  packed.smoothing = set.smoothing;
  packed.b1 = set.b1;
  packed.w2 = ToFloats(set.w2);
  packed.b2 = set.b2;
  packed.prefix_k.resize(set.streams);
  packed.prefix_v.resize(set.streams);
  for (int32_t s = 0; s < set.streams; ++s) {
    for (size_t l = 0; l < set.prefix_k[s].size(); ++l) {
      packed.prefix_k[s].push_back(ToFloats(set.prefix_k[s][l]));
      packed.prefix_v[s].push_back(ToFloats(set.prefix_v[s][l]));
    }
  }
  for (const Tensor& w : set.w1) {
    packed.weight_bytes += PackedBytes(w.dtype, w.rows, w.columns);
  }
  BRAID_ASSIGN_OR_RETURN(packed.memory, HugeMemory::Map(packed.weight_bytes));
  std::byte* at = packed.memory.data();
  for (const Tensor& w : set.w1) {
    PackRows(w, 0, w.rows, at);
    packed.w1.push_back({PackedFormatOf(w.dtype), w.rows, w.columns, at});
    at += PackedBytes(w.dtype, w.rows, w.columns);
  }
  return packed;
}

absl::StatusOr<std::shared_ptr<const PrefixPages>> PrefixPages::Make(
    std::span<const PackedStreams> sets, const KvLayout& layout, Isa isa) {
  std::shared_ptr<PrefixPages> pages(new PrefixPages(layout));
  size_t blocks = 0;
  for (const PackedStreams& set : sets) {
    std::vector<Place>& places = pages->places_.emplace_back();
    for (int32_t s = 0; s < set.streams; ++s) {
      const size_t n = layout.BlocksFor(set.PrefixOf(s));
      places.push_back(
          {blocks, n,
           static_cast<int32_t>(n * layout.block_tokens) - set.PrefixOf(s)});
      blocks += n;
    }
  }
  if (blocks == 0) return pages;
  BRAID_ASSIGN_OR_RETURN(pages->memory_,
                         HugeMemory::Map(blocks * layout.block_bytes()));
  std::byte* const memory = pages->memory_.data();
  for (size_t b = 0; b < blocks; ++b) {
    pages->blocks_.push_back(memory + b * layout.block_bytes());
  }

  const auto head_dim = static_cast<int32_t>(layout.head_dim);
  const auto block_tokens = static_cast<int32_t>(layout.block_tokens);
  const FloatKernels& floats = FloatKernelsFor(isa);
  for (size_t i = 0; i < sets.size(); ++i) {
    const PackedStreams& set = sets[i];
    for (int32_t s = 0; s < set.streams; ++s) {
      const Place& place = pages->places_[i][s];
      const int32_t tokens = set.PrefixOf(s);
      for (uint32_t l = 0; l < set.prefix_k[s].size(); ++l) {
        for (int32_t row = 0;
             row < tokens * static_cast<int32_t>(layout.kv_heads); ++row) {
          const auto head = static_cast<uint32_t>(row / tokens);
          const int32_t slot = place.first + row % tokens;
          std::byte* block =
              memory +
              (place.first_block + slot / block_tokens) * layout.block_bytes();
          floats.store_kv(set.prefix_k[s][l].data() + int64_t{row} * head_dim,
                          set.prefix_v[s][l].data() + int64_t{row} * head_dim,
                          head_dim, layout.dtype, block_tokens,
                          slot % block_tokens, block + layout.KeyPage(l, head),
                          block + layout.ValuePage(l, head));
        }
      }
    }
  }
  return pages;
}

PrefixPages::Prefix PrefixPages::Find(uint32_t set, uint32_t stream) const {
  if (set == 0) return {};
  BRAID_CHECK(set <= places_.size() && stream < places_[set - 1].size());
  const Place& place = places_[set - 1][stream];
  return {std::span(blocks_).subspan(place.first_block, place.blocks),
          place.first};
}

}  // namespace braid::cpu
