#include "kvcache/transport/stream_copy.h"

#include <cstdint>
#include <cstring>

#include "base/check.h"

// Sanitizers do not see non-temporal stores, so they get the plain copy.
#if defined(__SSE2__) && !defined(__SANITIZE_THREAD__) && \
    !defined(__SANITIZE_ADDRESS__)
#define BRAID_NON_TEMPORAL 1
#include <emmintrin.h>
#endif

namespace braid {
namespace {

constexpr size_t kLine = 64;

// Copies whole cache lines from the start and returns how many bytes that was.
size_t StreamLines(std::byte* to, const std::byte* from, size_t bytes) {
#ifdef BRAID_NON_TEMPORAL
  if (reinterpret_cast<uintptr_t>(to) % sizeof(__m128i) != 0) return 0;
  const size_t end = bytes / kLine * kLine;
  for (size_t i = 0; i < end; i += kLine) {
    const auto* in = reinterpret_cast<const __m128i*>(from + i);
    auto* out = reinterpret_cast<__m128i*>(to + i);
    const __m128i a = _mm_loadu_si128(in), b = _mm_loadu_si128(in + 1),
                  c = _mm_loadu_si128(in + 2), d = _mm_loadu_si128(in + 3);
    _mm_stream_si128(out, a);
    _mm_stream_si128(out + 1, b);
    _mm_stream_si128(out + 2, c);
    _mm_stream_si128(out + 3, d);
  }
  // Releasing a mutex orders plain stores only.
  _mm_sfence();
  return end;
#else
  (void)to, (void)from, (void)bytes;
  return 0;
#endif
}

}  // namespace

void StreamCopy(std::span<std::byte> destination,
                std::span<const std::byte> source) {
  BRAID_CHECK(destination.size() == source.size());
  const size_t done =
      StreamLines(destination.data(), source.data(), source.size());
  std::memcpy(destination.data() + done, source.data() + done,
              source.size() - done);
}

}  // namespace braid
