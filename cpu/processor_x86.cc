#include <cstdint>

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cpu/processor.h"

namespace braid::cpu {
namespace {

struct Registers {
  uint32_t a = 0, b = 0, c = 0, d = 0;
};

// Zeros when the processor does not have the leaf.
Registers Cpuid(uint32_t leaf, uint32_t subleaf) {
  Registers r;
  if (__get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d) == 0) return {};
  return r;
}

bool Bit(uint32_t word, int bit) { return (word >> bit & 1) != 0; }

// The register states that the system saves on a task switch.
uint64_t EnabledStates() {
  if (!Bit(Cpuid(1, 0).c, 27)) return 0;  // no XGETBV
  uint32_t low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t{high} << 32 | low;
}

bool MadeByAmd() {
  const Registers vendor = Cpuid(0, 0);  // "AuthenticAMD"
  return vendor.b == 0x68747541 && vendor.d == 0x69746e65 &&
         vendor.c == 0x444d4163;
}

// Linux gives the 8 KiB of tile state only to processes that ask.
bool RequestTiles() {
#if defined(__linux__) && defined(SYS_arch_prctl)
  constexpr int kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr int kTileData = 18;               // XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

ProcessorFeatures Detect() {
  constexpr uint64_t kYmm = 0x6, kZmm = 0xe6, kTiles = 0x60000;
  const uint64_t states = EnabledStates();
  const Registers one = Cpuid(1, 0);
  const Registers seven = Cpuid(7, 0);
  const Registers seven_one = Cpuid(7, 1);

  ProcessorFeatures has;
  has.avx2 = (states & kYmm) == kYmm && Bit(seven.b, 5) && Bit(one.c, 12) &&
             Bit(one.c, 29);  // AVX2, FMA, F16C
  has.avx_vnni = has.avx2 && seven.a >= 1 && Bit(seven_one.a, 4);
  has.avx512_vnni = (states & kZmm) == kZmm && Bit(seven.b, 16) &&  // F
                    Bit(seven.b, 17) && Bit(seven.b, 30) &&         // DQ, BW
                    Bit(seven.b, 31) && Bit(seven.c, 11);           // VL, VNNI
  has.avx512_bf16 = has.avx512_vnni && seven.a >= 1 && Bit(seven_one.a, 5);
  has.amx = (states & kTiles) == kTiles && Bit(seven.d, 24) &&  // TILE
            Bit(seven.d, 25) && Bit(seven.d, 22) &&             // INT8, BF16
            RequestTiles();
  if (MadeByAmd()) has.prefetch_bytes = 512;
  return has;
}

}  // namespace

const ProcessorFeatures& Processor() {
  static const ProcessorFeatures features = Detect();
  return features;
}

}  // namespace braid::cpu
