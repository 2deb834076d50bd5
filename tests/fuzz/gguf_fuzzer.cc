// Any bytes as a GGUF file: a model whose every weight can be read, or a
// Status.
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "model/gguf_model.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto parts = braid::ReadGguf(std::as_bytes(std::span(data, size)));
  if (!parts.ok()) return 0;
  const braid::Tensor& last = parts->weights.output;
  std::vector<float> row(static_cast<size_t>(last.columns));
  braid::DequantizeRow(last.dtype, last.row(last.rows - 1), last.columns,
                       row.data());
  return 0;
}
