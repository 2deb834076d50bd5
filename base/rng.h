// Counter-based random numbers: a value is a pure function of (seed, counter),
// so the n-th draw of a request is the same wherever and whenever it is made.
// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
// SC'11).
#pragma once

#include <array>
#include <cstdint>

namespace braid {

// 128 random bits for (seed, counter).
std::array<uint32_t, 4> Philox(uint64_t seed, uint64_t counter);

// Uniform in [0, 1), 24 bits of precision.
float UniformFloat(uint64_t seed, uint64_t counter);

// A generator for tests, simulations and load: a seed and a running counter.
// Satisfies UniformRandomBitGenerator.
class Rng {
 public:
  using result_type = uint64_t;
  explicit Rng(uint64_t seed) : seed_(seed) {}
  static constexpr uint64_t min() { return 0; }
  static constexpr uint64_t max() { return ~uint64_t{0}; }

  uint64_t operator()();
  // Uniform in [0, bound). REQUIRES: bound > 0.
  uint64_t Below(uint64_t bound);
  // Uniform in [0, 1), 53 bits of precision.
  double Uniform();

 private:
  uint64_t seed_;
  uint64_t counter_ = 0;
};

}  // namespace braid
