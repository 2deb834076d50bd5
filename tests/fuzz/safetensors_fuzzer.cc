// Any bytes as a safetensors file: tensors that can be read, or a Status.
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "model/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto parsed =
      braid::ParseSafetensors(std::as_bytes(std::span(data, size)));
  if (!parsed.ok()) return 0;
  for (const auto& [name, tensor] : parsed->tensors) {
    std::vector<float> row(static_cast<size_t>(tensor.columns));
    braid::DequantizeRow(tensor.dtype, tensor.row(tensor.rows - 1),
                         tensor.columns, row.data());
  }
  return 0;
}
