// GgufFile's typed access to metadata. Bounds were checked by the parser.
#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "model/gguf.h"

namespace braid {
namespace {

template <typename T>
T Load(const std::byte* p) {
  T value;
  std::memcpy(&value, p, sizeof(value));
  return value;
}

template <typename T>
std::optional<int64_t> LoadInteger(const std::byte* p, uint64_t i) {
  const T value = Load<T>(p + i * sizeof(T));
  if (!std::in_range<int64_t>(value)) return std::nullopt;
  return static_cast<int64_t>(value);
}

// Element `i`; nullopt when it is no integer that int64_t can hold.
std::optional<int64_t> IntegerAt(const GgufValue& value, uint64_t i) {
  const std::byte* p = value.bytes.data();
  switch (value.type) {
    case GgufType::kUint8:
      return LoadInteger<uint8_t>(p, i);
    case GgufType::kInt8:
      return LoadInteger<int8_t>(p, i);
    case GgufType::kUint16:
      return LoadInteger<uint16_t>(p, i);
    case GgufType::kInt16:
      return LoadInteger<int16_t>(p, i);
    case GgufType::kUint32:
      return LoadInteger<uint32_t>(p, i);
    case GgufType::kInt32:
      return LoadInteger<int32_t>(p, i);
    case GgufType::kUint64:
      return LoadInteger<uint64_t>(p, i);
    case GgufType::kInt64:
      return LoadInteger<int64_t>(p, i);
    default:
      return std::nullopt;
  }
}

std::string TakeString(const std::byte*& p) {
  const auto length = static_cast<size_t>(Load<uint64_t>(p));
  std::string text(reinterpret_cast<const char*>(p) + 8, length);
  p += 8 + length;
  return text;
}

absl::Status WrongType(absl::string_view key, absl::string_view wanted) {
  return absl::InvalidArgumentError(
      absl::StrCat("GGUF metadata ", key, " is not ", wanted));
}

template <typename T>
absl::StatusOr<T> Absent(absl::string_view key, std::optional<T> fallback) {
  if (fallback) return *std::move(fallback);
  return absl::InvalidArgumentError(
      absl::StrCat("GGUF metadata ", key,
                   " is missing; convert the model again with a current "
                   "converter"));
}

}  // namespace

const GgufValue* GgufFile::Find(absl::string_view key) const {
  const auto it = values_.find(key);
  return it == values_.end() ? nullptr : &it->second;
}

absl::StatusOr<int64_t> GgufFile::Integer(
    absl::string_view key, std::optional<int64_t> fallback) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return Absent(key, fallback);
  if (!value->is_array) {
    if (const auto integer = IntegerAt(*value, 0)) return *integer;
  }
  return WrongType(key, "an integer");
}

absl::StatusOr<double> GgufFile::Real(absl::string_view key,
                                      std::optional<double> fallback) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return Absent(key, fallback);
  if (!value->is_array) {
    const std::byte* p = value->bytes.data();
    if (value->type == GgufType::kFloat32) return Load<float>(p);
    if (value->type == GgufType::kFloat64) return Load<double>(p);
    if (const auto integer = IntegerAt(*value, 0)) {
      return static_cast<double>(*integer);
    }
  }
  return WrongType(key, "a number");
}

absl::StatusOr<bool> GgufFile::Boolean(absl::string_view key,
                                       std::optional<bool> fallback) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return Absent(key, fallback);
  if (value->is_array || value->type != GgufType::kBool) {
    return WrongType(key, "a boolean");
  }
  return value->bytes[0] != std::byte{0};
}

absl::StatusOr<std::string> GgufFile::String(
    absl::string_view key, std::optional<std::string> fallback) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return Absent(key, std::move(fallback));
  if (value->is_array || value->type != GgufType::kString) {
    return WrongType(key, "a string");
  }
  const std::byte* p = value->bytes.data();
  return TakeString(p);
}

absl::StatusOr<std::vector<std::string>> GgufFile::Strings(
    absl::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return Absent<std::vector<std::string>>(key, {});
  if (!value->is_array || value->type != GgufType::kString) {
    return WrongType(key, "an array of strings");
  }
  std::vector<std::string> strings;
  strings.reserve(value->count);
  const std::byte* p = value->bytes.data();
  for (uint64_t i = 0; i < value->count; ++i) strings.push_back(TakeString(p));
  return strings;
}

absl::StatusOr<std::vector<int64_t>> GgufFile::Integers(
    absl::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return Absent<std::vector<int64_t>>(key, {});
  if (!value->is_array) return WrongType(key, "an array of integers");
  std::vector<int64_t> integers;
  integers.reserve(value->count);
  for (uint64_t i = 0; i < value->count; ++i) {
    const auto integer = IntegerAt(*value, i);
    if (!integer) return WrongType(key, "an array of integers");
    integers.push_back(*integer);
  }
  return integers;
}

}  // namespace braid
