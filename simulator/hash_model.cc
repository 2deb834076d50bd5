#include "simulator/hash_model.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/match.h"
#include "base/check.h"

namespace braid::hash_model {
namespace {

// The first is a space, in GPT-2's spelling, without which there is no
// byte-level vocabulary.
std::vector<std::string> Words() {
  std::vector<std::string> words = {"\u0120"};
  for (char c = 'a'; c <= 'h'; ++c) words.emplace_back(1, c);
  for (char c = 'a'; c <= 'h'; ++c) {
    for (char d = 'a'; d <= 'c'; ++d) words.push_back({c, d});
  }
  words.push_back("<end>");
  return words;
}

TokenId EndToken() { return Vocabulary().vocabulary() - 1; }

float Logprob(uint64_t hash) { return -static_cast<float>(hash >> 40) / 1e6f; }

void AddAlternatives(int32_t n, SampledToken& token) {
  for (int32_t i = 0; i < n; ++i) {
    token.top.push_back({static_cast<TokenId>(i), -static_cast<float>(i)});
  }
}

// Adds a word one character after the other. True: a stop string is complete,
// the longest of those that end there.
bool AddText(std::string_view word, bool watched_now,
             const GenerateRequest& request, std::string& watched,
             Answer& answer) {
  for (char c : word) {
    answer.text += c;
    if (!watched_now) continue;
    watched += c;
    for (const std::string& stop : request.stop) {
      if (absl::EndsWith(watched, stop) &&
          stop.size() > answer.matched_stop.size()) {
        answer.matched_stop = stop;
      }
    }
    if (!answer.matched_stop.empty()) return true;
  }
  return false;
}

// The contexts of a request under every set, stream by stream, and under none.
class EveryContext {
 public:
  explicit EveryContext(std::span<const StreamSet> sets) : sets_(sets) {
    for (const StreamSet& set : sets) {
      std::vector<uint64_t>& contexts = by_set_.emplace_back();
      for (uint32_t stream = 0; stream < set.streams; ++stream) {
        contexts.push_back(EmptyContext(set, stream));
      }
    }
  }

  void Push(TokenId token) {
    const uint64_t record0 = Record0(position_++, token);
    plain_ = Next(plain_, record0, token);
    for (std::vector<uint64_t>& contexts : by_set_) {
      for (uint64_t& context : contexts) {
        context = Next(context, record0, token);
      }
    }
  }
  // Of that many streams: only one set has a gang of them.
  uint64_t Of(uint32_t streams) const {
    for (size_t i = 0; streams > 1 && i < sets_.size(); ++i) {
      if (sets_[i].elastic || sets_[i].streams == streams) {
        return Weigh(std::span(by_set_[i]).first(streams));
      }
    }
    return plain_;
  }

