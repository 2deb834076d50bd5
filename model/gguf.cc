#include "model/gguf.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"

namespace braid {
namespace {

constexpr uint32_t kMagic = 0x46554747;  // "GGUF"
constexpr uint64_t kMaxNameBytes = 4096;
constexpr uint64_t kMaxAlignment = uint64_t{1} << 20;
constexpr uint64_t kDefaultAlignment = 32;

std::optional<size_t> ScalarBytes(GgufType type) {
  switch (type) {
    case GgufType::kUint8:
    case GgufType::kInt8:
    case GgufType::kBool:
      return 1;
    case GgufType::kUint16:
    case GgufType::kInt16:
      return 2;
    case GgufType::kUint32:
    case GgufType::kInt32:
    case GgufType::kFloat32:
      return 4;
    case GgufType::kUint64:
    case GgufType::kInt64:
    case GgufType::kFloat64:
      return 8;
    case GgufType::kString:
    case GgufType::kArray:
      return std::nullopt;
  }
  return std::nullopt;
}

// Formats by the numbers GGML gives them; null where there is none.
struct FormatName {
  const char* name;
  std::optional<DType> dtype;
};
FormatName FormatOf(uint32_t type) {
  switch (type) {
    // clang-format off
    case 0: return {"F32", DType::kF32};
    case 1: return {"F16", DType::kF16};
    case 2: return {"Q4_0", DType::kQ4_0};
    case 3: return {"Q4_1", DType::kQ4_1};
    case 6: return {"Q5_0", DType::kQ5_0};
    case 7: return {"Q5_1", DType::kQ5_1};
    case 8: return {"Q8_0", DType::kQ8_0};
    case 9: return {"Q8_1", {}};
    case 10: return {"Q2_K", {}};
    case 11: return {"Q3_K", {}};
    case 12: return {"Q4_K", DType::kQ4_K};
    case 13: return {"Q5_K", DType::kQ5_K};
    case 14: return {"Q6_K", DType::kQ6_K};
    case 15: return {"Q8_K", {}};
    case 16: return {"IQ2_XXS", {}};
    case 17: return {"IQ2_XS", {}};
    case 18: return {"IQ3_XXS", {}};
    case 19: return {"IQ1_S", {}};
    case 20: return {"IQ4_NL", {}};
    case 21: return {"IQ3_S", {}};
    case 22: return {"IQ2_S", {}};
    case 23: return {"IQ4_XS", {}};
    case 24: return {"I8", {}};
    case 25: return {"I16", {}};
    case 26: return {"I32", {}};
    case 27: return {"I64", {}};
    case 28: return {"F64", {}};
    case 29: return {"IQ1_M", {}};
    case 30: return {"BF16", DType::kBF16};
    case 34: return {"TQ1_0", {}};
    case 35: return {"TQ2_0", {}};
    case 39: return {"MXFP4", {}};
    case 40: return {"NVFP4", {}};
    default: return {nullptr, {}};
      // clang-format on
  }
}

absl::Status Corrupt(uint64_t offset, absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("corrupt GGUF file at byte ", offset, ": ", what,
                   "; download or convert the model again"));
}

}  // namespace

// Walks the header once, from front to back.
class GgufParser final {
 public:
  explicit GgufParser(std::span<const std::byte> file) : file_(file) {}

  absl::StatusOr<GgufFile> Parse() {
    BRAID_RETURN_IF_ERROR(ReadHeader());
    for (uint64_t i = 0; i < value_count_; ++i) {
      BRAID_RETURN_IF_ERROR(ReadKeyValue());
    }
    BRAID_RETURN_IF_ERROR(ReadAlignment());
    for (uint64_t i = 0; i < tensor_count_; ++i) {
      BRAID_RETURN_IF_ERROR(ReadTensorInfo());
    }
    BRAID_RETURN_IF_ERROR(PlaceTensors());
    return std::move(result_);
  }

 private:
  size_t left() const { return file_.size() - at_; }
  absl::Status Truncated(absl::string_view what) const {
    return Corrupt(at_, absl::StrCat("the file ends inside ", what));
  }

