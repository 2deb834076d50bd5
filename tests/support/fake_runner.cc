#include "tests/support/fake_runner.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/hash.h"

namespace braid {
namespace {

constexpr uint32_t kLayers = 4;

uint64_t Mix(std::initializer_list<uint64_t> values) {
  return Hash64Of(std::span<const uint64_t>(values.begin(), values.size()));
}

// Of the streams without a prefix.
constexpr uint64_t kPlain = 0;

uint64_t Flavour(uint32_t set, uint32_t stream, bool elastic) {
  if (set == 0 || (stream == 0 && elastic)) return kPlain;
  return Mix({set, stream});
}

uint64_t Record(uint32_t layer, uint32_t position, TokenId token,
                uint64_t flavour) {
  // A prefix enters with layer 0's attention, behind its KV.
  if (layer == 0) flavour = kPlain;
  return Mix({layer, position, static_cast<uint64_t>(token), flavour});
}

std::byte* PlaceOf(const KvArena& arena, std::span<const BlockId> blocks,
                   uint32_t layer, uint32_t position) {
  const KvLayout& layout = arena.layout();
  const BlockId block = blocks[position / layout.block_tokens];
  return arena.block(block) + layout.KeyPage(layer, 0) +
         (position % layout.block_tokens) * sizeof(uint64_t);
}

// Folds one more record into the hash of a context.
uint64_t Fold(uint64_t context, uint64_t record) {
  return Mix({context, record});
}

SampledToken Draw(uint64_t context, const SamplingParams& sampling,
                  size_t output_size,
                  std::span<const TokenId> end_of_generation,
                  int32_t vocabulary) {
  const uint64_t h = Mix({context, sampling.seed});
  SampledToken drawn;
  drawn.token = static_cast<TokenId>(h % static_cast<uint64_t>(vocabulary));
  const bool may_end = static_cast<int64_t>(output_size) >= sampling.min_tokens;
  while (!may_end && std::ranges::count(end_of_generation, drawn.token) > 0) {
    drawn.token = (drawn.token + 1) % vocabulary;
  }
  if (sampling.top_logprobs >= 0) {
    drawn.logprob = -static_cast<float>(h >> 40) / 1e6f;
    for (int32_t i = 0; i < sampling.top_logprobs; ++i) {
      drawn.top.push_back({static_cast<TokenId>(i), -static_cast<float>(i)});
    }
  }
  if (sampling.self_certainty) {
    drawn.self_certainty = static_cast<float>(Mix({h, 2}) >> 40) / 1e6f;
  }
  return drawn;
}

uint64_t ContextOf(std::span<const TokenId> tokens, uint64_t flavour) {
  uint64_t context = 0;
  for (uint32_t i = 0; i < tokens.size(); ++i) {
    for (uint32_t layer = 0; layer < kLayers; ++layer) {
      context = Fold(context, Record(layer, i, tokens[i], flavour));
    }
  }
  return context;
}

// One stream's context more that answers with those before it.
uint64_t Join(uint64_t gang, uint64_t context) {
  return Mix({gang, context, 1});
}

uint64_t ContextOf(std::span<const TokenId> tokens, const FakeGang& gang) {
  const uint64_t first =
      gang.streams == 1 ? kPlain : Flavour(gang.set, 0, gang.elastic);
  uint64_t context = ContextOf(tokens, first);
  for (uint32_t stream = 1; stream < gang.streams; ++stream) {
    context = Join(context,
                   ContextOf(tokens, Flavour(gang.set, stream, gang.elastic)));
  }
  return context;
}

SampledToken ScoreFrom(uint64_t context, TokenId target, int32_t alternatives) {
  SampledToken score{.token = target};
  score.logprob =
      -static_cast<float>(Mix({context, static_cast<uint64_t>(target)}) >> 40) /
      1e6f;
  for (int32_t i = 0; i < alternatives; ++i) {
    score.top.push_back({static_cast<TokenId>(i), -static_cast<float>(i)});
  }
  return score;
}

}  // namespace

void FakeCores::Take(DeviceId device) {
  std::lock_guard lock(mutex_);
  BRAID_CHECK_MSG(busy_.insert(device).second, "cores are used twice");
}

void FakeCores::GiveBack(DeviceId device) {
  std::lock_guard lock(mutex_);
  BRAID_CHECK(busy_.erase(device) == 1);
}

KvLayout FakeKvLayout(uint32_t block_tokens) {
  return {.layers = kLayers,
          .kv_heads = 1,
          .head_dim = 4,
          .block_tokens = block_tokens,
          .dtype = KvDType::kF16};
}

FakeRunner::FakeRunner(FakeRunnerOptions options)
    : options_(std::move(options)) {
  if (options_.thread) thread_ = std::thread([this] { RunThread(); });
}

FakeRunner::~FakeRunner() {
  if (!options_.thread) return;
  {
    std::lock_guard lock(mutex_);
    closing_ = true;
  }
  launched_.notify_one();
  thread_.join();
}

void FakeRunner::Launch(const ForwardBatch& batch, StepCallbacks callbacks) {
  BRAID_CHECK_MSG(batch_ == nullptr, "a step is in flight");
  Check(batch);
  options_.cores->Take(options_.id);
  for (DeviceId lent : batch.lent) options_.cores->Take(lent);
  batch_ = &batch;
  callbacks_ = std::move(callbacks);
  layers_done_ = 0;
  shed_wanted_ = shed_ = false;
  for (const SequenceRows& rows : batch.sequences) Spoil(rows);
  if (!options_.thread) return;
  {
    std::lock_guard lock(mutex_);
    work_ = true;
  }
  launched_.notify_one();
}

void FakeRunner::Check(const ForwardBatch& batch) const {
  size_t rows = 0;
  for (size_t i = 0; i < batch.sequences.size(); ++i) {
    const SequenceRows& sequence = batch.sequences[i];
    const size_t end = sequence.start + sequence.tokens.size();
    rows += sequence.tokens.size();
    BRAID_CHECK(sequence.blocks.size() == kv_layout().BlocksFor(end));
    BRAID_CHECK(sequence.set <= options_.stream_sets.size());
    const uint32_t streams =
        sequence.set == 0 ? 1 : options_.stream_sets[sequence.set - 1].streams;
    BRAID_CHECK(sequence.stream < streams && sequence.gang <= streams);
    if (sequence.stream > 0) {
      BRAID_CHECK(!sequence.shares_layer0() ||
                  sequence.stream0_blocks.size() >= sequence.blocks.size());
      BRAID_CHECK(sequence.gang == 1 && sequence.sampling == nullptr &&
                  sequence.score_top_logprobs < 0);
      continue;
    }
    BRAID_CHECK(i + sequence.gang <= batch.sequences.size());
    for (uint32_t stream = 1; stream < sequence.gang; ++stream) {
      const SequenceRows& other = batch.sequences[i + stream];
      BRAID_CHECK(other.set == sequence.set && other.stream == stream);
      BRAID_CHECK(other.start + other.tokens.size() == end);
      BRAID_CHECK(sequence.score_top_logprobs < 0 ||
                  other.start == sequence.start);
    }
  }
  BRAID_CHECK(rows >= 1 && rows <= options_.max_rows);
}

uint64_t FakeRunner::FlavourOf(const SequenceRows& rows) const {
  const bool elastic =
      rows.set == 0 || options_.stream_sets[rows.set - 1].elastic;
  return Flavour(rows.set, rows.stream, elastic);
}

void FakeRunner::Spoil(const SequenceRows& rows) {
  for (uint32_t i = 0; i < rows.tokens.size(); ++i) {
    for (uint32_t layer = 0; layer < kLayers; ++layer) {
      std::memset(PlaceOf(*options_.arena, rows.blocks, layer, rows.start + i),
                  0xee, sizeof(uint64_t));
    }
  }
}

void FakeRunner::Advance(uint32_t layers) {
  BRAID_CHECK(running() && layers <= kLayers);
  for (; layers_done_ < layers; ++layers_done_) {
    for (const SequenceRows& rows : batch_->sequences) {
      if (layers_done_ == 0 && rows.shares_layer0()) continue;
      const uint64_t flavour = FlavourOf(rows);
      for (uint32_t i = 0; i < rows.tokens.size(); ++i) {
        const uint32_t position = rows.start + i;
        const uint64_t record =
            Record(layers_done_, position, rows.tokens[i], flavour);
        std::memcpy(
            PlaceOf(*options_.arena, rows.blocks, layers_done_, position),
            &record, sizeof(record));
      }
    }
    const uint32_t done = layers_done_ + 1;
    if (batch_->progress_layers > 0 &&
        (done % batch_->progress_layers == 0 || done == kLayers)) {
      callbacks_.on_progress(done);
    }
  }
}

void FakeRunner::Finish(absl::Status status) {
  BRAID_CHECK(running());
  ForwardResult result{.status = std::move(status)};
  if (result.status.ok()) {
    Advance(kLayers);
    const bool shed = shed_wanted_;
    for (const SequenceRows& rows : batch_->sequences) {
      if (!rows.may_shed || !shed) continue;
      Spoil(rows);
      shed_ = true;
    }
    for (size_t i = 0; i < batch_->sequences.size(); ++i) {
      result.sequences.push_back(IsShed(i) ? SequenceResult() : Evaluate(i));
    }
    result.shed = shed_;
  }
  options_.cores->GiveBack(options_.id);
  for (DeviceId lent : batch_->lent) options_.cores->GiveBack(lent);
  batch_ = nullptr;
  const StepCallbacks callbacks = std::move(callbacks_);
  callbacks.on_done(std::move(result));
}

// What attention would see: every record of positions [0, end), in all layers;
// that of layer 0 where stream 0 has it, if that is here.
uint64_t FakeRunner::ReadContext(const SequenceRows& rows, uint32_t end) const {
  uint64_t context = 0;
  for (uint32_t position = 0; position < end; ++position) {
    for (uint32_t layer = 0; layer < kLayers; ++layer) {
      uint64_t record;
      const bool shared = layer == 0 && rows.shares_layer0();
      std::memcpy(
          &record,
          PlaceOf(*options_.arena, shared ? rows.stream0_blocks : rows.blocks,
                  layer, position),
          sizeof(record));
      context = Fold(context, record);
    }
  }
  return context;
}

uint64_t FakeRunner::ReadGang(size_t index, uint32_t end) const {
  uint32_t gang = batch_->sequences[index].gang;
  if (gang > 1 && IsShed(index + 1)) gang = 1;
  uint64_t context = ReadContext(batch_->sequences[index], end);
  for (uint32_t stream = 1; stream < gang; ++stream) {
    context =
        Join(context, ReadContext(batch_->sequences[index + stream], end));
  }
  return context;
}

SequenceResult FakeRunner::Evaluate(size_t index) const {
  const SequenceRows& rows = batch_->sequences[index];
  SequenceResult result;
  const auto end = static_cast<uint32_t>(rows.start + rows.tokens.size());
  if (rows.score_top_logprobs >= 0) {
    for (uint32_t i = 0; i < rows.score_targets.size(); ++i) {
      result.scores.push_back(ScoreFrom(ReadGang(index, rows.start + i + 1),
                                        rows.score_targets[i],
                                        rows.score_top_logprobs));
    }
  }
  if (rows.sampling != nullptr) {
    const SamplingContext& context = rows.context;
    BRAID_CHECK(context.position == end);
    BRAID_CHECK(context.prompt.size() + context.output.size() == end);
    result.token =
        Draw(ReadGang(index, end), *rows.sampling, context.output.size(),
             context.end_of_generation, options_.vocabulary);
  }
  return result;
}

SampledToken FakeRunner::Next(std::span<const TokenId> prompt,
                              std::span<const TokenId> output,
                              const SamplingParams& sampling,
                              std::span<const TokenId> end_of_generation,
                              int32_t vocabulary, const FakeGang& gang) {
  std::vector<TokenId> tokens(prompt.begin(), prompt.end());
  tokens.insert(tokens.end(), output.begin(), output.end());
  return Draw(ContextOf(tokens, gang), sampling, output.size(),
              end_of_generation, vocabulary);
}

SampledToken FakeRunner::ScoreOf(std::span<const TokenId> context,
                                 TokenId target, int32_t alternatives,
                                 const FakeGang& gang) {
  return ScoreFrom(ContextOf(context, gang), target, alternatives);
}

void FakeRunner::RunThread() {
  while (true) {
    {
      std::unique_lock lock(mutex_);
      launched_.wait(lock, [&] { return work_ || closing_; });
      if (!work_) return;
      work_ = false;
    }
    Finish();
  }
}

}  // namespace braid
