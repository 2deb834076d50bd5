// Writes GGUF files, well formed or with one thing wrong, for tests.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace braid {

// Little-endian bytes.
inline std::string Raw(const void* data, size_t size) {
  return {static_cast<const char*>(data), size};
}
template <typename T>
std::string Raw(T value) {
  return Raw(&value, sizeof(value));
}
inline std::string RawString(const std::string& text) {
  return Raw<uint64_t>(text.size()) + text;
}

struct GgufBuilder {
  struct TensorInfo {
    std::string name;
    std::vector<uint64_t> shape;  // innermost first
    uint32_t type = 0;            // F32
    uint64_t offset = 0;
  };

  // Typed values, as GGUF numbers the types.
  void U32(const std::string& key, uint32_t value) {
    Value(key, 4, Raw(value));
  }
  void F32(const std::string& key, float value) { Value(key, 6, Raw(value)); }
  void Bool(const std::string& key, bool value) {
    Value(key, 7, Raw<uint8_t>(value));
  }
  void Text(const std::string& key, const std::string& value) {
    Value(key, 8, RawString(value));
  }
  void Texts(const std::string& key, const std::vector<std::string>& values) {
    std::string raw = Raw<uint32_t>(8) + Raw<uint64_t>(values.size());
    for (const std::string& value : values) raw += RawString(value);
    Value(key, 9, raw);
  }
  // Replaces the value of a key that is there.
  void Value(const std::string& key, uint32_t type, const std::string& raw) {
    for (auto& [name, value] : values) {
      if (name == key) {
        value = Raw(type) + raw;
        return;
      }
    }
    values.emplace_back(key, Raw(type) + raw);
  }
  void Remove(const std::string& key) {
    std::erase_if(values,
                  [&](const auto& value) { return value.first == key; });
  }
  // A tensor of F32 after those before it.
  void Tensor(const std::string& name, const std::vector<uint64_t>& shape) {
    uint64_t bytes = 4;
    for (const uint64_t extent : shape) bytes *= extent;
    tensors.push_back({name, shape, 0, data_bytes});
    data_bytes += (bytes + 31) / 32 * 32;
  }

  std::string Build() const {
    std::string file = Raw<uint32_t>(0x46554747) + Raw(version) +
                       Raw<uint64_t>(tensors.size() + extra_tensors) +
                       Raw<uint64_t>(values.size() + extra_values);
    for (const auto& [key, value] : values) file += RawString(key) + value;
    for (const TensorInfo& tensor : tensors) {
      file += RawString(tensor.name) +
              Raw<uint32_t>(static_cast<uint32_t>(tensor.shape.size()));
      for (const uint64_t extent : tensor.shape) file += Raw(extent);
      file += Raw(tensor.type) + Raw(tensor.offset);
    }
    file.resize((file.size() + 31) / 32 * 32);
    return file + std::string(data_bytes, '\0');
  }

  uint32_t version = 3;
  uint64_t extra_tensors = 0, extra_values = 0;  // counted, not written
  std::vector<std::pair<std::string, std::string>> values;
  std::vector<TensorInfo> tensors;
  uint64_t data_bytes = 0;
};

// A complete Llama of one layer: hidden 32, 2 heads of 16, 1 KV head, FFN 64,
// four tokens.
inline GgufBuilder MiniLlama() {
  GgufBuilder b;
  b.Text("general.architecture", "llama");
  b.U32("llama.block_count", 1);
  b.U32("llama.context_length", 128);
  b.U32("llama.embedding_length", 32);
  b.U32("llama.feed_forward_length", 64);
  b.U32("llama.attention.head_count", 2);
  b.U32("llama.attention.head_count_kv", 1);
  b.F32("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  b.Text("tokenizer.ggml.model", "gpt2");
  b.Text("tokenizer.ggml.pre", "gpt-2");
  b.Texts("tokenizer.ggml.tokens", {"a", "b", "ab", "<|endoftext|>"});
  b.Texts("tokenizer.ggml.merges", {"a b"});
  b.Value("tokenizer.ggml.token_type", 9,
          Raw<uint32_t>(5) + Raw<uint64_t>(4) + Raw<int32_t>(1) +
              Raw<int32_t>(1) + Raw<int32_t>(1) + Raw<int32_t>(3));
  b.Tensor("token_embd.weight", {32, 4});
  b.Tensor("output_norm.weight", {32});
  b.Tensor("blk.0.attn_norm.weight", {32});
  b.Tensor("blk.0.attn_q.weight", {32, 32});
  b.Tensor("blk.0.attn_k.weight", {32, 16});
  b.Tensor("blk.0.attn_v.weight", {32, 16});
  b.Tensor("blk.0.attn_output.weight", {32, 32});
  b.Tensor("blk.0.ffn_norm.weight", {32});
  b.Tensor("blk.0.ffn_gate.weight", {32, 64});
  b.Tensor("blk.0.ffn_up.weight", {32, 64});
  b.Tensor("blk.0.ffn_down.weight", {64, 32});
  return b;
}

}  // namespace braid
