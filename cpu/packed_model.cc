#include "cpu/packed_model.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"

namespace braid::cpu {
namespace {

// Rows packed as one piece of work. A multiple of kRowTile.
constexpr int64_t kPieceRows = 1024;

std::vector<float> ToFloats(const Tensor& tensor) {
  if (tensor.empty()) return {};
  BRAID_CHECK(tensor.rows == 1);
  std::vector<float> floats(static_cast<size_t>(tensor.columns));
  DequantizeRow(tensor.dtype, tensor.data, tensor.columns, floats.data());
  return floats;
}

// Where element i of a head is found when pairs (2i, 2i + 1) become pairs
// (i, i + head_dim / 2).
int64_t AdjacentPairSource(int64_t i, int64_t head_dim) {
  const int64_t half = head_dim / 2;
  return i < half ? 2 * i : 2 * (i - half) + 1;
}

// Packs matrices into one mapping: first all are declared, then all are packed.
class Packer final {
 public:
  // `head_dim` > 0: reorder the rows of each head for RoPE.
  void Add(const Tensor& source, int64_t head_dim, PackedMatrix* target) {
    target->format = PackedFormatOf(source.dtype);
    target->rows = source.rows;
    target->columns = source.columns;
    jobs_.push_back({source, head_dim, target, bytes_});
    bytes_ += PackedBytes(source.dtype, source.rows, source.columns);
  }

  // Copies the tensor as it is.
  void AddCopy(const Tensor& source, Tensor* target) {
    *target = source;
    copy_source_ = source;
    copy_target_ = target;
    copy_offset_ = bytes_;
    bytes_ += (source.bytes() + 63) / 64 * 64;
  }

  size_t bytes() const { return bytes_; }

  absl::StatusOr<HugeMemory> Pack(int threads) {
    BRAID_ASSIGN_OR_RETURN(HugeMemory memory, HugeMemory::Map(bytes_));
    for (const Job& job : jobs_) {
      job.target->data = memory.data() + job.offset;
      // Reordered matrices are small; they are packed in one piece.
      const int64_t piece = job.head_dim > 0 ? job.source.rows : kPieceRows;
      for (int64_t row = 0; row < job.source.rows; row += piece) {
        pieces_.push_back({&job, row, std::min(row + piece, job.source.rows)});
      }
    }
    std::vector<std::thread> others;
    for (int i = 1; i < threads; ++i) {
      others.emplace_back([&] { PackPieces(memory.data()); });
    }
    PackPieces(memory.data());
    for (std::thread& other : others) other.join();
    if (copy_target_ != nullptr) {
      std::byte* data = memory.data() + copy_offset_;
      std::memcpy(data, copy_source_.data, copy_source_.bytes());
      copy_target_->data = data;
    }
    return memory;
  }

 private:
  struct Job {
    Tensor source;
    int64_t head_dim;
    PackedMatrix* target;
    size_t offset;
  };
  struct Piece {
    const Job* job;
    int64_t first_row, end_row;
  };

  void PackPieces(std::byte* memory) {
    std::vector<std::byte> reordered;
    for (size_t i = next_++; i < pieces_.size(); i = next_++) {
      const Piece& piece = pieces_[i];
      Tensor source = piece.job->source;
      if (const int64_t head_dim = piece.job->head_dim; head_dim > 0) {
        const size_t row_bytes = source.row_bytes();
        reordered.resize(source.bytes());
        for (int64_t row = 0; row < source.rows; ++row) {
          const int64_t from = row - row % head_dim +
                               AdjacentPairSource(row % head_dim, head_dim);
          std::memcpy(reordered.data() + row * row_bytes, source.row(from),
                      row_bytes);
        }
        source.data = reordered.data();
      }
      PackRows(source, piece.first_row, piece.end_row,
               memory + piece.job->offset);
    }
  }

  std::vector<Job> jobs_;
  size_t bytes_ = 0;
  Tensor copy_source_;
  Tensor* copy_target_ = nullptr;
  size_t copy_offset_ = 0;
  std::vector<Piece> pieces_;
  std::atomic<size_t> next_{0};
};

absl::Status CheckShape(const char* name, const Tensor& w, int64_t rows,
                        int64_t columns) {
  if (w.rows == rows && w.columns == columns) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "the model's ", name, " weights are ", w.rows, " x ", w.columns, ", not ",
      rows, " x ", columns, " as its configuration says"));
}

absl::Status CheckSupported(const ModelConfig& config) {
  BRAID_RETURN_IF_ERROR(Validate(config));
  const auto check = [](const char* name, int32_t value) {
    if (value % 32 == 0) return absl::OkStatus();
    return absl::UnimplementedError(
        absl::StrCat("the model's ", name, " is ", value,
                     "; the CPU kernels need a multiple of 32"));
  };
  BRAID_RETURN_IF_ERROR(check("head dimension", config.head_dim));
  BRAID_RETURN_IF_ERROR(check("hidden size", config.hidden));
  return check("FFN size", config.ffn);
}

