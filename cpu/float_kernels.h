// What a forward pass computes between its matrix products, in float: norms,
// rotary positions, the gate of the FFN, KV writes and attention. One table per
// vector width, written once (pointwise-inl.h, attention-inl.h) and compiled
// for each.
//
// Bits: every output depends on its own row alone, and is computed in one fixed
// order. Attention visits tokens by slot, in segments of kAttentionSegment,
// however rows are grouped and wherever a chunk began.
//
// Lengths are multiples of 16; nothing needs to be aligned.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/kernels.h"
#include "kvcache/kv_layout.h"

namespace braid::cpu {

// Scores of that many tokens are kept at once, per query row.
inline constexpr int kAttentionSegment = 512;
// Query rows (tokens x heads of a group) attended together.
inline constexpr int kAttentionRows = 12;

// One KV head's share of the attention of consecutive tokens of one sequence.
struct AttentionTask {
  // The sequence's blocks, whose tokens are slots 0, 1 ... here; where the
  // head's pages are in each of them.
  const std::byte* const* blocks = nullptr;
  size_t key_page = 0;
  size_t value_page = 0;
  // The keys that this thread will read next of these blocks; `key_page` where
  // it is unknown. No result depends on it.
  size_t next_key_page = 0;
  int32_t block_tokens = 16;  // a multiple of 16
  int32_t head_dim = 0;       // a multiple of 32
  KvDType dtype = KvDType::kF16;

  // Slots [0, first) have no effect: what stands before a sequence (a prefix
  // that is no multiple of a block) ends where its own blocks begin. Below
  // `start`.
  int32_t first = 0;
  int32_t tokens = 0;
  int64_t start = 0;  // slot of the first; each sees itself and all before
  int32_t group = 1;  // query heads that share the KV head, adjacent in q
  // Element (token t, head h, d): q[t * q_stride + h * head_dim + d].
  const float* q = nullptr;
  int64_t q_stride = 0;
  float* out = nullptr;  // like q
  int64_t out_stride = 0;
};

// Floats of scratch that `attend` needs.
constexpr size_t AttentionScratchFloats(int32_t head_dim) {
  return kAttentionRows *
         (2 * static_cast<size_t>(head_dim) + kAttentionSegment);
}

struct FloatKernels {
  // y = x / sqrt(mean(x^2) + epsilon) * weight
  void (*rms_norm)(const float* x, const float* weight, int32_t n,
                   float epsilon, float* y);
  // x += y
  void (*add)(const float* y, int32_t n, float* x);
  // out = gate / (1 + exp(-gate)) * up
  void (*silu_mul)(const float* gate, const float* up, int32_t n, float* out);
  // x = x / (1 + exp(-x))
  void (*silu)(int32_t n, float* x);
  // sum_i a[i] b[i]
  float (*dot)(const float* a, const float* b, int32_t n);
  // x += scale * y
  void (*add_scaled)(const float* y, float scale, int32_t n, float* x);
  // Rotates pairs (i, i + head_dim / 2). `angles`: head_dim / 2 cosines, then
  // as many sines.
  void (*rope)(const float* angles, int32_t head_dim, float* head);
  // Writes one head's key and value of one token at `slot` of its pages.
  void (*store_kv)(const float* key, const float* value, int32_t head_dim,
                   KvDType dtype, int32_t block_tokens, int32_t slot,
                   std::byte* key_page, std::byte* value_page);
  // softmax(q k / sqrt(head_dim)) v, causal. Never reads a value that was not
  // written; what it reads of unwritten keys has no effect.
  void (*attend)(const AttentionTask& task, float* scratch);
};

// REQUIRES: the processor supports `isa`.
const FloatKernels& FloatKernelsFor(Isa isa);

}  // namespace braid::cpu
