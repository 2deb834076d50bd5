// Finds control and added tokens in text, verbatim.
#pragma once

#include <string_view>
#include <vector>

#include "base/ids.h"
#include "model/tokenizer_spec.h"

namespace braid {

// A range of bytes [begin, end) of the text.
struct ByteRange {
  size_t begin;
  size_t end;
};

// Immutable after construction. Keeps views into the spec, which outlives it.
class AddedTokens {
 public:
  explicit AddedTokens(const TokenizerSpec& spec);

  static constexpr TokenId kNoMatch = -1;
  struct Match {
    size_t begin;
    size_t end;
    TokenId token;
  };

  // The leftmost match that starts at `from` or later, of several there the
  // longest; a match of no bytes at the end of the text when there is none.
  // Control tokens only count where they lie inside `trusted` ranges, which
  // are sorted and apart; added tokens count anywhere.
  Match Find(std::string_view text, size_t from,
             const std::vector<ByteRange>& trusted) const;

 private:
  struct Entry {
    std::string_view text;
    TokenId token;
    bool control;
  };

  // Sorted by text, so that those which begin with some bytes are neighbours:
  // a match narrows that range byte by byte.
  std::vector<Entry> entries_;
  // The entries that begin with a byte: [first_[b], first_[b + 1]).
  size_t first_[257] = {};
};

}  // namespace braid