 private:
  const std::span<const StreamSet> sets_;
  uint32_t position_ = 0;
  uint64_t plain_ = kEmptyContext;
  std::vector<std::vector<uint64_t>> by_set_;
};

}  // namespace

KvLayout Layout(uint32_t block_tokens) {
  // A page has 4 bytes per token: half a record.
  return {.layers = kLayers,
          .kv_heads = 1,
          .head_dim = 2,
          .block_tokens = block_tokens,
          .dtype = KvDType::kF16};
}

const Tokenizer& Vocabulary() {
  static const Tokenizer* const tokenizer = [] {
    TokenizerSpec spec;
    spec.tokens = Words();
    spec.kinds.assign(spec.tokens.size(), TokenKind::kNormal);
    spec.kinds.back() = TokenKind::kControl;
    spec.end_of_generation = {static_cast<TokenId>(spec.tokens.size()) - 1};
    auto created = Tokenizer::Create(std::move(spec));
    BRAID_CHECK_MSG(created.ok(), created.status().ToString());
    return created->release();
  }();
  return *tokenizer;
}

std::byte* KvPlace::At(uint32_t layer, uint32_t position) const {
  const KvLayout& layout = arena_.layout();
  const std::span<const BlockId> blocks =
      layer == 0 ? stream0_blocks_ : blocks_;
  return arena_.block(blocks[position / layout.block_tokens]) +
         layout.KeyPage(layer, 0) + (position % layout.block_tokens) * 4;
}

uint64_t KvPlace::Read(uint32_t layer, uint32_t position) const {
  const std::byte* at = At(layer, position);
  uint32_t key, value;
  std::memcpy(&key, at, 4);
  std::memcpy(&value, at + arena_.layout().page_bytes(), 4);
  return uint64_t{value} << 32 | key;
}

void KvPlace::Write(uint32_t layer, uint32_t position, uint64_t record) const {
  std::byte* at = At(layer, position);
  const auto key = static_cast<uint32_t>(record);
  const auto value = static_cast<uint32_t>(record >> 32);
  std::memcpy(at, &key, 4);
  std::memcpy(at + arena_.layout().page_bytes(), &value, 4);
}

uint64_t KvPlace::ReadContext(uint64_t context, uint32_t begin,
                              uint32_t end) const {
  for (uint32_t position = begin; position < end; ++position) {
    for (uint32_t layer = 0; layer < kLayers; ++layer) {
      context = Fold(context, Read(layer, position));
    }
  }
  return context;
}

uint64_t Next(uint64_t context, uint64_t record0, TokenId token) {
  uint64_t next = Fold(context, record0);
  for (uint32_t layer = 1; layer < kLayers; ++layer) {
    next = Fold(next, Record(context, layer, token));
  }
  return next;
}

uint64_t EmptyContext(const StreamSet& set, uint32_t stream) {
  return set.elastic && stream == 0
             ? kEmptyContext
             : Mix(kEmptyContext + stream, set.fingerprint);
}

uint64_t Weigh(std::span<const uint64_t> contexts) {
  uint64_t weighed = contexts[0];
  for (size_t i = 1; i < contexts.size(); ++i) {
    weighed = Mix(weighed + i, contexts[i]);
  }
  return weighed;
}

SampledToken Draw(uint64_t context, const SamplingParams& sampling,
                  size_t output_size) {
  const uint64_t hash = Mix(context, sampling.seed);
  const auto words = static_cast<uint64_t>(Vocabulary().vocabulary());
  SampledToken drawn;
  drawn.token = static_cast<TokenId>(hash % words);
  if (drawn.token == EndToken() &&
      static_cast<int64_t>(output_size) < sampling.min_tokens) {
    drawn.token = 0;
  }
  if (sampling.top_logprobs >= 0) {
    drawn.logprob = Logprob(hash);
    AddAlternatives(sampling.top_logprobs, drawn);
  }
  if (sampling.self_certainty) {
    drawn.self_certainty = static_cast<float>(Mix(hash, 2) >> 40) / 1e6f;
  }
  return drawn;
}

SampledToken Score(uint64_t context, TokenId target, int32_t alternatives) {
  SampledToken score{.token = target};
  score.logprob = Logprob(Mix(context, static_cast<uint64_t>(target) + 1));
  AddAlternatives(alternatives, score);
  return score;
}

Answer UndisturbedAnswer(const GenerateRequest& request, uint32_t max_context) {
  return UndisturbedAnswer(request, max_context, StreamSchedule());
}

Answer UndisturbedAnswer(const GenerateRequest& request, uint32_t max_context,
                         const StreamSchedule& streams) {
  Answer answer;
  SamplingParams sampling = request.sampling;
  sampling.self_certainty = request.best_of > 1;
  EveryContext contexts(streams.sets);
  const auto answering = [&](size_t token) {
    return token < streams.by_token.size() ? streams.by_token[token]
                                           : streams.rest;
  };
  for (size_t i = 0; i < request.prompt.size(); ++i) {
    contexts.Push(request.prompt[i]);
    if (request.prompt_logprobs >= 0 && i + 1 < request.prompt.size()) {
      answer.scores.push_back(Score(contexts.Of(answering(0)),
                                    request.prompt[i + 1],
                                    request.prompt_logprobs));
    }
  }
  const uint32_t most =
      std::min(request.max_tokens,
               max_context - static_cast<uint32_t>(request.prompt.size()));
  std::string watched;  // Text before min_tokens is no part of a stop string.
  while (answer.output_tokens < most) {
    const SampledToken drawn =
        Draw(contexts.Of(answering(answer.output_tokens)), sampling,
             answer.output_tokens);
    const TokenId token = drawn.token;
    contexts.Push(token);
    ++answer.output_tokens;
    answer.self_certainty +=
        (drawn.self_certainty - answer.self_certainty) / answer.output_tokens;
    if (token == EndToken() && !request.sampling.ignore_eos) {
      answer.reason = FinishReason::kStop;
      return answer;
    }
    answer.ids.push_back(token);
    const std::string_view word = Vocabulary().TokenBytes(token);
    const bool watched_now = static_cast<int64_t>(answer.output_tokens) >=
                             request.sampling.min_tokens;
    if (AddText(word, watched_now, request, watched, answer)) {
      if (!request.include_stop_in_text) {
        answer.text.resize(answer.text.size() - answer.matched_stop.size());
      }
      answer.reason = FinishReason::kStop;
      return answer;
    }
  }
  return answer;
}

}  // namespace braid::hash_model
