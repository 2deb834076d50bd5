// PARSCALE weights: what makes several streams of one model out of its one set
// of weights. Every stream reads the same tokens behind its own learned KV
// prefix; a small network weighs their hidden states into one (arXiv
// 2505.10475; Braid's nested kind is described in model/adapters/README.md).
//
// With H_s stream s's row after the model's final norm, and p streams active:
//   a = w2 silu(sum_s w1[s] H_s + b1) + b2          [p]
//   w = softmax(a) (1 - smoothing) + smoothing / p
//   out = sum_s w_s H_s, of which the output head makes logits
// One active stream of the nested kind is the plain model: out = H_0.
//
// Prefixes are not rotated; real tokens stand at positions 0, 1 ... all the
// same, and see all of the prefix. Their keys are laid out for RoPE by halves
// (RopePairing::kHalves), whatever the file or the model had: a runner that
// rotates neighbours has to reorder them.
//
// Immutable once loaded; any thread may read it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/stream_limit.h"  // IWYU pragma: export
#include "model/model_config.h"
#include "model/tensor.h"

namespace braid {

enum class ParscaleKind : uint8_t {
  // One P, all of whose streams are always active and have prefixes.
  kPublished,
  // Stream 0 has no prefix, and any first p streams may be active.
  kNested,
};
const char* ToString(ParscaleKind kind);

struct ParscaleSet {
  ParscaleKind kind = ParscaleKind::kNested;
  std::string name;  // for messages: the file or folder it is from
  int32_t streams = 1;
  int32_t prefix_tokens = 0;
  float smoothing = 0;

  // Of stream s and layer l, at [s][l]: [kv_heads * prefix_tokens, head_dim].
  // Empty for stream 0 of the nested kind.
  std::vector<std::vector<Tensor>> prefix_k, prefix_v;
  std::vector<Tensor> w1;  // by stream: [hidden, hidden], de-interleaved
  std::vector<float> b1;   // [hidden]
  Tensor w2;               // [streams, hidden]
  std::vector<float> b2;   // [streams]

  // Nats per token that p = i + 1 streams gain over one, as measured on text
  // held out; empty: not known.
  std::vector<double> gain;
  // Hash of all that decides what streams compute: not the name, not the gain.
  uint64_t fingerprint = 0;
  // Behind the tensors.
  std::shared_ptr<const std::vector<std::byte>> memory;

  int32_t PrefixOf(int32_t stream) const {
    return kind == ParscaleKind::kNested && stream == 0 ? 0 : prefix_tokens;
  }
};

// Most tokens of a prefix of any set.
inline constexpr int32_t kMaxPrefixTokens = 256;

class ModelFile;

// Braid's own adapter file for the model in `model_path`, of which `config` is.
// Reads both files whole: hashing the model takes 0.3 s per 100 MB.
// INVALID_ARGUMENT for another base model (both sha256 sums are named), another
// layout or shape, a tensor that is missing or too many, values that are not
// finite; UNIMPLEMENTED for a version that is not known.
absl::StatusOr<ParscaleSet> LoadParscaleAdapter(const std::string& path,
                                                const std::string& model_path,
                                                const ModelConfig& config);

// Another set of streams for the same backbone: a Qwen2ParScale folder whose
// weights, but for the streams', are those of `base`. INVALID_ARGUMENT when
// they are not (the first field or tensor that differs is named). Reads the
// weights of both.
absl::StatusOr<ParscaleSet> LoadParscaleSet(const std::string& path,
                                            const ModelFile& base);

}  // namespace braid
