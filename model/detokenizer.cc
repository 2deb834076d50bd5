#include "model/tokenizer.h"
#include "model/utf8.h"

namespace braid {

void Detokenizer::Push(TokenId token, std::string& out) {
  const std::string_view bytes = tokenizer_->TokenBytes(token, show_special_);
  if (bytes.empty()) return;
  std::string joined;
  std::string_view text = bytes;
  if (!held_.empty()) {
    joined = std::move(held_);
    joined.append(bytes);
    held_.clear();
    text = joined;
  }
  for (size_t at = 0; at < text.size();) {
    const Utf8Char c = DecodeUtf8(text, at);
    if (c.incomplete) {
      held_ = text.substr(at);
      return;
    }
    out.append(c.valid ? text.substr(at, c.length) : kReplacementUtf8);
    at += c.length;
  }
}

void Detokenizer::Flush(std::string& out) {
  // What is held began a character: it is one invalid sequence.
  if (!held_.empty()) out.append(kReplacementUtf8);
  held_.clear();
}

}  // namespace braid
