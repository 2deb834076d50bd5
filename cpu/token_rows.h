// How the vector kernels address the activations of up to 12 tokens.
#pragma once

#include <cstdint>

#include "cpu/kernels.h"

namespace braid::cpu {
namespace {

// A pointer into every third token's row; the two after it are one and two
// strides on. With a pointer per token the compiler runs out of registers and
// spends more time on addresses than on products.
template <typename T, int kTokens>
class TokenRows {
 public:
  // `stride` is the elements of a row.
  TokenRows(const T* first, int64_t stride) : bytes_(stride * sizeof(T)) {
    for (int i = 0; i < kBases; ++i) {
      bases_[i] = reinterpret_cast<const char*>(first + 3 * i * stride);
    }
  }
  // The element that token t is at.
  const T& operator[](int t) const {
    return *reinterpret_cast<const T*>(bases_[t / 3] + t % 3 * bytes_);
  }
  // Every token moves on by `elements`.
  void Advance(int64_t elements) {
#pragma GCC unroll 4
    for (int i = 0; i < kBases; ++i) {
      bases_[i] += elements * sizeof(T);
      // Keeps the compiler from deriving all the other pointers in advance.
      asm("" : "+r"(bases_[i]));
    }
  }

 private:
  static constexpr int kBases = (kTokens + 2) / 3;
  const char* bases_[kBases];
  int64_t bytes_;
};

}  // namespace
}  // namespace braid::cpu
