// Reads default_golden.bin (make_default_golden.py says what it is): what an
// independent implementation computes with the default model.
#pragma once

#include <array>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "tests/cpu/golden/tiny_golden.h"

namespace braid::golden {

// Where tests/run.sh puts the default model.
inline std::string DefaultModelPath() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  const std::string base =
      cache != nullptr && *cache != '\0'
          ? std::string(cache)
          : std::string(home != nullptr ? home : "") + "/.cache";
  return base + "/braid/models/SmolLM2-135M-Instruct.Q4_1.gguf";
}

struct DefaultGolden {
  static constexpr int kBest = 5;
  struct Text {
    std::vector<TokenId> best_ids;     // [tokens][kBest], best first
    std::vector<float> best_logprobs;  // [tokens][kBest]
    std::vector<float> next_logprobs;  // of tokens[i + 1]; the last is 0
  };
  struct Greedy {
    std::vector<TokenId> tokens;  // [prompts][generated]
    std::vector<float> logprobs;  // [prompts][generated]
    std::vector<float> margins;   // best logit less the second best
  };
  std::vector<TokenId> tokens;
  std::vector<std::vector<TokenId>> prompts;
  uint32_t generated = 0;  // tokens per prompt
  // Linear inputs as they are, and rounded to int8 in blocks of 32.
  Text float_text, int8_text;
  Greedy float_greedy, int8_greedy;
};

inline DefaultGolden ReadDefaultGolden() {
  Cursor in(std::string(BRAID_SOURCE_DIR) +
            "/tests/cpu/golden/default_golden.bin");
  const auto magic = in.Take<char>(8);
  BRAID_CHECK(std::string(magic.begin(), magic.end()) == "BRDGOLD1");
  const auto tokens = in.Take<uint32_t>();
  const auto prompts = in.Take<uint32_t>();
  DefaultGolden golden;
  golden.generated = in.Take<uint32_t>();
  golden.tokens = in.Take<TokenId>(tokens);
  for (auto* text : {&golden.float_text, &golden.int8_text}) {
    text->best_ids = in.Take<TokenId>(tokens * DefaultGolden::kBest);
    text->best_logprobs = in.Take<float>(tokens * DefaultGolden::kBest);
    text->next_logprobs = in.Take<float>(tokens);
  }
  for (const uint32_t length : in.Take<uint32_t>(prompts)) {
    golden.prompts.emplace_back(length);
  }
  for (auto& prompt : golden.prompts) {
    prompt = in.Take<TokenId>(prompt.size());
  }
  for (auto* greedy : {&golden.float_greedy, &golden.int8_greedy}) {
    greedy->tokens = in.Take<TokenId>(prompts * golden.generated);
    greedy->logprobs = in.Take<float>(prompts * golden.generated);
    greedy->margins = in.Take<float>(prompts * golden.generated);
  }
  BRAID_CHECK(in.AtEnd());
  return golden;
}

// Scores of that text by make_ordered_golden.py, whose sums have the order of
// the kernels.
struct OrderedGolden {
  struct Text {
    std::vector<TokenId> best_ids;
    std::vector<float> best_logprobs;
    std::vector<float> next_logprobs;  // of tokens[i + 1]; the last is 0
  };
  Text fused, portable;  // multiply-adds round once, twice
};

inline OrderedGolden ReadOrderedGolden() {
  Cursor in(std::string(BRAID_SOURCE_DIR) +
            "/tests/cpu/golden/ordered_golden.bin");
  const auto magic = in.Take<char>(8);
  BRAID_CHECK(std::string(magic.begin(), magic.end()) == "BRDORDR1");
  const auto tokens = in.Take<uint32_t>();
  OrderedGolden golden;
  for (auto* text : {&golden.fused, &golden.portable}) {
    text->best_ids = in.Take<TokenId>(tokens);
    text->best_logprobs = in.Take<float>(tokens);
    text->next_logprobs = in.Take<float>(tokens);
  }
  BRAID_CHECK(in.AtEnd());
  return golden;
}

}  // namespace braid::golden
