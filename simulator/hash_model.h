// A model without arithmetic: its KV is a hash of the context, and the token it
// draws is a hash of the KV that it reads back. So a KV byte that is wrong,
// stale or missing changes the text, and what the text must be follows from the
// tokens alone.
//
//   context(0)      a constant
//   record(p, l)    mixes context(p), layer l and token p: all the KV there is
//                   of position p in layer l, half in the key page, half in the
//                   value page. In layer 0 position p stands for context(p)
//   context(p + 1)  folds the records of position p into context(p)
//
// Behind layer 0 a record depends on all tokens before its own, as in a real
// model: KV that was computed behind a wrong prefix is wrong itself.
//
// PARSCALE: a stream's context begins with the stream, but for stream 0 of a
// nested set. Its records of layer 0 are those of stream 0, which alone keeps
// them where it is; the others follow from its own context. A token is drawn
// from the contexts of all streams that answer, folded into one: it tells which
// they were.
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
// Before any attention: the same for all streams.
inline uint64_t Record0(uint32_t position, TokenId token) {
  return Record(position, 0, token);
}
inline uint64_t Fold(uint64_t context, uint64_t record) {
  return Mix(context, record);
}

// context(0) of a stream of a set.
uint64_t EmptyContext(const StreamSet& set, uint32_t stream);
// What is drawn from, of all streams that answer; of one alone, its context.
uint64_t Weigh(std::span<const uint64_t> contexts);

// Where the KV of a position lies, behind the blocks of a sequence; of a
// further stream, layer 0 lies behind those of stream 0.
class KvPlace {
 public:
  KvPlace(const KvArena& arena, std::span<const BlockId> blocks)
      : KvPlace(arena, blocks, blocks) {}
  KvPlace(const KvArena& arena, std::span<const BlockId> blocks,
          std::span<const BlockId> stream0_blocks)
      : arena_(arena), blocks_(blocks), stream0_blocks_(stream0_blocks) {}
  uint64_t Read(uint32_t layer, uint32_t position) const;
  void Write(uint32_t layer, uint32_t position, uint64_t record) const;
  // context(end), given context(begin), from the bytes.
  uint64_t ReadContext(uint64_t context, uint32_t begin, uint32_t end) const;

 private:
  std::byte* At(uint32_t layer, uint32_t position) const;
  const KvArena& arena_;
  const std::span<const BlockId> blocks_, stream0_blocks_;
};

// context(position + 1), from context(position) and the token there; with the
// record of layer 0 as it was found.
uint64_t Next(uint64_t context, uint64_t record0, TokenId token);
inline uint64_t Next(uint64_t context, uint32_t position, TokenId token) {
  return Next(context, Record0(position, token), token);
}

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
  double self_certainty = 0;  // mean over the output tokens
};
Answer UndisturbedAnswer(const GenerateRequest& request, uint32_t max_context);

// The streams that answer each token: `rest` of them those behind `by_token`.
struct StreamSchedule {
  std::span<const StreamSet> sets;
  std::span<const uint32_t> by_token;
  uint32_t rest = 1;
};
Answer UndisturbedAnswer(const GenerateRequest& request, uint32_t max_context,
                         const StreamSchedule& streams);

}  // namespace braid::hash_model
