// Byte-pair encoding of one word: bytes to tokens by ranked merges.
//
// The definition: spell the word in single-byte tokens, then, as long as any
// neighbours have a merge, merge the pair of the best rank, the leftmost of
// equals. Three ways to the same result:
//   - a word that ends as one token is found in a table (most words are);
//   - short words scan for the best pair;
//   - long words keep their pairs in queues by rank (merge_queue.h), so that
//     a word of a megabyte takes time linear in it.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/ids.h"
#include "model/merge_queue.h"
#include "model/merge_table.h"
#include "model/tokenizer_spec.h"
#include "model/word_table.h"

namespace braid {

// Immutable after Create; const methods are thread-safe.
class Bpe {
 public:
  // INVALID_ARGUMENT when a merge is not of two tokens into a third, or when
  // the vocabulary has no single-byte tokens.
  // `token_bytes`: what each token stands for, by id. Views are kept.
  static absl::StatusOr<Bpe> Create(
      const TokenizerSpec& spec,
      const std::vector<std::string_view>& token_bytes);

  // Appends the tokens of `word`, which is part of `text`. Bytes that have no
  // token of their own are left out (as the reference does).
  // `queue` is working memory, to be kept between the words of a text.
  void EncodeWord(std::string_view word, std::string_view text,
                  MergeQueue& queue, std::vector<TokenId>& out) const;

 private:
  Bpe() = default;

  absl::Status AddMerges(const TokenizerSpec& spec);
  absl::Status AddBytes(const TokenizerSpec& spec);
  void AddWholeWords(const TokenizerSpec& spec,
                     const std::vector<std::string_view>& token_bytes);
  void MergeWord(std::string_view word, MergeQueue& queue,
                 std::vector<TokenId>& out) const;
  void MergeShortWord(std::string_view word, std::vector<TokenId>& out) const;

  MergeTable merges_;
  WordTable whole_words_;
  std::array<TokenId, 256> byte_token_{};  // kNoToken where there is none
  // merges_ for two bytes, [left << 8 | right]: half of all look-ups start
  // from bytes, and text uses a small corner of this table.
  std::vector<MergeTable::Merge> byte_pairs_;
};

}  // namespace braid
