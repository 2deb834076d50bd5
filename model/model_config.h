// What a decoder-only transformer is, apart from its weights: Llama (SmolLM2,
// Llama 3, Mistral), Qwen2/2.5 and Qwen3 dense. A plain value.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace braid {

enum class Architecture : uint8_t { kLlama, kQwen2, kQwen3 };
const char* ToString(Architecture architecture);

// Which elements of a head RoPE rotates together: GGUF stores Llama's q and k
// rows reordered for adjacent pairs (2i, 2i+1); everyone else pairs (i, i+d/2).
enum class RopePairing : uint8_t { kAdjacent, kHalves };

enum class RopeScaling : uint8_t { kNone, kLinear, kLlama3, kYarn };

struct RopeConfig {
  float base = 10000.0f;
  RopePairing pairing = RopePairing::kHalves;
  RopeScaling scaling = RopeScaling::kNone;
  float factor = 1.0f;                  // kLinear, kLlama3, kYarn
  float low_frequency_factor = 1;       // kLlama3
  float high_frequency_factor = 4;      // kLlama3
  int64_t original_context = 0;         // kLlama3, kYarn
  float beta_fast = 32, beta_slow = 1;  // kYarn
  float attention_factor = 0;           // kYarn; 0: 0.1 ln(factor) + 1
  // Explicit divisors of the frequencies (GGUF rope_freqs), or empty.
  std::vector<float> frequency_divisors;
};

struct ModelConfig {
  Architecture architecture = Architecture::kLlama;
  std::string name;
  int32_t layers = 0;
  int32_t hidden = 0;
  int32_t heads = 0;
  int32_t kv_heads = 0;
  int32_t head_dim = 0;
  int32_t ffn = 0;
  int32_t vocabulary = 0;
  int32_t context = 0;  // trained length
  float rms_epsilon = 1e-5f;
  RopeConfig rope;
  bool tied_embeddings = false;
};

// INVALID_ARGUMENT naming the first field that makes no sense (zero, negative,
// heads not a multiple of kv_heads, absurdly large ...).
absl::Status Validate(const ModelConfig& config);

// Per-pair angular frequencies [head_dim / 2] after scaling, and the factor
// that multiplies cos and sin (1 except for YaRN).
struct RopeTable {
  std::vector<float> frequencies;
  float magnitude = 1.0f;
};
RopeTable MakeRopeTable(const RopeConfig& rope, int32_t head_dim);

}  // namespace braid
