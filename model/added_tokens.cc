#include "model/added_tokens.h"

#include <algorithm>

namespace braid {

AddedTokens::AddedTokens(const TokenizerSpec& spec) {
  for (size_t id = 0; id < spec.tokens.size() && id < spec.kinds.size(); ++id) {
    const TokenKind kind = spec.kinds[id];
    if (kind != TokenKind::kControl && kind != TokenKind::kUser) continue;
    if (spec.tokens[id].empty()) continue;
    entries_.push_back({spec.tokens[id], static_cast<TokenId>(id),
                        kind == TokenKind::kControl});
  }
  // Of equal texts the last id counts, as it does for normal tokens.
  std::sort(entries_.begin(), entries_.end(),
            [](const Entry& a, const Entry& b) {
              return a.text != b.text ? a.text < b.text : a.token < b.token;
            });
  size_t at = 0;
  for (int byte = 0; byte < 256; ++byte) {
    first_[byte] = at;
    while (at < entries_.size() &&
           static_cast<uint8_t>(entries_[at].text[0]) == byte) {
      ++at;
    }
  }
  first_[256] = at;
}

AddedTokens::Match AddedTokens::Find(
    std::string_view text, size_t from,
    const std::vector<ByteRange>& trusted) const {
  auto range = trusted.begin();
  for (size_t at = from; at < text.size() && !entries_.empty(); ++at) {
    const auto byte = static_cast<uint8_t>(text[at]);
    size_t low = first_[byte];
    size_t high = first_[byte + 1];
    if (low == high) continue;

    while (range != trusted.end() && range->end <= at) ++range;
    const size_t trusted_end =
        range != trusted.end() && range->begin <= at ? range->end : at;
    Match best{at, at, kNoMatch};
    // entries [low, high) begin with text[at, at + length)
    for (size_t length = 1; low < high; ++length) {
      for (; low < high && entries_[low].text.size() == length; ++low) {
        if (!entries_[low].control || at + length <= trusted_end) {
          best = {at, at + length, entries_[low].token};
        }
      }
      if (at + length == text.size()) break;
      const char next = text[at + length];
      const auto less = [length](const Entry& entry, char byte) {
        return static_cast<uint8_t>(entry.text[length]) <
               static_cast<uint8_t>(byte);
      };
      const auto greater = [length](char byte, const Entry& entry) {
        return static_cast<uint8_t>(byte) <
               static_cast<uint8_t>(entry.text[length]);
      };
      const auto begin = entries_.begin() + low;
      const auto end = entries_.begin() + high;
      low = std::lower_bound(begin, end, next, less) - entries_.begin();
      high = std::upper_bound(begin, end, next, greater) - entries_.begin();
    }
    if (best.token != kNoMatch) return best;
  }
  return {text.size(), text.size(), kNoMatch};
}

}  // namespace braid
