// Cuts text into the words that BPE merges inside of.
//
// The published definition of each pre-tokenizer is a regular expression with
// a look-ahead. This is a state machine for the four of them: each reads a
// character at most twice, so it is linear for any input, where a
// backtracking engine is not obliged to be, and it needs no window of valid
// UTF-8: a maximal invalid subpart counts as one character of class kOther,
// just as the U+FFFD a reader would see in its place.
// tests/model/pre_tokenizer_test.cc holds it to PCRE2 and to the Hugging Face
// library.
#pragma once

#include <cstdint>
#include <string_view>

#include "model/tokenizer_spec.h"
#include "model/unicode_class.h"

namespace braid {

// Yields the words of one text in order; together they are the text. A plain
// value; one thread at a time.
class WordSplitter {
 public:
  // `text` outlives the splitter.
  WordSplitter(PreTokenizer pre, std::string_view text)
      : pre_(pre), text_(text), classes_(CharClassTable::Get()) {}

  bool Done() const { return at_ == text_.size(); }
  // The next word, never empty. Only when not Done().
  std::string_view Next();

 private:
  struct Char {
    CharClass char_class;
    uint8_t length;  // bytes
  };

  // `at` < size.
  Char At(size_t at) const;
  // True past the end too: what ends a run of class kSpace "at the end of the
  // text" in the sense of (?!\S).
  bool EndsText(size_t at) const;
  // The end of the run of one class that starts at `at`.
  size_t RunEnd(size_t at, CharClass char_class) const;

  size_t Gpt2WordEnd() const;
  size_t LlamaWordEnd() const;
  // Bytes of a contraction ('s, 'll ...) that starts at at_, or 0.
  size_t Contraction(bool ignore_case) const;
  size_t SpacesEnd(bool through_newlines) const;

  const PreTokenizer pre_;
  const std::string_view text_;
  const CharClassTable& classes_;
  size_t at_ = 0;
};

}  // namespace braid
