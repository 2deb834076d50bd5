// Sixteen floats in one AVX-512 register. See simd_portable.h.
#pragma once

#include <cstdint>

#include <immintrin.h>

namespace braid::cpu::avx512 {

struct Vec {
  __m512 v;

  static constexpr int kScoreRows = 12;
  static constexpr int kScoreGroups = 2;
  static constexpr int kValueRows = 6;
  static constexpr int kValueVectors = 4;

  static Vec Load(const float* p) { return {_mm512_loadu_ps(p)}; }
  void Store(float* p) const { _mm512_storeu_ps(p, v); }
  static Vec Broadcast(float x) { return {_mm512_set1_ps(x)}; }
  static Vec LoadHalf(const uint16_t* p) {
    return {_mm512_cvtph_ps(
        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
  }
  void StoreHalf(uint16_t* p) const {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                        _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
  }

  friend Vec operator+(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
  friend Vec operator-(Vec a, Vec b) { return {_mm512_sub_ps(a.v, b.v)}; }
  friend Vec operator*(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }
  friend Vec operator/(Vec a, Vec b) { return {_mm512_div_ps(a.v, b.v)}; }
  static Vec Fma(Vec a, Vec b, Vec c) {
    return {_mm512_fmadd_ps(a.v, b.v, c.v)};
  }
  static Vec Max(Vec a, Vec b) { return {_mm512_max_ps(a.v, b.v)}; }
  static Vec Min(Vec a, Vec b) { return {_mm512_min_ps(a.v, b.v)}; }
  static Vec Round(Vec a) {
    return {_mm512_roundscale_ps(
        a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
  }
  static Vec ScaleByPower(Vec a, Vec n) { return {_mm512_scalef_ps(a.v, n.v)}; }
  static Vec ZeroBelow(Vec a, Vec x, Vec bound) {
    return {
        _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x.v, bound.v, _CMP_GE_OQ), a.v)};
  }
  static Vec First(int count, Vec a, float fill) {
    const auto lanes = static_cast<__mmask16>((1u << count) - 1);
    return {_mm512_mask_mov_ps(_mm512_set1_ps(fill), lanes, a.v)};
  }
  float Sum() const { return _mm512_reduce_add_ps(v); }
  float Largest() const { return _mm512_reduce_max_ps(v); }
};

}  // namespace braid::cpu::avx512
