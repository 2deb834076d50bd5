// Text to tokens and back: byte-level BPE.
//
// Immutable after Create; every method is const and thread-safe.
//
// Ids are those of the Hugging Face tokenizers library, the judge in
// tests/model/check_tokenizer.py, and what it leaves open is decided here:
//   - Bytes that are not UTF-8 are split as if a maximal invalid subpart were
//     one character that is neither letter, number nor space, and then encoded
//     as the bytes they are.
//   - A byte that has no token is left out (SmolLM2 has none for 21 bytes,
//     among them some control characters). With all 256 there, Decode gives
//     back what Encode was given.
//   - Text never becomes a control token, not even by merges.
//
// Encoding is linear in the text for any input: words are split by a state
// machine that reads a character at most twice, and long words are merged
// through a queue (merge_queue.h). It takes up to 40 bytes of memory for each
// byte of the longest word: whoever accepts text from outside limits it first.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "model/tokenizer_spec.h"

namespace braid {

// A piece of a rendered prompt. Only the template's own text may contain
// special tokens; what a user typed is always plain text, even if it spells
// "<|im_end|>".
struct TextSpan {
  std::string text;
  bool parse_special = false;
};

class Tokenizer final {
 public:
  // INVALID_ARGUMENT when the vocabulary or the merges make no sense.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Create(TokenizerSpec spec);
  ~Tokenizer();

  // Any bytes; adds no BOS. Added tokens (kUser) are found verbatim, as the
  // reference does it; control tokens only with `parse_special`.
  std::vector<TokenId> Encode(std::string_view text, bool parse_special) const;

  // A rendered prompt. Adjacent spans are one text as far as BPE is concerned,
  // except at special tokens. A control token counts where every byte of it is
  // in a span with `parse_special`.
  std::vector<TokenId> Encode(const std::vector<TextSpan>& spans) const;

  // Bytes of one token; empty for control tokens unless `show_special`.
  // REQUIRES (here and below): 0 <= id < vocabulary().
  std::string_view TokenBytes(TokenId id, bool show_special = false) const;
  // The bytes of all, which need not be UTF-8: a Detokenizer makes text of
  // them.
  std::string Decode(const std::vector<TokenId>& ids,
                     bool show_special = false) const;

  int32_t vocabulary() const;
  bool IsEndOfGeneration(TokenId id) const;
  bool IsSpecial(TokenId id) const;  // kControl
  const TokenizerSpec& spec() const;

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Turns a growing list of tokens into text: holds back bytes that may still
// become one character. A plain value per stream; one thread at a time.
class Detokenizer {
 public:
  explicit Detokenizer(const Tokenizer* tokenizer, bool show_special = false)
      : tokenizer_(tokenizer), show_special_(show_special) {}

  // Appends to `out` the text that is complete with this token. Bytes that can
  // not be UTF-8 come out as U+FFFD.
  void Push(TokenId token, std::string& out);
  // What is held back, as U+FFFD per maximal invalid sequence.
  void Flush(std::string& out);

 private:
  const Tokenizer* tokenizer_;
  bool show_special_;
  std::string held_;  // at most 3 bytes
};

}  // namespace braid
