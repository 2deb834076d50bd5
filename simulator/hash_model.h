// A model without arithmetic: its KV is a hash of the context, and the token it
// draws is a hash of the KV that it reads back. So a KV byte that is wrong,
// stale or missing changes the text, and what the text must be follows from the
// tokens alone.
//
//   context(0)      a constant
//   record(p, l)    mixes context(p), layer l and token p: all the KV there is
//                   of position p in layer l, half in the key page, half in the
//                   value page
//   context(p + 1)  folds the records of position p into context(p)
//
// A record depends on all tokens before its own, as in a real model: KV that
// was computed behind a wrong prefix is wrong itself.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/ids.h"
#include "engine/engine.h"
#include "engine/token_sink.h"
#include "kvcache/kv_arena.h"
#include "model/sampling.h"
#include "model/tokenizer.h"

namespace braid::hash_model {

inline constexpr uint32_t kLayers = 4;
inline constexpr uint64_t kEmptyContext = 0x243F6A8885A308D3;

KvLayout Layout(uint32_t block_tokens);

// A space, letters and pairs of letters; the last token ends a generation.
const Tokenizer& Vocabulary();

// 64 x 64 -> 128 bits, folded.
inline uint64_t Mix(uint64_t a, uint64_t b) {
  const auto product = static_cast<unsigned __int128>(a ^ 0x9E3779B97F4A7C15) *
                       static_cast<unsigned __int128>(b ^ 0xBF58476D1CE4E5B9);
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

inline uint64_t Record(uint64_t context, uint32_t layer, TokenId token) {
  return Mix(context + layer, static_cast<uint64_t>(token));
}
inline uint64_t Fold(uint64_t context, uint64_t record) {
  return Mix(context, record);
}

// Where the KV of a position lies, behind the blocks of a sequence.
class KvPlace {
 public:
  KvPlace(const KvArena& arena, std::span<const BlockId> blocks)
      : arena_(arena), blocks_(blocks) {}
  uint64_t Read(uint32_t layer, uint32_t position) const;
  void Write(uint32_t layer, uint32_t position, uint64_t record) const;
  // context(end), given context(begin), from the bytes.
  uint64_t ReadContext(uint64_t context, uint32_t begin, uint32_t end) const;

 private:
  std::byte* At(uint32_t layer, uint32_t position) const;
  const KvArena& arena_;
  const std::span<const BlockId> blocks_;
};

// context(p + 1), from context(p) and the token at p.
uint64_t Next(uint64_t context, TokenId token);

// The token drawn after `context` when `output_size` were drawn before.
SampledToken Draw(uint64_t context, const SamplingParams& sampling,
                  size_t output_size);
// The logprob of `target` after `context`.
SampledToken Score(uint64_t context, TokenId target, int32_t alternatives);

// What a request must be told when nothing disturbs it.
struct Answer {
  std::vector<TokenId> ids;  // as delivered
  std::string text;
  FinishReason reason = FinishReason::kLength;
  std::string matched_stop;
  uint32_t output_tokens = 0;
  std::vector<SampledToken> scores;
};
Answer UndisturbedAnswer(const GenerateRequest& request, uint32_t max_context);

}  // namespace braid::hash_model
