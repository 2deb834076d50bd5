#include "model/safetensors.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/json_fields.h"
#include "model/json_value.h"

namespace braid {
namespace {

// As the reference implementation bounds it.
constexpr uint64_t kMaxHeaderBytes = 100'000'000;

absl::Status Corrupt(const std::string& what) {
  return absl::InvalidArgumentError(
      absl::StrCat("corrupt safetensors file: ", what, "; download it again"));
}

absl::StatusOr<DType> DTypeOf(const std::string& name,
                              const std::string& format) {
  if (format == "F32") return DType::kF32;
  if (format == "F16") return DType::kF16;
  if (format == "BF16") return DType::kBF16;
  return absl::UnimplementedError(
      absl::StrCat("tensor ", name, " has format ", format,
                   "; supported in safetensors are F32, F16 and BF16"));
}

// The non-negative integers of an array; nullopt when there is anything else.
std::optional<std::vector<int64_t>> Extents(const JsonValue* value) {
  if (value == nullptr || value->array() == nullptr) return std::nullopt;
  std::vector<int64_t> extents;
  for (const JsonValue& element : *value->array()) {
    const int64_t* extent = element.integer();
    if (extent == nullptr || *extent < 0) return std::nullopt;
    extents.push_back(*extent);
  }
  return extents;
}

struct Placed {
  Tensor tensor;
  std::vector<int64_t> shape;
  uint64_t begin, end;
};

absl::StatusOr<Placed> Place(const std::string& name, const JsonValue& entry,
                             std::span<const std::byte> data) {
  const JsonFields fields(entry, absl::StrCat("safetensors header, ", name));
  BRAID_ASSIGN_OR_RETURN(const std::string format, fields.String("dtype"));
  Placed placed;
  BRAID_ASSIGN_OR_RETURN(placed.tensor.dtype, DTypeOf(name, format));
  const auto shape = Extents(entry.Find("shape"));
  const auto offsets = Extents(entry.Find("data_offsets"));
  if (!shape || shape->empty() || !offsets || offsets->size() != 2) {
    return Corrupt(absl::StrCat("shape or offsets of tensor ", name));
  }
  int64_t elements = 1;
  for (const int64_t extent : *shape) {
    if (extent == 0 || __builtin_mul_overflow(elements, extent, &elements) ||
        elements > int64_t{1} << 48) {
      return Corrupt(absl::StrCat("tensor ", name, " has extent ", extent));
    }
  }
  placed.shape = *shape;
  placed.tensor.columns = shape->back();
  placed.tensor.rows = elements / shape->back();
  placed.begin = static_cast<uint64_t>((*offsets)[0]);
  placed.end = static_cast<uint64_t>((*offsets)[1]);
  if (placed.begin > placed.end || placed.end > data.size() ||
      placed.end - placed.begin != placed.tensor.bytes()) {
    return Corrupt(absl::StrCat("tensor ", name, " of ", placed.tensor.bytes(),
                                " bytes lies at ", placed.begin, " to ",
                                placed.end, " of ", data.size()));
  }
  placed.tensor.data = data.data() + placed.begin;
  return placed;
}

absl::Status ReadMetadata(const JsonValue& entry, SafetensorsFile& parsed) {
  if (entry.object() == nullptr) return Corrupt("__metadata__ is no object");
  for (const auto& [key, value] : *entry.object()) {
    if (value.string() == nullptr) {
      return Corrupt(absl::StrCat("\"", key, "\" in __metadata__ is no text"));
    }
    parsed.metadata.emplace(key, *value.string());
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SafetensorsFile> ParseSafetensors(
    std::span<const std::byte> file) {
  uint64_t header_bytes = 0;
  if (file.size() < sizeof(header_bytes)) return Corrupt("it is too short");
  std::memcpy(&header_bytes, file.data(), sizeof(header_bytes));
  const std::span<const std::byte> rest = file.subspan(sizeof(header_bytes));
  if (header_bytes > rest.size() || header_bytes > kMaxHeaderBytes) {
    return Corrupt(
        absl::StrCat("header of ", header_bytes, " bytes in ", file.size()));
  }
  BRAID_ASSIGN_OR_RETURN(const JsonValue header,
                         ParseJson({reinterpret_cast<const char*>(rest.data()),
                                    static_cast<size_t>(header_bytes)}));
  if (header.object() == nullptr) return Corrupt("the header is no object");
  const std::span<const std::byte> data = rest.subspan(header_bytes);
  SafetensorsFile parsed;
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  for (const auto& [name, entry] : *header.object()) {
    if (name == "__metadata__") {
      BRAID_RETURN_IF_ERROR(ReadMetadata(entry, parsed));
      continue;
    }
    BRAID_ASSIGN_OR_RETURN(Placed placed, Place(name, entry, data));
    parsed.tensors.emplace(name, placed.tensor);
    parsed.shapes.emplace(name, std::move(placed.shape));
    ranges.emplace_back(placed.begin, placed.end);
  }
  std::sort(ranges.begin(), ranges.end());
  for (size_t i = 1; i < ranges.size(); ++i) {
    if (ranges[i].first < ranges[i - 1].second) {
      return Corrupt(absl::StrCat("two tensors overlap at ", ranges[i].first));
    }
  }
  return parsed;
}

}  // namespace braid
