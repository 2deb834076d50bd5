// Sixteen floats in two AVX2 registers (with FMA and F16C). See
// simd_portable.h.
#pragma once

#include <cstdint>

#include <immintrin.h>

namespace braid::cpu::avx2 {

struct Vec {
  __m256 lo, hi;

  static constexpr int kScoreRows = 6;
  static constexpr int kScoreGroups = 1;
  static constexpr int kValueRows = 6;
  static constexpr int kValueVectors = 1;

  static Vec Load(const float* p) {
    return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
  }
  void Store(float* p) const {
    _mm256_storeu_ps(p, lo);
    _mm256_storeu_ps(p + 8, hi);
  }
  static Vec Broadcast(float x) {
    return {_mm256_set1_ps(x), _mm256_set1_ps(x)};
  }
  static Vec LoadHalf(const uint16_t* p) {
    const auto* halves = reinterpret_cast<const __m128i*>(p);
    return {_mm256_cvtph_ps(_mm_loadu_si128(halves)),
            _mm256_cvtph_ps(_mm_loadu_si128(halves + 1))};
  }
  void StoreHalf(uint16_t* p) const {
    auto* halves = reinterpret_cast<__m128i*>(p);
    _mm_storeu_si128(halves, _mm256_cvtps_ph(lo, _MM_FROUND_TO_NEAREST_INT));
    _mm_storeu_si128(halves + 1,
                     _mm256_cvtps_ph(hi, _MM_FROUND_TO_NEAREST_INT));
  }

  friend Vec operator+(Vec a, Vec b) {
    return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
  }
  friend Vec operator-(Vec a, Vec b) {
    return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)};
  }
  friend Vec operator*(Vec a, Vec b) {
    return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
  }
  friend Vec operator/(Vec a, Vec b) {
    return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)};
  }
  static Vec Fma(Vec a, Vec b, Vec c) {
    return {_mm256_fmadd_ps(a.lo, b.lo, c.lo),
            _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
  }
  static Vec Max(Vec a, Vec b) {
    return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)};
  }
  static Vec Min(Vec a, Vec b) {
    return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)};
  }
  static Vec Round(Vec a) {
    constexpr int kMode = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    return {_mm256_round_ps(a.lo, kMode), _mm256_round_ps(a.hi, kMode)};
  }
  static __m256 PowerOfTwo(__m256 n) {
    const __m256i biased =
        _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23));
  }
  static Vec ScaleByPower(Vec a, Vec n) {
    return {_mm256_mul_ps(a.lo, PowerOfTwo(n.lo)),
            _mm256_mul_ps(a.hi, PowerOfTwo(n.hi))};
  }
  static Vec ZeroBelow(Vec a, Vec x, Vec bound) {
    return {_mm256_and_ps(a.lo, _mm256_cmp_ps(x.lo, bound.lo, _CMP_GE_OQ)),
            _mm256_and_ps(a.hi, _mm256_cmp_ps(x.hi, bound.hi, _CMP_GE_OQ))};
  }
  static Vec First(int count, Vec a, float fill) {
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256 other = _mm256_set1_ps(fill);
    const __m256i in_lo = _mm256_cmpgt_epi32(_mm256_set1_epi32(count), lanes);
    const __m256i in_hi =
        _mm256_cmpgt_epi32(_mm256_set1_epi32(count - 8), lanes);
    return {_mm256_blendv_ps(other, a.lo, _mm256_castsi256_ps(in_lo)),
            _mm256_blendv_ps(other, a.hi, _mm256_castsi256_ps(in_hi))};
  }
  float Sum() const {
    const __m256 s = _mm256_add_ps(lo, hi);
    __m128 t =
        _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
    t = _mm_add_ps(t, _mm_movehl_ps(t, t));
    return _mm_cvtss_f32(_mm_add_ss(t, _mm_movehdup_ps(t)));
  }
  float Largest() const {
    const __m256 s = _mm256_max_ps(lo, hi);
    __m128 t =
        _mm_max_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
    t = _mm_max_ps(t, _mm_movehl_ps(t, t));
    return _mm_cvtss_f32(_mm_max_ss(t, _mm_movehdup_ps(t)));
  }
};

}  // namespace braid::cpu::avx2
