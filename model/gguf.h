// The GGUF container: typed metadata and a directory of tensors over one span
// of bytes, as a file has them. What the keys mean is gguf_model.h's affair.
//
// Nothing in the file is believed: every length, count, offset and alignment
// is compared with the bytes there are before it is used, so a parsed file can
// be read without further checks.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/tensor.h"

namespace braid {

// As numbered in the file.
enum class GgufType : uint32_t {
  kUint8 = 0,
  kInt8 = 1,
  kUint16 = 2,
  kInt16 = 3,
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kUint64 = 10,
  kInt64 = 11,
  kFloat64 = 12,
};

// A metadata value where it lies: `count` elements of `type`.
struct GgufValue {
  GgufType type = GgufType::kUint8;
  bool is_array = false;
  uint64_t count = 1;
  std::span<const std::byte> bytes;
};

struct GgufTensor {
  std::string name;
  Tensor tensor;
};

// Views into the bytes given to Parse, which must outlive it. Immutable after
// Parse; any thread.
class GgufFile final {
 public:
  // INVALID_ARGUMENT for a corrupt file (what, at which offset), UNIMPLEMENTED
  // for versions, tensor formats and value types that are not read.
  static absl::StatusOr<GgufFile> Parse(std::span<const std::byte> file);

  bool Has(absl::string_view key) const { return values_.contains(key); }
  // INVALID_ARGUMENT when the key has another type, or is absent and there is
  // no fallback. Any integer type serves as an integer.
  absl::StatusOr<int64_t> Integer(absl::string_view key,
                                  std::optional<int64_t> fallback = {}) const;
  absl::StatusOr<double> Real(absl::string_view key,
                              std::optional<double> fallback = {}) const;
  absl::StatusOr<bool> Boolean(absl::string_view key,
                               std::optional<bool> fallback = {}) const;
  absl::StatusOr<std::string> String(
      absl::string_view key, std::optional<std::string> fallback = {}) const;
  absl::StatusOr<std::vector<std::string>> Strings(absl::string_view key) const;
  absl::StatusOr<std::vector<int64_t>> Integers(absl::string_view key) const;

  const std::vector<GgufTensor>& tensors() const { return tensors_; }

 private:
  friend class GgufParser;
  const GgufValue* Find(absl::string_view key) const;

  absl::flat_hash_map<std::string, GgufValue> values_;
  std::vector<GgufTensor> tensors_;  // in file order
};

}  // namespace braid
