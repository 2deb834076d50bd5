// Reads the .logits files of tests/model/golden (make_tiny_models.py says
// what they are).
#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/ids.h"

namespace braid::golden {

inline std::string TinyModelFolder() {
  return std::string(BRAID_SOURCE_DIR) + "/tests/model/golden/";
}

// The names of tiny models; the paths to open are TinyModelPath(name).
inline std::vector<std::string> TinyModels() {
  return {"llama-q4_0",        "llama-q4_1-llama3", "llama-q5_0-yarn",
          "llama-q5_1-linear", "llama-k-quants",    "llama-f32-llama3",
          "qwen2-q8_0-untied", "qwen2-f16",         "qwen2-bf16-sharded",
          "qwen3-q4_0-yarn",   "qwen3-floats",      "qwen3-f16-yarn"};
}
inline std::string TinyModelPath(const std::string& name) {
  const std::string base = TinyModelFolder() + name;
  return std::filesystem::is_directory(base) ? base : base + ".gguf";
}

inline std::vector<char> ReadBytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  BRAID_CHECK_MSG(in.good(), path);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Little-endian values from front to back.
class Cursor {
 public:
  explicit Cursor(const std::string& path) : bytes_(ReadBytes(path)) {}

  template <typename T>
  std::vector<T> Take(size_t count) {
    BRAID_CHECK(count * sizeof(T) <= bytes_.size() - at_);
    std::vector<T> values(count);
    std::memcpy(values.data(), bytes_.data() + at_, count * sizeof(T));
    at_ += count * sizeof(T);
    return values;
  }
  template <typename T>
  T Take() {
    return Take<T>(1)[0];
  }
  bool AtEnd() const { return at_ == bytes_.size(); }

 private:
  std::vector<char> bytes_;
  size_t at_ = 0;
};

struct TinyLogits {
  std::vector<TokenId> tokens;
  std::vector<int32_t> positions;
  std::vector<std::vector<float>> logits;  // [positions][vocabulary]
  // The same with linear inputs rounded to int8 in blocks of 32.
  std::vector<std::vector<float>> int8_logits;
};

inline TinyLogits ReadTinyLogits(const std::string& name) {
  Cursor in(TinyModelFolder() + name + ".logits");
  const auto tokens = in.Take<uint32_t>();
  const auto positions = in.Take<uint32_t>();
  const auto vocabulary = in.Take<uint32_t>();
  TinyLogits golden;
  golden.tokens = in.Take<TokenId>(tokens);
  golden.positions = in.Take<int32_t>(positions);
  for (auto* rows : {&golden.logits, &golden.int8_logits}) {
    for (uint32_t i = 0; i < positions; ++i) {
      rows->push_back(in.Take<float>(vocabulary));
    }
  }
  BRAID_CHECK(in.AtEnd());
  return golden;
}

}  // namespace braid::golden
