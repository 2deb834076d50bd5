#include "model/parscale_tensors.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "model/fingerprint.h"

namespace braid {
namespace {

size_t ElementBytes(const Tensor& tensor) {
  BRAID_CHECK(BlockColumns(tensor.dtype) == 1);
  return static_cast<size_t>(BlockBytes(tensor.dtype));
}

absl::Status CheckFinite(const std::string& name, const Tensor& tensor) {
  std::vector<float> row(static_cast<size_t>(tensor.columns));
  for (int64_t r = 0; r < tensor.rows; ++r) {
    DequantizeRow(tensor.dtype, tensor.row(r), tensor.columns, row.data());
    for (const float value : row) {
      if (std::isfinite(value)) continue;
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", name, " holds ", value, " in row ", r,
                       "; the streams were not trained or the file is damaged: "
                       "download or train it again"));
    }
  }
  return absl::OkStatus();
}

std::vector<float> ToFloats(const Tensor& vector) {
  std::vector<float> values(static_cast<size_t>(vector.columns));
  DequantizeRow(vector.dtype, vector.data, vector.columns, values.data());
  return values;
}

// Appends tensors to memory whose size was given beforehand, so that views stay
// where they are.
class Copier final {
 public:
  explicit Copier(size_t bytes)
      : memory_(std::make_shared<std::vector<std::byte>>(bytes)) {}

  Tensor Copy(const Tensor& from) {
    const auto [to, place] = Place(from.dtype, from.rows, from.columns);
    std::memcpy(place, from.data, from.bytes());
    return to;
  }

  // Elements (2i, 2i + 1) of each row become (i, i + columns / 2).
  Tensor CopyToHalves(const Tensor& from) {
    return Gather(from, from.columns, [&](int64_t c) {
      const int64_t half = from.columns / 2;
      return c < half ? 2 * c : 2 * (c - half) + 1;
    });
  }

  // Every `stride`th column, from `first` on.
  Tensor CopyColumns(const Tensor& from, int64_t first, int64_t stride) {
    return Gather(from, from.columns / stride,
                  [&](int64_t c) { return c * stride + first; });
  }

  std::shared_ptr<const std::vector<std::byte>> Finish() && {
    BRAID_CHECK(used_ == memory_->size());
    return std::move(memory_);
  }

 private:
  std::pair<Tensor, std::byte*> Place(DType dtype, int64_t rows,
                                      int64_t columns) {
    Tensor to{dtype, rows, columns, nullptr};
    BRAID_CHECK(to.bytes() <= memory_->size() - used_);
    std::byte* place = memory_->data() + used_;
    to.data = place;
    used_ += to.bytes();
    return {to, place};
  }

  // Column c of the copy is column source(c) of `from`.
  template <typename Source>
  Tensor Gather(const Tensor& from, int64_t columns, Source source) {
    auto [to, place] = Place(from.dtype, from.rows, columns);
    const size_t element = ElementBytes(from);
    for (int64_t r = 0; r < from.rows; ++r) {
      for (int64_t c = 0; c < columns; ++c) {
        const auto at = static_cast<size_t>(source(c)) * element;
        std::memcpy(place, from.row(r) + at, element);
        place += element;
      }
    }
    return to;
  }

  std::shared_ptr<std::vector<std::byte>> memory_;
  size_t used_ = 0;
};

size_t BytesOf(const ParscaleTensors& tensors) {
  size_t bytes = tensors.w1.bytes() + tensors.w2.bytes();
  for (const auto* prefixes : {&tensors.prefix_k, &tensors.prefix_v}) {
    for (const std::vector<Tensor>& layers : *prefixes) {
      for (const Tensor& tensor : layers) bytes += tensor.bytes();
    }
  }
  return bytes;
}

uint64_t FingerprintOf(const ParscaleSet& set) {
  Fingerprint print;
  print.AddIntegers(
      {static_cast<int64_t>(set.kind), set.streams, set.prefix_tokens});
  print.AddFloats({set.smoothing});
  for (const auto* prefixes : {&set.prefix_k, &set.prefix_v}) {
    for (const std::vector<Tensor>& layers : *prefixes) {
      for (const Tensor& tensor : layers) print.AddTensor(tensor);
    }
  }
  for (const Tensor& block : set.w1) print.AddTensor(block);
  print.AddFloats(set.b1);
  print.AddTensor(set.w2);
  print.AddFloats(set.b2);
  return print.hash();
}

}  // namespace

absl::StatusOr<Tensor> TakeFinite(SafetensorsFile& file,
                                  const std::string& name,
                                  std::initializer_list<int64_t> shape) {
  const auto it = file.tensors.find(name);
  if (it == file.tensors.end()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "there is no tensor ", name, "; download or convert the file again"));
  }
  const std::vector<int64_t>& found = file.shapes.at(name);
  if (!std::equal(found.begin(), found.end(), shape.begin(), shape.end())) {
    return absl::InvalidArgumentError(absl::StrCat(
        "tensor ", name, " is [", absl::StrJoin(found, ", "),
        "], the fields of the file need [", absl::StrJoin(shape, ", "), "]"));
  }
  const Tensor tensor = it->second;
  BRAID_RETURN_IF_ERROR(CheckFinite(name, tensor));
  file.tensors.erase(it);
  return tensor;
}

Tensor RowsOf(const Tensor& tensor, int64_t first, int64_t rows) {
  BRAID_CHECK(first >= 0 && rows >= 0 && first + rows <= tensor.rows);
  return {tensor.dtype, rows, tensor.columns, tensor.row(first)};
}

absl::Status TakeAggregator(SafetensorsFile& file,
                            std::span<const char* const, 4> names,
                            int32_t streams, int32_t hidden,
                            ParscaleTensors& tensors) {
  BRAID_ASSIGN_OR_RETURN(
      tensors.w1,
      TakeFinite(file, names[0], {hidden, int64_t{streams} * hidden}));
  BRAID_ASSIGN_OR_RETURN(tensors.b1, TakeFinite(file, names[1], {hidden}));
  BRAID_ASSIGN_OR_RETURN(tensors.w2,
                         TakeFinite(file, names[2], {streams, hidden}));
  BRAID_ASSIGN_OR_RETURN(tensors.b2, TakeFinite(file, names[3], {streams}));
  return absl::OkStatus();
}

void FillParscaleSet(const ParscaleTensors& tensors, RopePairing key_layout,
                     ParscaleSet& set) {
  Copier copier(BytesOf(tensors));
  for (const std::vector<Tensor>& layers : tensors.prefix_k) {
    std::vector<Tensor>& copies = set.prefix_k.emplace_back();
    for (const Tensor& keys : layers) {
      copies.push_back(key_layout == RopePairing::kAdjacent
                           ? copier.CopyToHalves(keys)
                           : copier.Copy(keys));
    }
  }
  for (const std::vector<Tensor>& layers : tensors.prefix_v) {
    std::vector<Tensor>& copies = set.prefix_v.emplace_back();
    for (const Tensor& values : layers) copies.push_back(copier.Copy(values));
  }
  for (int32_t s = 0; s < set.streams; ++s) {
    set.w1.push_back(copier.CopyColumns(tensors.w1, s, set.streams));
  }
  set.w2 = copier.Copy(tensors.w2);
  set.b1 = ToFloats(tensors.b1);
  set.b2 = ToFloats(tensors.b2);
  set.memory = std::move(copier).Finish();
  set.fingerprint = FingerprintOf(set);
}

absl::Status CheckField(const char* field, double value, double low,
                        double high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("\"", field, "\" is ", value, ", not ", low, " to ", high));
}

}  // namespace braid
