// What a step costs, learned from steps that were run. One model per device and
// number of cores: a step on borrowed cores says little about one without.
//
//   seconds = base + chunk_tokens x c1 + chunk_attended x c2
//                  + decode_rows x c3 + decode_attended x c4
//                  + stream_rows x c5
//                  - overlap x min(base, chunk_tokens x c1)
//
// Rows of further streams (PARSCALE) have a term of their own: they have no
// output head, and would else make rows of requests look cheaper than they are.
// What a stream catches up on is counted as prompt tokens, which it is like: on
// a GPU a decode row reads 15 times as long on a token that it attends to.
//
// The last term is what a roofline does to a step: its base is for the greatest
// part the reading of weights, which costs nothing more while the arithmetic of
// enough tokens hides it. Where that holds, some prompt tokens beside decode
// rows are nearly free.
//
// The linear terms are fitted by recursive least squares on relative errors, so
// that a decode step of 3 ms weighs as much as a prefill step of 300; no
// coefficient is ever negative. What was seen is forgotten, so the model
// follows a device that grows slower; but only in the direction of the step
// that was seen (Cao and Schwartz, Automatica 36, 2000): an hour of decode
// steps takes nothing from what is known of prompts, and what is known stays
// bounded on both sides. Where errors keep one sign the device has changed, and
// all is held less dear. The overlap, a share, follows slowly what the linear
// terms cannot explain.
//
// Thread safety: not thread-safe; engine thread only.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

namespace braid {

// The work of a step, as far as its time depends on it.
struct StepShape {
  // Prompt tokens it computes, and those that streams of requests catch up on.
  uint32_t chunk_tokens = 0;
  // Summed over them: the tokens each attends to.
  uint64_t chunk_attended = 0;
  uint32_t decode_rows = 0;
  uint64_t decode_attended = 0;  // summed over its decode and stream rows
  uint32_t stream_rows = 0;      // of requests' further streams, one token each

  // Of requests and their streams.
  uint32_t rows() const { return decode_rows + stream_rows; }
  friend bool operator==(const StepShape&, const StepShape&) = default;
  StepShape& operator+=(const StepShape& other) {
    chunk_tokens += other.chunk_tokens;
    chunk_attended += other.chunk_attended;
    decode_rows += other.decode_rows;
    decode_attended += other.decode_attended;
    stream_rows += other.stream_rows;
    return *this;
  }
  // A chunk of `count` tokens behind `before` others of its sequence.
  void AddChunk(uint32_t before, uint32_t count) {
    chunk_tokens += count;
    chunk_attended +=
        uint64_t{count} * before + uint64_t{count} * (uint64_t{count} + 1) / 2;
  }
  void AddDecodeRow(uint64_t attended) {
    ++decode_rows;
    decode_attended += attended;
  }
  // `count` rows of a stream behind `before` others of it. Catching up is an
  // append: the device computes it as it does a prompt's chunk.
  void AddStreamRows(uint64_t before, uint32_t count) {
    if (count != 1) return AddChunk(before, count);
    ++stream_rows;
    decode_attended += before + 1;
  }
};

// A step that was run on the cores of `lent` other devices besides its own.
struct MeasuredStep {
  StepShape shape;
  double seconds = 0;
  uint32_t lent = 0;
};

class StepTimeModel final {
 public:
  // What is believed before anything was seen; seconds each.
  struct Prior {
    double base = 0.002;
    double chunk_token = 0.0005, chunk_attended = 1e-7;
    double decode_row = 0.001, decode_attended = 1e-7;
    double overlap = 0;  // share, 0 to 1
    // Negative: as a decode row, but no more than a prompt token, which has no
    // output head either.
    double stream_row = -1;
  };
  StepTimeModel() : StepTimeModel(Prior()) {}
  explicit StepTimeModel(const Prior& prior);

  // REQUIRES: seconds > 0.
  void Observe(const StepShape& shape, double seconds);

  // > 0 for every shape, and never less for more work.
  double Predict(const StepShape& shape) const {
    const double seconds =
        weights_[0] +
        (weights_[1] * shape.chunk_tokens +
         weights_[2] * static_cast<double>(shape.chunk_attended)) +
        (weights_[3] * shape.decode_rows +
         weights_[4] * static_cast<double>(shape.decode_attended)) +
        weights_[5] * shape.stream_rows - overlap_ * Hidden(shape);
    return std::max(kLeastSeconds, seconds);
  }

  // Most tokens, up to `max`, that a chunk behind `before` others may add to
  // `shape` with the step still predicted within `budget` seconds. Of a gang,
  // that many streams add them.
  uint32_t LargestChunk(const StepShape& shape, uint32_t before, uint32_t max,
                        double budget, uint32_t streams = 1) const;

  // Mean of |predicted - seen| / seen over recent steps, each predicted before
  // it was learned from. 0 while nothing was seen.
  double relative_error() const { return relative_error_; }
  uint64_t observed() const { return observed_; }

 private:
  static constexpr int kTerms = 6;
  // No step is shorter, even where every weight is zero.
  static constexpr double kLeastSeconds = 1e-6;
  using Vector = std::array<double, kTerms>;
  using Matrix = std::array<Vector, kTerms>;

  static Vector TermsOf(const StepShape& shape);
  // Seconds that base and prompt tokens could share.
  double Hidden(const StepShape& shape) const {
    return std::min(weights_[0], weights_[1] * shape.chunk_tokens);
  }
  void Calibrate(double factor);
  void LearnOverlap(const StepShape& shape, double seconds);
  // `hidden`: seconds of the linear terms that the step did not take.
  void Learn(const Vector& terms, double predicted, double seconds,
             double hidden);
  void UpdateWeights();

  // Seconds per unit of each term; what Predict uses.
  Vector weights_;
  // The fit is of multiples of these, so that its numbers are near 1.
  Vector scale_;
  // The unconstrained optimum, in multiples of scale_, and the information
  // matrix around it: positive definite, bounded.
  Vector optimum_;
  Matrix information_;
  double overlap_;
  bool streams_seen_ = false;  // else their term is the prior's
  double bias_ = 0;            // signed mean of recent relative errors
  double relative_error_ = 0;
  uint64_t observed_ = 0;
};

}  // namespace braid
