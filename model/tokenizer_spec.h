// A byte-level BPE vocabulary as a model file gives it: the input of
// Tokenizer::Create. A plain value.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/ids.h"

namespace braid {

// How text is cut into words before merges (reference: the `pre` of GGUF, the
// pre_tokenizer of tokenizer.json).
enum class PreTokenizer : uint8_t {
  kGpt2,
  kSmolLm,    // single digits first, then gpt2
  kLlamaBpe,  // also deepseek-r1-llama
  kQwen2,     // also deepseek-r1-qwen
};

enum class TokenKind : uint8_t {
  kNormal,
  kControl,  // special: never made from text, not shown in output
  kUser,     // added: matched verbatim in text, shown in output
  kUnused,
};

struct TokenizerSpec {
  // By id. Normal tokens are spelled in GPT-2's printable byte alphabet
  // (a space is U+0120), others verbatim.
  std::vector<std::string> tokens;
  std::vector<TokenKind> kinds;
  // "left right", best first.
  std::vector<std::string> merges;
  PreTokenizer pre = PreTokenizer::kGpt2;
  // tokenizer.json's BPE ignore_merges (Llama 3): a word that is a token as a
  // whole is not taken apart.
  bool ignore_merges = false;
  // Text is NFC-normalised first (Qwen2 in tokenizer.json).
  bool normalize_nfc = false;
  std::optional<TokenId> bos, eos, unknown, padding;
  bool add_bos = false;
  // All ids that end a generation (eos, <|im_end|>, <|eot_id|> ...).
  std::vector<TokenId> end_of_generation;
};

// What every reader does last: pads `tokens` with unused ones to the model's
// vocabulary (embeddings are often rounded up), adds eos and the control
// tokens that are known to end a turn to end_of_generation, sorts it.
// INVALID_ARGUMENT when an id is outside the vocabulary or lists do not agree.
absl::Status FinishTokenizerSpec(int32_t vocabulary, TokenizerSpec& spec);

}  // namespace braid