  template <typename T>
  absl::Status Read(absl::string_view what, T& value) {
    if (left() < sizeof(T)) return Truncated(what);
    std::memcpy(&value, file_.data() + at_, sizeof(T));
    at_ += sizeof(T);
    return absl::OkStatus();
  }
  absl::Status ReadString(absl::string_view what, uint64_t max,
                          absl::string_view& value) {
    uint64_t length = 0;
    BRAID_RETURN_IF_ERROR(Read(what, length));
    if (length > max) {
      return Corrupt(at_ - 8, absl::StrCat("length ", length, " of ", what));
    }
    if (length > left()) return Truncated(what);
    value = {reinterpret_cast<const char*>(file_.data()) + at_,
             static_cast<size_t>(length)};
    at_ += length;
    return absl::OkStatus();
  }

  absl::Status ReadHeader();
  absl::Status ReadKeyValue();
  absl::Status SkipElements(absl::string_view key, GgufValue& value);
  absl::Status ReadAlignment();
  absl::Status ReadTensorInfo();
  absl::Status PlaceTensors();

  const std::span<const std::byte> file_;
  size_t at_ = 0;  // <= file_.size()
  uint64_t tensor_count_ = 0;
  uint64_t value_count_ = 0;
  uint64_t alignment_ = kDefaultAlignment;
  GgufFile result_;
  absl::flat_hash_set<std::string> names_;
  std::vector<uint64_t> offsets_;  // of result_.tensors_, from the data's start
};

absl::Status GgufParser::ReadHeader() {
  uint32_t magic = 0, version = 0;
  BRAID_RETURN_IF_ERROR(Read("the magic number", magic));
  if (magic != kMagic) return Corrupt(0, "it does not begin with GGUF");
  BRAID_RETURN_IF_ERROR(Read("the version", version));
  if (version != 0 && version % 65536 == 0) {
    return absl::UnimplementedError(
        "a big-endian GGUF file; only little-endian ones are read");
  }
  if (version != 2 && version != 3) {
    return absl::UnimplementedError(
        absl::StrCat("GGUF version ", version,
                     " is not supported (2 and 3 are); convert the model "
                     "again with a current converter"));
  }
  BRAID_RETURN_IF_ERROR(Read("the tensor count", tensor_count_));
  BRAID_RETURN_IF_ERROR(Read("the metadata count", value_count_));
  // A key-value pair has at least 13 bytes, a tensor at least 32.
  if (value_count_ > left() / 13 || tensor_count_ > left() / 32) {
    return Corrupt(8, absl::StrCat(tensor_count_, " tensors and ", value_count_,
                                   " metadata values cannot fit"));
  }
  return absl::OkStatus();
}

absl::Status GgufParser::ReadKeyValue() {
  absl::string_view key;
  BRAID_RETURN_IF_ERROR(ReadString("a metadata key", kMaxNameBytes, key));
  GgufValue value;
  uint32_t type = 0;
  BRAID_RETURN_IF_ERROR(Read("a metadata type", type));
  if (type == static_cast<uint32_t>(GgufType::kArray)) {
    value.is_array = true;
    BRAID_RETURN_IF_ERROR(Read("an array type", type));
    BRAID_RETURN_IF_ERROR(Read("an array length", value.count));
    if (type == static_cast<uint32_t>(GgufType::kArray)) {
      return absl::UnimplementedError(
          absl::StrCat("GGUF metadata ", key, " is an array of arrays"));
    }
  }
  if (type > static_cast<uint32_t>(GgufType::kFloat64)) {
    return Corrupt(at_, absl::StrCat("metadata ", key, " has type ", type));
  }
  value.type = static_cast<GgufType>(type);
  BRAID_RETURN_IF_ERROR(SkipElements(key, value));
  if (!result_.values_.try_emplace(std::string(key), value).second) {
    return Corrupt(at_, absl::StrCat("metadata ", key, " appears twice"));
  }
  return absl::OkStatus();
}

absl::Status GgufParser::SkipElements(absl::string_view key, GgufValue& value) {
  const size_t start = at_;
  if (const std::optional<size_t> size = ScalarBytes(value.type)) {
    if (value.count > left() / *size) return Truncated(key);
    at_ += *size * value.count;
  } else {
    if (value.count > left() / sizeof(uint64_t)) return Truncated(key);
    absl::string_view skipped;
    for (uint64_t i = 0; i < value.count; ++i) {
      BRAID_RETURN_IF_ERROR(ReadString(key, file_.size(), skipped));
    }
  }
  value.bytes = file_.subspan(start, at_ - start);
  return absl::OkStatus();
}

