#include "base/rng.h"

namespace braid {

std::array<uint32_t, 4> Philox(uint64_t seed, uint64_t counter) {
  constexpr uint64_t kMul0 = 0xD2511F53, kMul1 = 0xCD9E8D57;
  constexpr uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
  std::array<uint32_t, 4> c = {static_cast<uint32_t>(counter),
                               static_cast<uint32_t>(counter >> 32), 0, 0};
  uint32_t k0 = static_cast<uint32_t>(seed);
  uint32_t k1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = kMul0 * c[0];
    const uint64_t p1 = kMul1 * c[2];
    c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k0, static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k1,
         static_cast<uint32_t>(p0)};
    k0 += kWeyl0;
    k1 += kWeyl1;
  }
  return c;
}

float UniformFloat(uint64_t seed, uint64_t counter) {
  return static_cast<float>(Philox(seed, counter)[0] >> 8) * 0x1p-24f;
}

uint64_t Rng::operator()() {
  const auto c = Philox(seed_, counter_++);
  return (uint64_t{c[1]} << 32) | c[0];
}

uint64_t Rng::Below(uint64_t bound) {
  return static_cast<uint64_t>(
      (static_cast<unsigned __int128>((*this)()) * bound) >> 64);
}

double Rng::Uniform() { return static_cast<double>((*this)() >> 11) * 0x1p-53; }

}  // namespace braid
