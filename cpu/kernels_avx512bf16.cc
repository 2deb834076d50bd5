// AVX-512 with BF16: two products of bfloat16 added to a float in one
// instruction, for any number of tokens; other formats go to AVX-512.
//
// The instruction rounds its own way (numbers below the smallest normal one are
// zeros), so that its bits are those of no other table. It multiplies twice
// what an FMA does: a gain on processors that start as many of either, as
// AMD's; on a Xeon, which starts half as many, it measures like FMA in decode
// and 0.8 of it in prefill, but those that have it mostly have AMX.
#include "cpu/avx512_block.h"
#include "cpu/kernel_tables.h"
#include "cpu/processor.h"
#include "cpu/token_rows.h"

namespace braid::cpu {
namespace {

constexpr int kMaxTokens = 12;
constexpr int kPairBytes = 64;  // two columns of 16 rows

inline __m512bh LoadPair(const std::byte* p) {
  return (__m512bh)_mm512_loadu_si512(p);
}
// Two columns of one token, for every row.
inline __m512bh BroadcastPair(const uint16_t* p) {
  int32_t two;
  __builtin_memcpy(&two, p, 4);
  return (__m512bh)_mm512_set1_epi32(two);
}

// Every other pair of columns is summed apart, so that one token's chain of
// dependent additions keeps up with the memory.
template <int kTokens>
void MultiplyTile(const std::byte* w, int64_t columns, const uint16_t* tokens,
                  float* y, int64_t y_stride, int64_t near_bytes) {
  const int64_t ahead = PacedByMemory(kBlockColumns / 2 * kPairBytes, kTokens)
                            ? near_bytes
                            : kFarBytes;
  TokenRows<uint16_t, kTokens> x(tokens, columns);
  __m512 even[kTokens], odd[kTokens];
#pragma GCC unroll 12
  for (int t = 0; t < kTokens; ++t) even[t] = odd[t] = _mm512_setzero_ps();
  for (int64_t c = 0; c < columns; c += 4) {
    for (int line = 0; line < 2 * kPairBytes; line += 64) {
      _mm_prefetch(reinterpret_cast<const char*>(w) + ahead + line,
                   _MM_HINT_T1);
    }
    const __m512bh first = LoadPair(w);
    const __m512bh second = LoadPair(w + kPairBytes);
#pragma GCC unroll 12
    for (int t = 0; t < kTokens; ++t) {
      const uint16_t* four = &x[t];
      even[t] = _mm512_dpbf16_ps(even[t], first, BroadcastPair(four));
      odd[t] = _mm512_dpbf16_ps(odd[t], second, BroadcastPair(four + 2));
    }
    w += 2 * kPairBytes;
    x.Advance(4);
  }
#pragma GCC unroll 12
  for (int t = 0; t < kTokens; ++t) {
    _mm512_storeu_ps(y + t * y_stride, _mm512_add_ps(even[t], odd[t]));
  }
}

using Tile = void (*)(const std::byte*, int64_t, const uint16_t*, float*,
                      int64_t, int64_t);
// By the number of tokens.
constexpr Tile kTiles[kMaxTokens + 1] = {
    nullptr,         MultiplyTile<1>, MultiplyTile<2>,  MultiplyTile<3>,
    MultiplyTile<4>, MultiplyTile<5>, MultiplyTile<6>,  MultiplyTile<7>,
    MultiplyTile<8>, MultiplyTile<9>, MultiplyTile<10>, MultiplyTile<11>,
    MultiplyTile<12>};

void Matmul(const PackedMatrix& w, const Activations& x, int32_t first_token,
            int32_t end_token, int64_t first_row, int64_t end_row, float* y,
            int64_t y_stride) {
  if (w.format != PackedFormat::kBF16 || x.rounded == nullptr) {
    kAvx512Kernels.matmul(w, x, first_token, end_token, first_row, end_row, y,
                          y_stride);
    return;
  }
  const auto* tokens = reinterpret_cast<const uint16_t*>(x.rounded);
  const int64_t tile_bytes = w.columns / 2 * kPairBytes;
  const int64_t near_bytes = Processor().prefetch_bytes;
  for (int64_t r = first_row; r < end_row; r += kRowTile) {
    for (int64_t t = first_token; t < end_token; t += kMaxTokens) {
      const int64_t left = end_token - t;
      kTiles[left < kMaxTokens ? left : kMaxTokens](
          w.data + r / kRowTile * tile_bytes, w.columns, tokens + t * w.columns,
          y + t * y_stride + r, y_stride, near_bytes);
    }
  }
}

}  // namespace

void RoundBf16(const Activations& x, int32_t first, int32_t end) {
  auto* rounded = reinterpret_cast<uint16_t*>(x.rounded);
  for (int64_t i = int64_t{first} * x.columns; i < int64_t{end} * x.columns;
       i += 16) {
    _mm256_storeu_si256(
        reinterpret_cast<__m256i*>(rounded + i),
        (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(x.values + i)));
  }
}

const Kernels kAvx512Bf16Kernels = {Isa::kAvx512Bf16, QuantizeAvx2, RoundBf16,
                                    Matmul};

}  // namespace braid::cpu
