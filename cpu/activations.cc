#include "base/check.h"
#include "cpu/kernels.h"

namespace braid::cpu {
namespace {

// Hands out pieces of one memory, or only counts their bytes.
class Pieces {
 public:
  explicit Pieces(std::byte* memory) : memory_(memory) {}

  template <typename T>
  T* Take(int64_t count) {
    T* piece =
        memory_ == nullptr ? nullptr : reinterpret_cast<T*>(memory_ + used_);
    used_ += (static_cast<size_t>(count) * sizeof(T) + 63) / 64 * 64;
    return piece;
  }
  size_t used() const { return used_; }

 private:
  std::byte* memory_;
  size_t used_ = 0;
};

Activations Place(int64_t tokens, int32_t columns, Pieces& pieces) {
  BRAID_CHECK(columns % kBlockColumns == 0);
  Activations x;
  x.columns = columns;
  x.values = pieces.Take<float>(tokens * columns);
  x.quants = pieces.Take<int8_t>(tokens * columns);
  x.scales = pieces.Take<float>(tokens * columns / 32);
  x.sums = pieces.Take<float>(tokens * columns / 32);
  x.half_sums = pieces.Take<float>(tokens * columns / 16);
  return x;
}

}  // namespace

size_t ActivationBytes(int32_t tokens, int32_t columns) {
  Pieces pieces(nullptr);
  Place(tokens, columns, pieces);
  return pieces.used();
}

Activations PlaceActivations(int32_t tokens, int32_t columns,
                             std::byte* memory) {
  Pieces pieces(memory);
  return Place(tokens, columns, pieces);
}

}  // namespace braid::cpu
