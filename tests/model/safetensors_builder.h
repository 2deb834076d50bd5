// Writes safetensors files, well formed or with one thing wrong, for tests.
#pragma once

#include <cstdint>
#include <cstring>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "base/check.h"
#include "model/json_value.h"
#include "model/tensor.h"

namespace braid {

struct SafetensorsBuilder {
  struct Entry {
    DType dtype = DType::kF32;
    std::vector<int64_t> shape;
    std::string bytes;
  };

  // Values in F32, F16 or BF16, rounded to nearest even.
  void Add(const std::string& name, std::vector<int64_t> shape,
           const std::vector<float>& values, DType dtype = DType::kF32) {
    Entry entry{dtype, std::move(shape), {}};
    for (const float value : values) {
      if (dtype == DType::kF32) {
        entry.bytes.append(reinterpret_cast<const char*>(&value), 4);
        continue;
      }
      const uint16_t bits =
          dtype == DType::kF16 ? FloatToHalf(value) : FloatToBFloat16(value);
      entry.bytes.append(reinterpret_cast<const char*>(&bits), 2);
    }
    tensors[name] = std::move(entry);
  }

  std::string Build() const {
    JsonValue::Object header, texts;
    for (const auto& [key, text] : metadata) texts.emplace_back(key, text);
    if (!texts.empty()) header.emplace_back("__metadata__", std::move(texts));
    std::string data;
    for (const auto& [name, entry] : tensors) {
      const auto begin = static_cast<int64_t>(data.size());
      data += entry.bytes;
      JsonValue::Array shape(entry.shape.begin(), entry.shape.end());
      header.emplace_back(
          name,
          JsonValue::Object{
              {"dtype", ToString(entry.dtype)},
              {"shape", std::move(shape)},
              {"data_offsets",
               JsonValue::Array{begin, static_cast<int64_t>(data.size())}}});
    }
    const std::string json = ToJson(header);
    const uint64_t size = json.size();
    std::string file(reinterpret_cast<const char*>(&size), sizeof(size));
    return file + json + data;
  }

  void Write(const std::string& path) const {
    std::ofstream out(path, std::ios::binary);
    out << Build();
    out.close();
    BRAID_CHECK_MSG(out.good(), path);
  }

  std::map<std::string, std::string> metadata;
  std::map<std::string, Entry> tensors;
};

}  // namespace braid
