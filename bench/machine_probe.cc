#include "bench/machine_probe.h"

#include <cstring>

#include <immintrin.h>

#include "base/check.h"
#include "cpu/processor.h"

namespace braid::bench {
namespace {

constexpr int kRounds = 20000;  // of 12 instructions: below a millisecond

// Twelve chains hide the latency of one.
#define BRAID_TWELVE(instruction, reg)                                        \
  instruction " %%" reg "12,%%" reg "13,%%" reg "0\n\t" instruction " %%" reg \
              "12,%%" reg "13,%%" reg "1\n\t" instruction " %%" reg           \
              "12,%%" reg "13,%%" reg "2\n\t" instruction " %%" reg           \
              "12,%%" reg "13,%%" reg "3\n\t" instruction " %%" reg           \
              "12,%%" reg "13,%%" reg "4\n\t" instruction " %%" reg           \
              "12,%%" reg "13,%%" reg "5\n\t" instruction " %%" reg           \
              "12,%%" reg "13,%%" reg "6\n\t" instruction " %%" reg           \
              "12,%%" reg "13,%%" reg "7\n\t" instruction " %%" reg           \
              "12,%%" reg "13,%%" reg "8\n\t" instruction " %%" reg           \
              "12,%%" reg "13,%%" reg "9\n\t" instruction " %%" reg           \
              "12,%%" reg "13,%%" reg "10\n\t" instruction " %%" reg          \
              "12,%%" reg "13,%%" reg "11\n\t"
#define BRAID_CLOBBERS                                                    \
  "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", \
      "xmm9", "xmm10", "xmm11", "xmm12", "xmm13"

void ZeroRegisters() {
  // Whatever the registers hold could be denormal numbers, and slow.
  asm volatile("vzeroall" ::: BRAID_CLOBBERS, "xmm14", "xmm15");
}

void Vnni512() {
  ZeroRegisters();
  for (int i = 0; i < kRounds; ++i) {
    asm volatile(BRAID_TWELVE("vpdpbusd", "zmm")::: BRAID_CLOBBERS);
  }
  asm volatile("vzeroupper");
}
void Vnni256() {
  ZeroRegisters();
  for (int i = 0; i < kRounds; ++i) {
    asm volatile(BRAID_TWELVE("%{vex%} vpdpbusd", "ymm")::: BRAID_CLOBBERS);
  }
  asm volatile("vzeroupper");
}
void Fma512() {
  ZeroRegisters();
  for (int i = 0; i < kRounds; ++i) {
    asm volatile(BRAID_TWELVE("vfmadd231ps", "zmm")::: BRAID_CLOBBERS);
  }
  asm volatile("vzeroupper");
}
void Fma256() {
  ZeroRegisters();
  for (int i = 0; i < kRounds; ++i) {
    asm volatile(BRAID_TWELVE("vfmadd231ps", "ymm")::: BRAID_CLOBBERS);
  }
  asm volatile("vzeroupper");
}

constexpr int kAmxRounds = 5000;  // of 4 instructions

__attribute__((target("amx-tile,amx-int8"))) void Amx() {
  struct alignas(64) {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {};
    uint8_t rows[16] = {};
  } config;
  for (int t = 0; t < 8; ++t) {
    config.row_bytes[t] = 64;
    config.rows[t] = 16;
  }
  asm volatile("ldtilecfg %0" ::"m"(config));
  for (int i = 0; i < kAmxRounds; ++i) {
    asm volatile(
        "tdpbusd %tmm6,%tmm4,%tmm0\n\ttdpbusd %tmm7,%tmm4,%tmm1\n\t"
        "tdpbusd %tmm6,%tmm5,%tmm2\n\ttdpbusd %tmm7,%tmm5,%tmm3");
  }
  asm volatile("tilerelease");
}

double Rate(PinnedTeam& team, void (*loop)(), double operations) {
  const double seconds = team.Run([loop](int) { loop(); });
  return operations * team.threads() / seconds;
}

// Four streams would be four row ranges; weights are read as one.
__attribute__((target("avx2"))) void ReadAll(const std::byte* data,
                                             size_t bytes) {
  __m256i sums[4] = {};
  for (size_t i = 0; i + 128 <= bytes; i += 128) {
    for (int j = 0; j < 4; ++j) {
      const auto* p = reinterpret_cast<const __m256i*>(data + i + 32 * j);
      sums[j] = _mm256_xor_si256(sums[j], _mm256_load_si256(p));
    }
  }
  for (const __m256i& sum : sums) asm volatile("" ::"x"(sum));
}

}  // namespace

ReadProbe::ReadProbe(size_t bytes) {
  auto memory = HugeMemory::Map(bytes);
  BRAID_CHECK(memory.ok());
  memory_ = *std::move(memory);
  std::memset(memory_.data(), 1, memory_.size());
}

double ReadProbe::Measure(PinnedTeam& team) const {
  BRAID_CHECK(cpu::Processor().avx2);
  const size_t share =
      memory_.size() / static_cast<size_t>(team.threads()) / 128 * 128;
  const double seconds = team.Run([&](int thread) {
    ReadAll(memory_.data() + static_cast<size_t>(thread) * share, share);
  });
  return static_cast<double>(share) * team.threads() / seconds;
}

double MeasureVnni(PinnedTeam& team) {
  const cpu::ProcessorFeatures& has = cpu::Processor();
  if (has.avx512_vnni) return Rate(team, Vnni512, kRounds * 12.0 * 64 * 2);
  if (has.avx_vnni) return Rate(team, Vnni256, kRounds * 12.0 * 32 * 2);
  return 0;
}

double MeasureAmx(PinnedTeam& team) {
  if (!cpu::Processor().amx) return 0;
  return Rate(team, Amx, kAmxRounds * 4.0 * 16 * 16 * 64 * 2);
}

double MeasureFma(PinnedTeam& team) {
  const cpu::ProcessorFeatures& has = cpu::Processor();
  if (has.avx512_vnni) return Rate(team, Fma512, kRounds * 12.0 * 16 * 2);
  if (has.avx2) return Rate(team, Fma256, kRounds * 12.0 * 8 * 2);
  return 0;
}

}  // namespace braid::bench
