#include "simulator/simulated_runner.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "simulator/hash_model.h"

namespace braid {
namespace {

// A stream's row has no output head.
constexpr double kStreamRow = 0.7;

Duration ToDuration(double seconds) {
  return std::chrono::duration_cast<Duration>(
      std::chrono::duration<double>(seconds));
}

}  // namespace

SimulatedRunner::SimulatedRunner(SimulatedRunnerOptions options, World& world)
    : options_(std::move(options)), world_(world) {}

void SimulatedRunner::Launch(const ForwardBatch& batch,
                             StepCallbacks callbacks) {
  BRAID_CHECK_MSG(batch_ == nullptr, "a step is in flight");
  size_t rows = 0;
  for (const SequenceRows& sequence : batch.sequences) {
    rows += sequence.tokens.size();
    BRAID_CHECK(sequence.blocks.size() ==
                kv_layout().BlocksFor(sequence.start + sequence.tokens.size()));
  }
  BRAID_CHECK(rows >= 1 && rows <= options_.max_rows);
  const auto take = [&](DeviceId id) {
    BRAID_CHECK_MSG(options_.cores->insert(id).second, "cores are used twice");
  };
  take(options_.id);
  for (DeviceId lent : batch.lent) take(lent);
  batch_ = &batch;
  callbacks_ = std::move(callbacks);
  layers_done_ = 0;
  shed_ = evaluated_ = false;
  step_ = std::make_unique<EventScope>(world_.queue);
  Log(LogKind::kLaunch, static_cast<int64_t>(rows));
  if (down_ || !told_) {
    Fail(absl::UnavailableError("the device is lost"),
         std::chrono::microseconds(100));
    return;
  }
  Start();
}

void SimulatedRunner::ShedStreams() {
  if (batch_ == nullptr || evaluated_) return;
  for (const SequenceRows& sequence : batch_->sequences) {
    shed_ |= sequence.may_shed;
  }
}

hash_model::KvPlace SimulatedRunner::PlaceOf(
    const SequenceRows& sequence) const {
  return {*options_.arena, sequence.blocks,
          sequence.shares_layer0() ? sequence.stream0_blocks : sequence.blocks};
}

uint64_t SimulatedRunner::EmptyContextOf(const SequenceRows& sequence) const {
  if (sequence.set == 0) return hash_model::kEmptyContext;
  return hash_model::EmptyContext(options_.stream_sets[sequence.set - 1],
                                  sequence.stream);
}

void SimulatedRunner::StartRows(size_t index) {
  const SequenceRows& sequence = batch_->sequences[index];
  const hash_model::KvPlace place = PlaceOf(sequence);
  Rows& rows = rows_[index];
  uint64_t context =
      place.ReadContext(EmptyContextOf(sequence), 0, sequence.start);
  rows.context_before = context;
  rows.contexts.clear();
  rows.records0.clear();
  // Of layer 0 there is only stream 0's: it is here, or in this step; unless
  // the stream is here without it.
  const size_t own = sequence.shares_layer0() ? index - sequence.stream : index;
  const SequenceRows& first = batch_->sequences[own];
  for (uint32_t k = 0; k < sequence.tokens.size(); ++k) {
    const uint32_t position = sequence.start + k;
    const TokenId token = sequence.tokens[k];
    rows.contexts.push_back(context);
    rows.records0.push_back(own == index ? hash_model::Record0(position, token)
                            : position < first.start
                                ? place.Read(0, position)
                                : rows_[own].records0[position - first.start]);
    context = hash_model::Next(context, rows.records0.back(), token);
    for (uint32_t layer = sequence.shares_layer0(); layer < hash_model::kLayers;
         ++layer) {
      place.Write(layer, position, ~uint64_t{0});
    }
  }
  rows.contexts.push_back(context);
}

// What SequenceRows says of gangs.
void SimulatedRunner::CheckGang(size_t index) const {
  const SequenceRows& first = batch_->sequences[index];
  const size_t end = first.start + first.tokens.size();
  for (uint32_t s = 1; s < first.gang; ++s) {
    const size_t other = index + s;
    const bool there = other < batch_->sequences.size() &&
                       batch_->sequences[other].stream == s &&
                       batch_->sequences[other].set == first.set;
    if (there && batch_->sequences[other].start +
                         batch_->sequences[other].tokens.size() ==
                     end) {
      continue;
    }
    world_.log.Violate(absl::StrCat(
        "node ", options_.node, " device ", options_.id.value(), ": stream ", s,
        " of a gang ", there ? "lags behind" : "is missing"));
    BRAID_CHECK_MSG(there, "nothing can be computed");
  }
}

void SimulatedRunner::Start() {
  rows_.resize(batch_->sequences.size());
  for (size_t i = 0; i < rows_.size(); ++i) {
    CheckGang(i);
    StartRows(i);
  }
  const double seconds = StepSeconds();
  if (world_.faults.Happens(FaultKind::kStepFailure, 0.01)) {
    Fail(absl::InternalError("the step failed"), ToDuration(seconds / 2));
    return;
  }
  const uint32_t group = batch_->progress_layers;
  if (group > 0) {
    for (uint32_t layers = group; layers < hash_model::kLayers;
         layers += group) {
      step_->After(ToDuration(seconds * layers / hash_model::kLayers),
                   [this, layers] { Progress(layers); });
    }
  }
  step_->After(ToDuration(seconds), [this] { Finish(); });
}

double SimulatedRunner::StepSeconds() const {
  StepShape shape;
  for (const SequenceRows& rows : batch_->sequences) {
    if (rows.stream > 0) {
      shape.AddStreamRows(rows.start,
                          static_cast<uint32_t>(rows.tokens.size()));
    } else if (rows.tokens.size() == 1) {
      shape.AddDecodeRow(rows.start + 1);
    } else {
      shape.AddChunk(rows.start, static_cast<uint32_t>(rows.tokens.size()));
    }
  }
  const StepTimeModel::Prior& time = options_.time;
  const double seconds =
      time.base + shape.chunk_tokens * time.chunk_token +
      static_cast<double>(shape.chunk_attended) * time.chunk_attended +
      shape.decode_rows * time.decode_row +
      shape.stream_rows * kStreamRow * time.decode_row +
      static_cast<double>(shape.decode_attended) * time.decode_attended;
  const double jitter = 1 + options_.jitter * (2 * world_.rng.Uniform() - 1);
  const auto cores = 1 + static_cast<double>(batch_->lent.size());
  return seconds * jitter * slow_ / cores;
}

void SimulatedRunner::WriteLayers(uint32_t end) {
  for (; layers_done_ < end; ++layers_done_) {
    for (size_t i = 0; i < rows_.size(); ++i) {
      const SequenceRows& sequence = batch_->sequences[i];
      if (layers_done_ == 0 && sequence.shares_layer0()) continue;
      if (IsShed(i)) continue;
      const hash_model::KvPlace place = PlaceOf(sequence);
      for (uint32_t k = 0; k < sequence.tokens.size(); ++k) {
        const TokenId token = sequence.tokens[k];
        place.Write(layers_done_, sequence.start + k,
                    layers_done_ == 0
                        ? rows_[i].records0[k]
                        : hash_model::Record(rows_[i].contexts[k], layers_done_,
                                             token));
      }
    }
  }
}

void SimulatedRunner::Progress(uint32_t layers) {
  WriteLayers(layers);
  Log(LogKind::kProgress, layers);
  callbacks_.on_progress(layers);
  if (world_.faults.Happens(FaultKind::kDuplicateCompletion, 0.1)) {
    callbacks_.on_progress(layers);
  }
}

void SimulatedRunner::Finish() {
  WriteLayers(hash_model::kLayers);
  if (batch_->progress_layers > 0) callbacks_.on_progress(hash_model::kLayers);
  ForwardResult result;
  for (size_t i = 0; i < rows_.size(); ++i) {
    result.sequences.push_back(IsShed(i) ? SequenceResult() : Evaluate(i));
  }
  result.shed = shed_;
  evaluated_ = true;
  if (world_.faults.Happens(FaultKind::kLateCompletion, 0.02)) {
    const auto late = std::chrono::microseconds(
        1 + world_.faults.Below(FaultKind::kLateCompletion, 50'000));
    step_->After(late, [this, result = std::move(result)]() mutable {
      End(std::move(result));
    });
    return;
  }
  End(std::move(result));
}

// The context behind the sequence, from the bytes.
uint64_t SimulatedRunner::ReadBack(const SequenceRows& rows, const Rows& read) {
  const hash_model::KvPlace place = PlaceOf(rows);
  const auto end = static_cast<uint32_t>(rows.start + rows.tokens.size());
  const uint64_t before =
      place.ReadContext(EmptyContextOf(rows), 0, rows.start);
  if (before != read.context_before) {
    world_.log.Violate(absl::StrCat(
        "node ", options_.node, " device ", options_.id.value(),
        ": KV that a step was reading has changed, positions 0 to ",
        rows.start));
  }
  const uint64_t context = place.ReadContext(before, rows.start, end);
  if (context != read.contexts.back()) {
    world_.log.Violate(
        absl::StrCat("node ", options_.node, " device ", options_.id.value(),
                     ": KV that a step wrote was overwritten, positions ",
                     rows.start, " to ", end));
  }
  return context;
}

SequenceResult SimulatedRunner::Evaluate(size_t index) {
  const SequenceRows& rows = batch_->sequences[index];
  SequenceResult result;
  std::vector<uint64_t> contexts;
  const uint32_t gang = rows.gang > 1 && IsShed(index + 1) ? 1 : rows.gang;
  for (uint32_t s = 0; s < gang; ++s) {
    contexts.push_back(
        ReadBack(batch_->sequences[index + s], rows_[index + s]));
  }
  if (rows.score_top_logprobs >= 0) {
    for (uint32_t k = 0; k < rows.score_targets.size(); ++k) {
      std::vector<uint64_t> after;
      for (uint32_t s = 0; s < gang; ++s) {
        BRAID_CHECK(batch_->sequences[index + s].start == rows.start);
        after.push_back(rows_[index + s].contexts[k + 1]);
      }
      result.scores.push_back(hash_model::Score(hash_model::Weigh(after),
                                                rows.score_targets[k],
                                                rows.score_top_logprobs));
    }
  }
  if (rows.sampling != nullptr) {
    const size_t end = rows.start + rows.tokens.size();
    BRAID_CHECK(rows.context.position == end);
    BRAID_CHECK(rows.context.prompt.size() + rows.context.output.size() == end);
    result.token = hash_model::Draw(hash_model::Weigh(contexts), *rows.sampling,
                                    rows.context.output.size());
  }
  return result;
}

void SimulatedRunner::Fail(absl::Status status, Duration after) {
  step_->After(after, [this, status = std::move(status)] {
    End({.status = status, .sequences = {}});
  });
}

void SimulatedRunner::End(ForwardResult result) {
  if (result.status.code() == absl::StatusCode::kUnavailable) told_ = true;
  options_.cores->erase(options_.id);
  for (DeviceId lent : batch_->lent) options_.cores->erase(lent);
  batch_ = nullptr;
  // This runs as an event of the step's own scope.
  const std::unique_ptr<EventScope> step = std::move(step_);
  const StepCallbacks callbacks = std::move(callbacks_);
  Log(result.status.ok() ? LogKind::kStepDone : LogKind::kStepFailed,
      static_cast<int64_t>(result.status.code()));
  callbacks.on_done(std::move(result));
}

void SimulatedRunner::Crash() {
  Log(LogKind::kDeviceCrash);
  down_ = true;
  told_ = false;
  if (batch_ == nullptr) return;
  step_ = std::make_unique<EventScope>(world_.queue);
  Fail(absl::UnavailableError("the device is lost"),
       std::chrono::microseconds(100));
}

void SimulatedRunner::Return() {
  Log(LogKind::kDeviceBack);
  down_ = false;
}

void SimulatedRunner::Abort() {
  if (batch_ == nullptr) return;
  End({.status = absl::UnavailableError("the node is gone"), .sequences = {}});
}

}  // namespace braid