absl::Status CheckLayer(const PackedModel& model, const LayerWeights& layer) {
  const ModelConfig& c = model.config;
  const int32_t q = model.q_width();
  const int32_t kv = model.kv_width();
  BRAID_RETURN_IF_ERROR(CheckShape("q", layer.q, q, c.hidden));
  BRAID_RETURN_IF_ERROR(CheckShape("k", layer.k, kv, c.hidden));
  BRAID_RETURN_IF_ERROR(CheckShape("v", layer.v, kv, c.hidden));
  BRAID_RETURN_IF_ERROR(CheckShape("o", layer.o, c.hidden, q));
  BRAID_RETURN_IF_ERROR(CheckShape("gate", layer.gate, c.ffn, c.hidden));
  BRAID_RETURN_IF_ERROR(CheckShape("up", layer.up, c.ffn, c.hidden));
  BRAID_RETURN_IF_ERROR(CheckShape("down", layer.down, c.hidden, c.ffn));
  BRAID_RETURN_IF_ERROR(
      CheckShape("attention norm", layer.attention_norm, 1, c.hidden));
  return CheckShape("FFN norm", layer.ffn_norm, 1, c.hidden);
}

// The vector with each head reordered as its matrix is.
std::vector<float> ReorderHeads(std::vector<float> v, int64_t head_dim) {
  std::vector<float> out(v.size());
  for (size_t i = 0; i < v.size(); ++i) {
    const int64_t in_head = static_cast<int64_t>(i) % head_dim;
    out[i] = v[i - in_head + AdjacentPairSource(in_head, head_dim)];
  }
  return out;
}

void PackVectors(const LayerWeights& from, const PackedModel& model,
                 PackedLayer* to) {
  const int64_t head_dim = model.config.head_dim;
  const bool reorder = model.config.rope.pairing == RopePairing::kAdjacent;
  const auto head_vector = [&](const Tensor& tensor) {
    std::vector<float> v = ToFloats(tensor);
    return reorder ? ReorderHeads(std::move(v), head_dim) : v;
  };
  to->attention_norm = ToFloats(from.attention_norm);
  to->ffn_norm = ToFloats(from.ffn_norm);
  to->q_norm = head_vector(from.q_norm);
  to->k_norm = head_vector(from.k_norm);
  if (from.q_bias.empty() && from.k_bias.empty() && from.v_bias.empty()) {
    return;
  }
  std::vector<float> q = head_vector(from.q_bias);
  std::vector<float> k = head_vector(from.k_bias);
  std::vector<float> v = ToFloats(from.v_bias);
  q.resize(model.q_width());
  k.resize(model.kv_width());
  v.resize(model.kv_width());
  to->qkv_bias = std::move(q);
  to->qkv_bias.insert(to->qkv_bias.end(), k.begin(), k.end());
  to->qkv_bias.insert(to->qkv_bias.end(), v.begin(), v.end());
}

}  // namespace

absl::StatusOr<std::unique_ptr<const PackedModel>> PackModel(
    const ModelConfig& config, const ModelWeights& weights, Isa isa,
    int threads, std::span<const ParscaleSet> sets) {
  BRAID_RETURN_IF_ERROR(CheckSupported(config));
  auto model = std::make_unique<PackedModel>();
  model->config = config;
  model->isa = isa;
  model->rope = MakeRopeTable(config.rope, config.head_dim);
  model->output_norm = ToFloats(weights.output_norm);
  BRAID_RETURN_IF_ERROR(
      CheckShape("output", weights.output, config.vocabulary, config.hidden));
  BRAID_RETURN_IF_ERROR(CheckShape("embedding", weights.embedding,
                                   config.vocabulary, config.hidden));

  Packer packer;
  const int64_t reorder =
      config.rope.pairing == RopePairing::kAdjacent ? config.head_dim : 0;
  model->layers.resize(weights.layers.size());
  for (size_t i = 0; i < weights.layers.size(); ++i) {
    const LayerWeights& from = weights.layers[i];
    PackedLayer& to = model->layers[i];
    BRAID_RETURN_IF_ERROR(CheckLayer(*model, from));
    PackVectors(from, *model, &to);
    packer.Add(from.q, reorder, &to.q);
    packer.Add(from.k, reorder, &to.k);
    packer.Add(from.v, 0, &to.v);
    packer.Add(from.o, 0, &to.o);
    packer.Add(from.gate, 0, &to.gate);
    packer.Add(from.up, 0, &to.up);
    packer.Add(from.down, 0, &to.down);
  }
  packer.Add(weights.output, 0, &model->output);
  if (weights.embedding.data != weights.output.data) {
    packer.AddCopy(weights.embedding, &model->embedding);
  }
  BRAID_ASSIGN_OR_RETURN(model->memory, packer.Pack(threads));
  model->weight_bytes = packer.bytes();
  for (const ParscaleSet& set : sets) {
    BRAID_ASSIGN_OR_RETURN(PackedStreams packed, PackStreams(config, set));
    model->weight_bytes += packed.weight_bytes;
    model->sets.push_back(std::move(packed));
  }
  return model;
}

}  // namespace braid::cpu
