#include "base/check.h"
#include "cpu/kernels.h"

namespace braid::cpu {
namespace {

size_t RoundUp(size_t bytes) { return (bytes + 63) / 64 * 64; }

size_t ValueBytes(int32_t tokens, int32_t columns) {
  return RoundUp(sizeof(float) * static_cast<size_t>(tokens) *
                 static_cast<size_t>(columns));
}

}  // namespace

const float* Activations::FloatInputs(PackedFormat format) const {
  return format == PackedFormat::kBF16 && rounded != nullptr
             ? reinterpret_cast<const float*>(rounded)
             : values;
}

size_t ActivationBytes(int32_t tokens, int32_t columns) {
  BRAID_CHECK(columns % kBlockColumns == 0);
  const size_t blocks = static_cast<size_t>(tokens) *
                        static_cast<size_t>(columns / kBlockColumns);
  return 2 * ValueBytes(tokens, columns) +
         RoundUp(blocks * sizeof(ActivationBlock));
}

Activations PlaceActivations(int32_t tokens, int32_t columns,
                             std::byte* memory) {
  Activations x;
  x.columns = columns;
  x.values = reinterpret_cast<float*>(memory);
  x.rounded = memory + ValueBytes(tokens, columns);
  x.blocks = reinterpret_cast<ActivationBlock*>(x.rounded +
                                                ValueBytes(tokens, columns));
  return x;
}

}  // namespace braid::cpu
