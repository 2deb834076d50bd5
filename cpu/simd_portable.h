// Sixteen floats in plain C++ (GCC vector extensions): the lanes of
// cpu/pointwise-inl.h and cpu/attention-inl.h where nothing better is there.
//
// simd_avx2.h and simd_avx512.h offer the same members. Each type lives in its
// own namespace, so that code compiled with an instruction set's flags can
// never be linked in place of code compiled without them.
#pragma once

#include <cstdint>
#include <cstring>

namespace braid::cpu::portable {

struct Vec {
  typedef float F4 __attribute__((vector_size(16)));
  typedef int32_t I4 __attribute__((vector_size(16)));
  F4 v[4];

  // Tiles of the attention kernel that fit the registers: query rows per pass
  // over keys, and vectors of a value row per pass over values.
  static constexpr int kScoreRows = 4;
  static constexpr int kScoreGroups = 1;  // key groups per pass when rows <= 4
  static constexpr int kValueRows = 2;
  static constexpr int kValueVectors = 1;

  static Vec Load(const float* p) {
    Vec r;
    std::memcpy(r.v, p, sizeof(r.v));
    return r;
  }
  void Store(float* p) const { std::memcpy(p, v, sizeof(v)); }
  static Vec Broadcast(float x) {
    const F4 b = {x, x, x, x};
    return {{b, b, b, b}};
  }
  // 16 IEEE halves.
  static Vec LoadHalf(const uint16_t* p) {
    Vec r;
    for (int i = 0; i < 4; ++i) {
      const I4 h = {p[4 * i], p[4 * i + 1], p[4 * i + 2], p[4 * i + 3]};
      const I4 magnitude = (h & 0x7fff) << 13;
      // Rebasing the exponent by a multiplication also normalises subnormals.
      const I4 scaled =
          reinterpret_cast<I4>(reinterpret_cast<F4>(magnitude) * 0x1p112f);
      const I4 special = (h & 0x7fff) >= 0x7c00;
      r.v[i] = reinterpret_cast<F4>(scaled | (special & 0x7f800000) |
                                    ((h & 0x8000) << 16));
    }
    return r;
  }
  // Round to nearest even; overflow becomes infinity.
  void StoreHalf(uint16_t* p) const {
    for (int i = 0; i < 16; ++i) {
      uint32_t bits;
      const float value = v[i / 4][i % 4];
      std::memcpy(&bits, &value, 4);
      const uint32_t sign = (bits >> 16) & 0x8000;
      bits &= 0x7fffffff;
      uint32_t half;
      if (bits > 0x7f800000) {
        half = 0x7e00;  // NaN
      } else if (bits >= 0x477ff000) {
        half = 0x7c00;
      } else if (bits < 0x38800000) {
        // Subnormal halves: adding 0.5 leaves the rounding to the adder.
        float magnitude;
        std::memcpy(&magnitude, &bits, 4);
        magnitude += 0.5f;
        std::memcpy(&half, &magnitude, 4);
        half -= 0x3f000000;
      } else {
        half = (bits - 0x38000000 + 0xfff + ((bits >> 13) & 1)) >> 13;
      }
      p[i] = static_cast<uint16_t>(sign | half);
    }
  }

  friend Vec operator+(Vec a, Vec b) {
    for (int i = 0; i < 4; ++i) a.v[i] += b.v[i];
    return a;
  }
  friend Vec operator-(Vec a, Vec b) {
    for (int i = 0; i < 4; ++i) a.v[i] -= b.v[i];
    return a;
  }
  friend Vec operator*(Vec a, Vec b) {
    for (int i = 0; i < 4; ++i) a.v[i] *= b.v[i];
    return a;
  }
  friend Vec operator/(Vec a, Vec b) {
    for (int i = 0; i < 4; ++i) a.v[i] /= b.v[i];
    return a;
  }
  // a * b + c. Two roundings here, one where the processor has FMA.
  static Vec Fma(Vec a, Vec b, Vec c) { return a * b + c; }
  static Vec Max(Vec a, Vec b) {
    for (int i = 0; i < 4; ++i) a.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i];
    return a;
  }
  static Vec Min(Vec a, Vec b) {
    for (int i = 0; i < 4; ++i) a.v[i] = a.v[i] < b.v[i] ? a.v[i] : b.v[i];
    return a;
  }
  // Nearest integer of |a| < 2^22, ties to even.
  static Vec Round(Vec a) {
    const Vec magic = Broadcast(0x1.8p23f);
    return (a + magic) - magic;
  }
  // a * 2^n for integral n in [-126, 127] and a in [0.5, 2]; infinite at 128.
  static Vec ScaleByPower(Vec a, Vec n) {
    for (int i = 0; i < 4; ++i) {
      const I4 power = (__builtin_convertvector(n.v[i], I4) + 127) << 23;
      a.v[i] *= reinterpret_cast<F4>(power);
    }
    return a;
  }
  // `a` where x >= bound, else 0.
  static Vec ZeroBelow(Vec a, Vec x, Vec bound) {
    for (int i = 0; i < 4; ++i) {
      a.v[i] = reinterpret_cast<F4>(reinterpret_cast<I4>(a.v[i]) &
                                    (x.v[i] >= bound.v[i]));
    }
    return a;
  }
  // The first `count` lanes of a, `fill` in the others.
  static Vec First(int count, Vec a, float fill) {
    for (int i = 0; i < 16; ++i) {
      if (i >= count) a.v[i / 4][i % 4] = fill;
    }
    return a;
  }
  float Sum() const {
    const F4 s = (v[0] + v[2]) + (v[1] + v[3]);
    return (s[0] + s[2]) + (s[1] + s[3]);
  }
  float Largest() const {
    float best = v[0][0];
    for (int i = 1; i < 16; ++i) {
      if (v[i / 4][i % 4] > best) best = v[i / 4][i % 4];
    }
    return best;
  }
};

}  // namespace braid::cpu::portable
