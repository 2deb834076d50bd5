// Text to tokens and back: byte-level BPE.
//
// Immutable after Create; every method is const and thread-safe.
// Encoding is linear in the text for any input: word splitting never looks back
// further than a bounded window and long words merge through a heap.
#pragma once

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

  // Plain text; with `parse_special`, verbatim special and added tokens are
  // recognised. Adds no BOS. Any bytes are accepted; invalid UTF-8 is encoded
  // byte by byte.
  std::vector<TokenId> Encode(std::string_view text, bool parse_special) const;

  // A rendered prompt. Adjacent spans are one text as far as BPE is concerned,
  // except at special tokens.
  std::vector<TokenId> Encode(const std::vector<TextSpan>& spans) const;

  // Bytes of one token; empty for control tokens unless `show_special`.
  std::string_view TokenBytes(TokenId id, bool show_special = false) const;
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
