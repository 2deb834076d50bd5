// The element-wise kernels of FloatKernels over a vector type V (simd_*.h).
// Included by float_kernels_*.cc alone.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kvcache/kv_layout.h"

namespace braid::cpu {

// 2^x within 2 units in the last place; exactly 1 at 0, exactly 0 below -126,
// and infinite from 127.5 on.
template <class V>
inline V Exp2(V x) {
  const V bounded = V::Min(x, V::Broadcast(128.0f));
  const V whole = V::Round(bounded);
  const V f = bounded - whole;  // in [-0.5, 0.5]
  // Minimax polynomial of 2^f with a constant term of 1.
  V p = V::Broadcast(1.5403530e-4f);
  p = V::Fma(p, f, V::Broadcast(1.3333558e-3f));
  p = V::Fma(p, f, V::Broadcast(9.6181291e-3f));
  p = V::Fma(p, f, V::Broadcast(5.5504109e-2f));
  p = V::Fma(p, f, V::Broadcast(2.4022651e-1f));
  p = V::Fma(p, f, V::Broadcast(6.9314718e-1f));
  p = V::Fma(p, f, V::Broadcast(1.0f));
  return V::ZeroBelow(V::ScaleByPower(p, whole), x, V::Broadcast(-126.0f));
}

template <class V>
struct Pointwise {
  static void RmsNorm(const float* x, const float* weight, int32_t n,
                      float epsilon, float* y) {
    V squares = V::Broadcast(0.0f);
    for (int32_t i = 0; i < n; i += 16) {
      const V v = V::Load(x + i);
      squares = V::Fma(v, v, squares);
    }
    const float mean = squares.Sum() / static_cast<float>(n);
    const V scale = V::Broadcast(1.0f / __builtin_sqrtf(mean + epsilon));
    for (int32_t i = 0; i < n; i += 16) {
      (V::Load(x + i) * scale * V::Load(weight + i)).Store(y + i);
    }
  }

  static void Add(const float* y, int32_t n, float* x) {
    for (int32_t i = 0; i < n; i += 16) {
      (V::Load(x + i) + V::Load(y + i)).Store(x + i);
    }
  }

  static void SiluMul(const float* gate, const float* up, int32_t n,
                      float* out) {
    const V minus_log2e = V::Broadcast(-1.44269504f);
    const V one = V::Broadcast(1.0f);
    for (int32_t i = 0; i < n; i += 16) {
      const V g = V::Load(gate + i);
      const V silu = g / (one + Exp2(g * minus_log2e));
      (silu * V::Load(up + i)).Store(out + i);
    }
  }

  static void Silu(int32_t n, float* x) {
    const V minus_log2e = V::Broadcast(-1.44269504f);
    const V one = V::Broadcast(1.0f);
    for (int32_t i = 0; i < n; i += 16) {
      const V v = V::Load(x + i);
      (v / (one + Exp2(v * minus_log2e))).Store(x + i);
    }
  }

  static float Dot(const float* a, const float* b, int32_t n) {
    V sum = V::Broadcast(0.0f);
    for (int32_t i = 0; i < n; i += 16) {
      sum = V::Fma(V::Load(a + i), V::Load(b + i), sum);
    }
    return sum.Sum();
  }

  static void AddScaled(const float* y, float scale, int32_t n, float* x) {
    const V factor = V::Broadcast(scale);
    for (int32_t i = 0; i < n; i += 16) {
      V::Fma(V::Load(y + i), factor, V::Load(x + i)).Store(x + i);
    }
  }

  static void Rope(const float* angles, int32_t head_dim, float* head) {
    const int32_t half = head_dim / 2;
    for (int32_t i = 0; i < half; i += 16) {
      const V cosine = V::Load(angles + i);
      const V sine = V::Load(angles + half + i);
      const V a = V::Load(head + i);
      const V b = V::Load(head + half + i);
      (a * cosine - b * sine).Store(head + i);
      (a * sine + b * cosine).Store(head + half + i);
    }
  }

  static void StoreKv(const float* key, const float* value, int32_t head_dim,
                      KvDType dtype, int32_t block_tokens, int32_t slot,
                      std::byte* key_page, std::byte* value_page) {
    const size_t row = static_cast<size_t>(slot) * head_dim;
    if (dtype == KvDType::kF32) {
      auto* keys = reinterpret_cast<float*>(key_page) + slot;
      auto* values = reinterpret_cast<float*>(value_page) + row;
      for (int32_t d = 0; d < head_dim; ++d) keys[d * block_tokens] = key[d];
      for (int32_t d = 0; d < head_dim; d += 16) {
        V::Load(value + d).Store(values + d);
      }
      return;
    }
    auto* keys = reinterpret_cast<uint16_t*>(key_page) + slot;
    auto* values = reinterpret_cast<uint16_t*>(value_page) + row;
    for (int32_t d = 0; d < head_dim; d += 16) {
      uint16_t halves[16];
      V::Load(key + d).StoreHalf(halves);
      for (int i = 0; i < 16; ++i) keys[(d + i) * block_tokens] = halves[i];
      V::Load(value + d).StoreHalf(values + d);
    }
  }
};

}  // namespace braid::cpu
