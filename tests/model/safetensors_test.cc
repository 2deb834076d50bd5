#include "model/safetensors.h"

#include <cstring>
#include <functional>
#include <span>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/rng.h"
#include "tests/cpu/golden/tiny_golden.h"

namespace braid {
namespace {

using testing::HasSubstr;

std::string WithHeader(const std::string& header, size_t data_bytes) {
  const uint64_t size = header.size();
  std::string file(sizeof(size), '\0');
  std::memcpy(file.data(), &size, sizeof(size));
  return file + header + std::string(data_bytes, '\1');
}

// In memory of exactly their size, so that a sanitizer sees reads beyond.
absl::Status StatusOf(const std::string& file) {
  const std::vector<char> exact(file.begin(), file.end());
  return ParseSafetensors(std::as_bytes(std::span(exact))).status();
}

TEST(SafetensorsTest, ReadsShapesFormatsAndOffsets) {
  const std::string file =
      WithHeader(R"({"__metadata__":{"format":"pt"},)"
                 R"("a":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]},)"
                 R"("b":{"dtype":"F32","shape":[2],"data_offsets":[12,20]}})",
                 20);
  const auto bytes = std::as_bytes(std::span(file));
  const auto parsed = ParseSafetensors(bytes);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  const NamedTensors& tensors = parsed->tensors;
  ASSERT_EQ(tensors.size(), 2u);
  const Tensor& a = tensors.at("a");
  EXPECT_EQ(a.dtype, DType::kBF16);
  EXPECT_EQ(a.rows, 2);
  EXPECT_EQ(a.columns, 3);
  EXPECT_EQ(a.data, bytes.data() + bytes.size() - 20);
  const Tensor& b = tensors.at("b");
  EXPECT_EQ(b.rows, 1);
  EXPECT_EQ(b.columns, 2);
  EXPECT_EQ(b.data, a.data + 12);
  EXPECT_EQ(parsed->metadata.at("format"), "pt");
}

TEST(SafetensorsTest, FoldsLeadingExtentsIntoRowsAndKeepsTheShape) {
  const std::string file = WithHeader(
      R"({"a":{"dtype":"F16","shape":[2,1,3,4],"data_offsets":[0,48]}})", 48);
  const auto parsed = ParseSafetensors(std::as_bytes(std::span(file)));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->tensors.at("a").rows, 6);
  EXPECT_EQ(parsed->tensors.at("a").columns, 4);
  EXPECT_THAT(parsed->shapes.at("a"), testing::ElementsAre(2, 1, 3, 4));
}

TEST(SafetensorsTest, RefusesWhatDoesNotFitTogether) {
  const auto one = [](const std::string& dtype, const std::string& shape,
                      const std::string& offsets) {
    return WithHeader(R"({"a":{"dtype":")" + dtype + R"(","shape":)" + shape +
                          R"(,"data_offsets":)" + offsets + "}}",
                      16);
  };
  const std::pair<std::string, const char*> cases[] = {
      {"", "too short"},
      {std::string(8, '\xff'), "header of"},
      {WithHeader("[]", 0), "no object"},
      {WithHeader("{\"a\":", 0), ""},
      {WithHeader("{\"a\":1}", 0), "dtype"},
      {WithHeader("{\"__metadata__\":1}", 0), "__metadata__ is no object"},
      {WithHeader("{\"__metadata__\":{\"k\":1}}", 0), "\"k\" in __metadata__"},
      {one("I8", "[16]", "[0,16]"), "format I8"},
      {one("F8_E4M3", "[16]", "[0,16]"), "format F8_E4M3"},
      {one("F32", "[]", "[0,4]"), "shape"},
      {one("F32", "[4,-1]", "[0,16]"), "shape"},
      {one("F32", "[4.5]", "[0,16]"), "shape"},
      {one("F32", "[0]", "[0,0]"), "extent 0"},
      {one("F32", "[4294967296,4294967296]", "[0,16]"), "extent"},
      {one("F32", "[4]", "[0,15]"), "lies at"},
      {one("F32", "[4]", "[16,0]"), "lies at"},
      {one("F32", "[4]", "[4,20]"), "lies at"},
      {one("F32", "[4]", "[0]"), "offsets"},
      {WithHeader(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                  R"("b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
                  12),
       "overlap"},
  };
  for (const auto& [file, message] : cases) {
    const absl::Status status = StatusOf(file);
    EXPECT_FALSE(status.ok()) << message;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }
}

TEST(SafetensorsTest, TruncatedAndDamagedFilesAreNotBelieved) {
  const auto bytes = golden::ReadBytes(golden::TinyModelPath("qwen3-f16-yarn") +
                                       "/model.safetensors");
  const std::string file(bytes.begin(), bytes.end());
  ASSERT_TRUE(StatusOf(file).ok());
  uint64_t header = 0;
  std::memcpy(&header, file.data(), sizeof(header));
  for (size_t size = 0; size < header + 16; ++size) {
    ASSERT_FALSE(StatusOf(file.substr(0, size)).ok()) << size;
  }
  EXPECT_FALSE(StatusOf(file.substr(0, file.size() - 1)).ok());
  Rng rng(1);
  for (size_t at = 0; at < header + 8; ++at) {
    std::string damaged = file;
    damaged[at] = static_cast<char>(damaged[at] ^ (1 + rng.Below(255)));
    (void)StatusOf(damaged);
  }
}

}  // namespace
}  // namespace braid
