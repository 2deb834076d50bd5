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
    NormalizeHeads(heads, me);
    // Heads with streams stand behind those without.
    if (heads.back().streams > 1) MixStreams(heads, me);
    const WeightRange share = Divide(model_.output.rows, me);
    if (share.first < share.end) {
      kernels_.matmul(model_.output, buffers_[0].hidden, 0,
                      static_cast<int32_t>(heads.size()), share.first,
                      share.end, logits_, logits_stride_);
    }
    Mark(Stage::kHead, me);
    Barrier(me);
    SampleHeads(heads, me);
    Mark(Stage::kSample, me);
    // The next heads overwrite the logits.
    if (first + heads.size() < all.size()) Barrier(me);
  }
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
