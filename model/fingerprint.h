// A hash of configuration and weights, field by field, since the padding
// between fields is no value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>

#include "base/hash.h"
#include "model/tensor.h"

namespace braid {

class Fingerprint final {
 public:
  void Add(std::span<const std::byte> bytes) { hash_ = Hash64(bytes, hash_); }
  void AddIntegers(std::initializer_list<int64_t> values) {
    Add(std::as_bytes(std::span(values.begin(), values.size())));
  }
  void AddFloats(std::span<const float> values) { Add(std::as_bytes(values)); }
  void AddFloats(std::initializer_list<float> values) {
    AddFloats(std::span(values.begin(), values.size()));
  }
  void AddTensor(const Tensor& tensor) {
    AddIntegers(
        {static_cast<int64_t>(tensor.dtype), tensor.rows, tensor.columns});
    if (!tensor.empty()) Add(std::span(tensor.data, tensor.bytes()));
  }
  uint64_t hash() const { return hash_; }

 private:
  uint64_t hash_ = 0;
};

}  // namespace braid