absl::Status GgufParser::ReadAlignment() {
  auto alignment = result_.Integer("general.alignment", kDefaultAlignment);
  BRAID_RETURN_IF_ERROR(alignment.status());
  if (*alignment < 8 || *alignment > static_cast<int64_t>(kMaxAlignment) ||
      !std::has_single_bit(static_cast<uint64_t>(*alignment))) {
    return Corrupt(at_, absl::StrCat("general.alignment is ", *alignment,
                                     ", not a power of two from 8"));
  }
  alignment_ = static_cast<uint64_t>(*alignment);
  return absl::OkStatus();
}

absl::Status GgufParser::ReadTensorInfo() {
  absl::string_view name;
  BRAID_RETURN_IF_ERROR(ReadString("a tensor name", kMaxNameBytes, name));
  uint32_t dimensions = 0, type = 0;
  uint64_t offset = 0;
  BRAID_RETURN_IF_ERROR(Read("a tensor's dimensions", dimensions));
  if (dimensions < 1 || dimensions > 4) {
    return Corrupt(
        at_, absl::StrCat("tensor ", name, " has ", dimensions, " dimensions"));
  }
  // Innermost first. More than two serve no supported architecture, but the
  // message should be about that and not about the container.
  std::array<uint64_t, 4> shape = {1, 1, 1, 1};
  uint64_t elements = 1;
  for (uint32_t i = 0; i < dimensions; ++i) {
    BRAID_RETURN_IF_ERROR(Read("a tensor's shape", shape[i]));
    if (shape[i] == 0 ||
        __builtin_mul_overflow(elements, shape[i], &elements) ||
        elements > uint64_t{1} << 48) {
      return Corrupt(at_,
                     absl::StrCat("tensor ", name, " has extent ", shape[i]));
    }
  }
  BRAID_RETURN_IF_ERROR(Read("a tensor's type", type));
  BRAID_RETURN_IF_ERROR(Read("a tensor's offset", offset));
  const FormatName format = FormatOf(type);
  if (!format.dtype) {
    return absl::UnimplementedError(absl::StrCat(
        "tensor ", name, " has format ",
        format.name != nullptr ? format.name : absl::StrCat("#", type),
        "; supported are F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, "
        "Q5_K and Q6_K"));
  }
  if (shape[0] % static_cast<uint64_t>(BlockColumns(*format.dtype)) != 0) {
    return Corrupt(
        at_, absl::StrCat("tensor ", name, ": ", shape[0],
                          " columns are not whole blocks of ", format.name));
  }
  if (offset % alignment_ != 0) {
    return Corrupt(at_ - 8, absl::StrCat("tensor ", name, " is not aligned"));
  }
  if (!names_.insert(std::string(name)).second) {
    return Corrupt(at_, absl::StrCat("tensor ", name, " appears twice"));
  }
  GgufTensor entry;
  entry.name = std::string(name);
  entry.tensor.dtype = *format.dtype;
  entry.tensor.columns = static_cast<int64_t>(shape[0]);
  entry.tensor.rows = static_cast<int64_t>(elements / shape[0]);
  result_.tensors_.push_back(std::move(entry));
  offsets_.push_back(offset);
  return absl::OkStatus();
}

absl::Status GgufParser::PlaceTensors() {
  if (result_.tensors_.empty()) return absl::OkStatus();
  const size_t start = (at_ + alignment_ - 1) / alignment_ * alignment_;
  if (start > file_.size()) return Truncated("the padding before the weights");
  const size_t data_bytes = file_.size() - start;
  std::vector<std::pair<uint64_t, uint64_t>> ranges;  // begin, end
  for (size_t i = 0; i < offsets_.size(); ++i) {
    auto& [name, tensor] = result_.tensors_[i];
    if (offsets_[i] > data_bytes || tensor.bytes() > data_bytes - offsets_[i]) {
      return absl::InvalidArgumentError(absl::StrCat(
          "truncated GGUF file: tensor ", name, " needs ", tensor.bytes(),
          " bytes at ", start, " + ", offsets_[i], ", the file has ",
          file_.size(), "; download the model again"));
    }
    tensor.data = file_.data() + start + offsets_[i];
    ranges.emplace_back(offsets_[i], offsets_[i] + tensor.bytes());
  }
  std::sort(ranges.begin(), ranges.end());
  for (size_t i = 1; i < ranges.size(); ++i) {
    if (ranges[i].first < ranges[i - 1].second) {
      return Corrupt(start + ranges[i].first, "two tensors overlap");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<GgufFile> GgufFile::Parse(std::span<const std::byte> file) {
  return GgufParser(file).Parse();
}

}  // namespace braid
