#include "model/bpe.h"

#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/byte_alphabet.h"

namespace braid {
namespace {

// Where scanning for the best pair and the queue cost the same (measured on
// runs of random letters).
constexpr size_t kShortWord = 48;

TokenKind KindOf(const TokenizerSpec& spec, size_t id) {
  return id < spec.kinds.size() ? spec.kinds[id] : TokenKind::kNormal;
}

std::string Escaped(std::string_view text) {
  // Abseil's string_view is a type of its own on Debian 12.
  return absl::Utf8SafeCEscape(absl::string_view(text.data(), text.size()));
}

}  // namespace

absl::StatusOr<Bpe> Bpe::Create(
    const TokenizerSpec& spec,
    const std::vector<std::string_view>& token_bytes) {
  Bpe bpe;
  BRAID_RETURN_IF_ERROR(bpe.AddBytes(spec));
  BRAID_RETURN_IF_ERROR(bpe.AddMerges(spec));
  bpe.AddWholeWords(spec, token_bytes);
  return bpe;
}

absl::Status Bpe::AddBytes(const TokenizerSpec& spec) {
  byte_token_.fill(kNoToken);
  absl::flat_hash_map<std::string_view, uint8_t> spellings;
  for (int byte = 0; byte < 256; ++byte) {
    spellings.emplace(SpellByte(byte), byte);
  }
  for (size_t id = 0; id < spec.tokens.size(); ++id) {
    if (KindOf(spec, id) == TokenKind::kControl) continue;
    const auto found = spellings.find(spec.tokens[id]);
    if (found != spellings.end()) {
      byte_token_[found->second] = static_cast<TokenId>(id);
    }
  }
  // Real vocabularies lack some bytes (SmolLM2: 21 of them, control characters
  // and bytes that UTF-8 does not use), but none lacks the space.
  if (byte_token_[' '] == kNoToken) {
    return absl::InvalidArgumentError(
        "the vocabulary has no token for the space (spelled U+0120): this is "
        "not a byte-level BPE vocabulary; use a model whose tokenizer is of "
        "the gpt2 family");
  }
  return absl::OkStatus();
}

absl::Status Bpe::AddMerges(const TokenizerSpec& spec) {
  absl::flat_hash_map<std::string_view, TokenId> ids;
  ids.reserve(spec.tokens.size());
  for (size_t id = 0; id < spec.tokens.size(); ++id) {
    ids.insert_or_assign(spec.tokens[id], static_cast<TokenId>(id));
  }
  const auto unknown = [&](size_t rank, std::string_view token) {
    return absl::InvalidArgumentError(absl::StrCat(
        "merge ", rank, " ('", Escaped(spec.merges[rank]),
        "') needs the token '", Escaped(token),
        "', which the vocabulary does not have: the model file is damaged or "
        "its merges belong to another vocabulary"));
  };

  std::vector<int> byte_of(spec.tokens.size(), -1);
  for (int byte = 0; byte < 256; ++byte) {
    if (byte_token_[byte] != kNoToken) byte_of[byte_token_[byte]] = byte;
  }

  byte_pairs_.assign(256 * 256, MergeTable::kNoMerge);
  merges_.Reserve(spec.merges.size());
  std::string result;
  for (size_t rank = 0; rank < spec.merges.size(); ++rank) {
    const std::string_view merge = spec.merges[rank];
    const size_t space = merge.find(' ', 1);
    if (space == std::string_view::npos || space + 1 == merge.size()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "merge ", rank, " ('", Escaped(merge),
          "') is not two tokens with a space between: the model file is "
          "damaged"));
    }
    const auto left = ids.find(merge.substr(0, space));
    if (left == ids.end()) return unknown(rank, merge.substr(0, space));
    const auto right = ids.find(merge.substr(space + 1));
    if (right == ids.end()) return unknown(rank, merge.substr(space + 1));
    result.assign(left->first);
    result.append(right->first);
    const auto merged = ids.find(result);
    if (merged == ids.end()) return unknown(rank, result);
    // Text never becomes a control token, whatever the merges say.
    if (KindOf(spec, merged->second) == TokenKind::kControl) continue;
    const MergeTable::Merge value{static_cast<uint32_t>(rank), merged->second};
    merges_.Insert(left->second, right->second, value);
    const int left_byte = byte_of[left->second];
    const int right_byte = byte_of[right->second];
    if (left_byte >= 0 && right_byte >= 0) {
      byte_pairs_[left_byte << 8 | right_byte] = value;
    }
  }
  return absl::OkStatus();
}

void Bpe::AddWholeWords(const TokenizerSpec& spec,
                        const std::vector<std::string_view>& token_bytes) {
  whole_words_.Reserve(spec.tokens.size());
  MergeQueue queue;
  std::vector<TokenId> tokens;
  for (size_t id = 0; id < spec.tokens.size(); ++id) {
    if (KindOf(spec, id) != TokenKind::kNormal || token_bytes[id].empty()) {
      continue;
    }
    // A token may be out of reach of the merges, or spell what another one
    // does. With ignore_merges it counts all the same.
    tokens.clear();
    MergeWord(token_bytes[id], queue, tokens);
    const bool reached =
        tokens.size() == 1 && tokens[0] == static_cast<TokenId>(id);
    if (reached || spec.ignore_merges) {
      whole_words_.Insert(token_bytes[id], static_cast<TokenId>(id));
    }
  }
}

void Bpe::EncodeWord(std::string_view word, std::string_view text,
                     MergeQueue& queue, std::vector<TokenId>& out) const {
  const TokenId whole = whole_words_.Lookup(word, text);
  if (whole != kNoToken) {
    out.push_back(whole);
    return;
  }
  MergeWord(word, queue, out);
}

void Bpe::MergeWord(std::string_view word, MergeQueue& queue,
                    std::vector<TokenId>& out) const {
  if (word.size() <= kShortWord) {
    MergeShortWord(word, out);
    return;
  }
  const size_t first = out.size();
  for (const char byte : word) {
    const TokenId token = byte_token_[static_cast<uint8_t>(byte)];
    if (token != kNoToken) out.push_back(token);
  }
  queue.Merge(merges_, out, first);
}

void Bpe::MergeShortWord(std::string_view word,
                         std::vector<TokenId>& out) const {
  // tokens[i] and tokens[i + 1] have the merge pairs[i].
  TokenId tokens[kShortWord];
  MergeTable::Merge pairs[kShortWord];
  int count = 0;
  uint8_t last = 0;
  for (const char c : word) {
    const auto byte = static_cast<uint8_t>(c);
    if (byte_token_[byte] == kNoToken) continue;
    if (count > 0) pairs[count - 1] = byte_pairs_[last << 8 | byte];
    tokens[count++] = byte_token_[byte];
    last = byte;
  }
  while (count >= 2) {
    int best = 0;
    for (int i = 1; i < count - 1; ++i) {
      if (pairs[i].rank < pairs[best].rank) best = i;
    }
    if (pairs[best].rank == MergeTable::kNoRank) break;
    tokens[best] = pairs[best].result;
    --count;
    for (int i = best + 1; i < count; ++i) tokens[i] = tokens[i + 1];
    for (int i = best + 1; i < count - 1; ++i) pairs[i] = pairs[i + 1];
    if (best > 0)
      pairs[best - 1] = merges_.Lookup(tokens[best - 1], tokens[best]);
    if (best + 1 < count) {
      pairs[best] = merges_.Lookup(tokens[best], tokens[best + 1]);
    }
  }
  out.insert(out.end(), tokens, tokens + count);
}

}  // namespace braid
