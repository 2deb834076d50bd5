// Whatever a GGUF file says, reading it gives a model or a Status.
#include "model/gguf.h"

#include <functional>
#include <span>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/rng.h"
#include "model/gguf_model.h"
#include "tests/cpu/golden/tiny_golden.h"
#include "tests/model/gguf_builder.h"

namespace braid {
namespace {

using absl::StatusCode;
using testing::HasSubstr;

// The bytes in memory of exactly their size, so that a sanitizer sees reads
// beyond the end.
absl::StatusOr<ModelFile::Parts> Read(const std::string& file) {
  const std::vector<char> exact(file.begin(), file.end());
  return ReadGguf(std::as_bytes(std::span(exact)));
}

using Change = std::function<void(GgufBuilder&)>;
struct Case {
  const char* message;  // a part of it
  Change change;
};

void ExpectAll(StatusCode code, const std::vector<Case>& cases) {
  for (const auto& [message, change] : cases) {
    GgufBuilder builder = MiniLlama();
    change(builder);
    const absl::Status status = Read(builder.Build()).status();
    EXPECT_EQ(status.code(), code) << message << ": " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }
}

TEST(GgufTest, ReadsACompleteModelOfBothVersions) {
  for (const uint32_t version : {2u, 3u}) {
    GgufBuilder builder = MiniLlama();
    builder.version = version;
    const auto parts = Read(builder.Build());
    ASSERT_TRUE(parts.ok()) << parts.status();
    EXPECT_EQ(parts->config.head_dim, 16);
    EXPECT_EQ(parts->config.vocabulary, 4);
    EXPECT_TRUE(parts->config.tied_embeddings);
    EXPECT_THAT(parts->tokenizer.end_of_generation, testing::ElementsAre(3));
  }
}

TEST(GgufTest, RefusesCorruptContainers) {
  ExpectAll(
      StatusCode::kInvalidArgument,
      {
          {"cannot fit", [](auto& b) { b.extra_tensors = uint64_t{1} << 60; }},
          {"cannot fit", [](auto& b) { b.extra_values = ~uint64_t{0} / 2; }},
          {"length", [](auto& b) { b.extra_values = 1; }},
          {"appears twice", [](auto& b) { b.values.push_back(b.values[1]); }},
          {"general.alignment is 3",
           [](auto& b) { b.U32("general.alignment", 3); }},
          {"general.alignment is 0",
           [](auto& b) { b.U32("general.alignment", 0); }},
          {"general.alignment is not",
           [](auto& b) { b.Text("general.alignment", "32"); }},
          {"has type 13", [](auto& b) { b.Value("x", 13, "1234"); }},
          {"the file ends inside x",
           [](auto& b) {
             b.Value("x", 9, Raw<uint32_t>(4) + Raw(~uint64_t{0}));
           }},
          {"the file ends inside x",
           [](auto& b) {
             b.Value("x", 9, Raw<uint32_t>(8) + Raw(~uint64_t{0} / 8));
           }},
          {"length", [](auto& b) { b.Value("x", 8, Raw(uint64_t{1} << 63)); }},
          {"appears twice",
           [](auto& b) { b.tensors[1].name = b.tensors[2].name; }},
          {"overlap", [](auto& b) { b.tensors[1].offset = 32; }},
          {"not aligned", [](auto& b) { b.tensors[1].offset += 4; }},
          {"truncated",
           [](auto& b) { b.tensors[1].offset = ~uint64_t{0} - 31; }},
          {"truncated", [](auto& b) { b.tensors.back().shape[1] = 33; }},
          {"extent 0",
           [](auto& b) {
             b.tensors[0].shape = {32, 0};
           }},
          {"extent",
           [](auto& b) {
             b.tensors[0].shape = {uint64_t{1} << 32, uint64_t{1} << 32};
           }},
          {"whole blocks",
           [](auto& b) {
             b.tensors[0].type = 12;  // Q4_K: 256 columns
           }},
          {"dimensions", [](auto& b) { b.tensors[0].shape.assign(5, 1); }},
          {"dimensions", [](auto& b) { b.tensors[0].shape.clear(); }},
      });
}

TEST(GgufTest, RefusesModelsThatDoNotFitTogether) {
  ExpectAll(
      StatusCode::kInvalidArgument,
      {
          {"general.architecture is missing",
           [](auto& b) { b.Remove("general.architecture"); }},
          {"llama.block_count is not an integer",
           [](auto& b) { b.Text("llama.block_count", "1"); }},
          {"llama.block_count is",
           [](auto& b) {
             b.Value("llama.block_count", 10, Raw(uint64_t{1} << 40));
           }},
          {"layers", [](auto& b) { b.U32("llama.block_count", 0); }},
          {"blk.1.attn_norm.weight",
           [](auto& b) { b.U32("llama.block_count", 2); }},
          {"the configuration needs [64, 32]",
           [](auto& b) {
             b.tensors[8].shape = {32, 63};
           }},
          {"token_embd", [](auto& b) { b.tensors[0].name = "other"; }},
          {"4 entries for 3",
           [](auto& b) {
             b.Texts("tokenizer.ggml.tokens", {"a", "b", "c"});
           }},
          {"5 tokens for a model with 4",
           [](auto& b) {
             b.Texts("tokenizer.ggml.tokens", {"a", "b", "c", "d", "e"});
             b.Remove("tokenizer.ggml.token_type");
           }},
          {"EOS token is 4",
           [](auto& b) { b.U32("tokenizer.ggml.eos_token_id", 4); }},
          {"no token is BOS",
           [](auto& b) { b.Bool("tokenizer.ggml.add_bos_token", true); }},
          {"rope_freqs", [](auto& b) { b.Tensor("rope_freqs.weight", {7}); }},
          {"RoPE frequency divisor",  // they are zeros here
           [](auto& b) { b.Tensor("rope_freqs.weight", {8}); }},
      });
}

TEST(GgufTest, RefusesByNameWhatIsNotSupported) {
  ExpectAll(
      StatusCode::kUnimplemented,
      {
          {"GGUF version 1", [](auto& b) { b.version = 1; }},
          {"big-endian", [](auto& b) { b.version = 3u << 24; }},
          {"array of arrays",
           [](auto& b) {
             b.Value("x", 9, Raw<uint32_t>(9) + Raw<uint64_t>(1));
           }},
          {"IQ2_XXS", [](auto& b) { b.tensors[3].type = 16; }},
          {"Q2_K", [](auto& b) { b.tensors[3].type = 10; }},
          {"MXFP4", [](auto& b) { b.tensors[3].type = 39; }},
          {"#4711", [](auto& b) { b.tensors[3].type = 4711; }},
          {"architecture gemma3",
           [](auto& b) { b.Text("general.architecture", "gemma3"); }},
          {"8 experts", [](auto& b) { b.U32("llama.expert_count", 8); }},
          {"sliding-window attention over 64 of 128",
           [](auto& b) { b.U32("llama.attention.sliding_window", 64); }},
          {"RoPE over 8",
           [](auto& b) { b.U32("llama.rope.dimension_count", 8); }},
          {"RoPE scaling longrope",
           [](auto& b) { b.Text("llama.rope.scaling.type", "longrope"); }},
          {"tokenizer model llama",
           [](auto& b) { b.Text("tokenizer.ggml.model", "llama"); }},
          {"pre-tokenizer tekken",
           [](auto& b) { b.Text("tokenizer.ggml.pre", "tekken"); }},
          {"pre-tokenizer (none)",
           [](auto& b) { b.Remove("tokenizer.ggml.pre"); }},
          {"add_eos_token",
           [](auto& b) { b.Bool("tokenizer.ggml.add_eos_token", true); }},
          {"tensor blk.0.attn_output.bias",
           [](auto& b) { b.Tensor("blk.0.attn_output.bias", {32}); }},
      });
}

TEST(GgufTest, EveryTruncationIsAStatus) {
  const std::string file = MiniLlama().Build();
  for (size_t size = 0; size < file.size(); ++size) {
    const absl::Status status = Read(file.substr(0, size)).status();
    ASSERT_EQ(status.code(), StatusCode::kInvalidArgument) << size;
  }
}

TEST(GgufTest, NoDamagedByteIsBelieved) {
  const auto bytes =
      golden::ReadBytes(golden::TinyModelPath("llama-q4_1-llama3"));
  const std::string file(bytes.begin(), bytes.end());
  const auto clean = GgufFile::Parse(std::as_bytes(std::span(bytes)));
  ASSERT_TRUE(clean.ok());
  const auto* start =
      reinterpret_cast<const char*>(clean->tensors().front().tensor.data);
  const auto header = static_cast<size_t>(start - bytes.data());
  Rng rng(1);
  for (size_t at = 0; at < header; ++at) {
    std::string damaged = file;
    damaged[at] = static_cast<char>(damaged[at] ^ (1 + rng.Below(255)));
    (void)Read(damaged);  // whatever it says, it comes back
  }
}

}  // namespace
}  // namespace braid
