// Behind the last layer: streams are mixed, the output head makes logits, and
// tokens are drawn and scored.
#include <algorithm>

#include "cpu/forward.h"

namespace braid::cpu {

// Some heads at a time, split by weights whatever the step.
void Forward::HeadAndSample(Worker& me) {
  if (step_.heads.empty()) return;
  Barrier(me);
  const std::span<const HeadRow> all = step_.heads;
  for (size_t first = 0; first < all.size(); first += kHeadRows) {
    const std::span<const HeadRow> heads =
        all.subspan(first, std::min<size_t>(kHeadRows, all.size() - first));
    // Published by the barrier behind the norms.
    if (me.index == 0) next_logits_.store(0, std::memory_order_relaxed);
    NormalizeHeads(heads, me);
    // Heads with streams stand behind those without.
    if (heads.back().streams > 1) MixStreams(heads, me);
    ProjectHeads(static_cast<int32_t>(heads.size()), me);
    Barrier(me);
    SampleHeads(heads, me);
    Mark(Stage::kSample, me);
    // The next heads overwrite the logits.
    if (first + heads.size() < all.size()) Barrier(me);
  }
}

// The largest matrix by far: whoever is free takes its next rows, so that no
// thread waits for one whose core or memory is slower.
void Forward::ProjectHeads(int32_t heads, Worker& me) {
  const int64_t rows = model_.output.rows;
  for (;;) {
    const int64_t first =
        kLogitsTurn * next_logits_.fetch_add(1, std::memory_order_relaxed);
    if (first >= rows) break;
    kernels_.matmul(model_.output, buffers_[0].hidden, 0, heads, first,
                    std::min(first + kLogitsTurn, rows), logits_,
                    logits_stride_);
  }
  Mark(Stage::kHead, me);
}

void Forward::NormalizeHeads(std::span<const HeadRow> heads, Worker& me) {
  const int32_t n = model_.config.hidden;
  const Activations& x = buffers_[0].hidden;
  int32_t turn = 0;
  for (int32_t i = 0; i < static_cast<int32_t>(heads.size()); ++i) {
    for (int32_t s = 0; s < heads[i].streams; ++s) {
      if (turn++ % threads_ != me.index) continue;
      const bool mixed = heads[i].streams > 1;
      floats_.rms_norm(hidden_ + int64_t{step_.RowOf(heads[i], s)} * n,
                       model_.output_norm.data(), n, model_.config.rms_epsilon,
                       mixed ? mix_.row(i, s) : x.values + int64_t{i} * n);
      if (!mixed) Round(x, {&model_.output}, {i, i + 1});
    }
  }
  Mark(Stage::kNorm, me);
  Barrier(me);
}

void Forward::MixStreams(std::span<const HeadRow> heads, Worker& me) {
  const int32_t n = model_.config.hidden;
  const WeightRange share = Divide(n, me);
  mix_.Project(heads, share.first, share.end);
  Mark(Stage::kMix, me);
  Barrier(me);
  const Activations& x = buffers_[0].hidden;
  for (int32_t i = 0; i < static_cast<int32_t>(heads.size()); ++i) {
    if (heads[i].streams == 1 || i % threads_ != me.index) continue;
    mix_.Weigh(heads[i], i, x.values + int64_t{i} * n);
    Round(x, {&model_.output}, {i, i + 1});
  }
  Mark(Stage::kMix, me);
  Barrier(me);
}

void Forward::SampleHeads(std::span<const HeadRow> heads, Worker& me) {
  for (size_t i = me.index; i < heads.size(); i += threads_) {
    const HeadRow& head = heads[i];
    const SequenceRows& sequence = batch_->sequences[head.sequence];
    SequenceResult& result = result_.sequences[head.sequence];
    const std::span<float> logits(logits_ + i * logits_stride_,
                                  model_.config.vocabulary);
    // First, for Sample leaves nothing of the logits.
    if (head.score >= 0) {
      result.scores[head.score] =
          Score(logits, sequence.score_targets[head.score],
                sequence.score_top_logprobs, me.sampling);
    }
    if (head.sample) {
      result.token =
          Sample(logits, *sequence.sampling, sequence.context, me.sampling);
    }
  }
}

}  // namespace braid::cpu
