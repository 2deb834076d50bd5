// What one rendering may cost. A template may come with a request, so work,
// memory and recursion are counted rather than trusted.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"

namespace braid::jinja {

class Budget final {
 public:
  // One step is a node visited, or 32 bytes or list elements produced.
  static constexpr int64_t kMaxSteps = 8'000'000;
  static constexpr size_t kMaxBytes = size_t{16} << 20;  // one string, output
  static constexpr size_t kMaxElements = 1'000'000;      // one list
  static constexpr int kMaxDepth = 600;       // nodes inside nodes, via macros
  static constexpr int kMaxValueDepth = 100;  // lists inside lists
  static constexpr size_t kMaxWeight = 4'000'000;  // parts of one value
  static constexpr int64_t kMaxRange = 100'000;

  absl::Status Step(size_t amount = 1) {
    steps_ += static_cast<int64_t>(amount);
    if (steps_ <= kMaxSteps) return absl::OkStatus();
    return absl::ResourceExhaustedError(
        "the chat template does too much work (8000000 steps)");
  }
  // Before a string of `bytes` is made.
  absl::Status Bytes(size_t bytes) {
    if (bytes > kMaxBytes) {
      return absl::ResourceExhaustedError(
          "the chat template makes a text of more than 16 MiB");
    }
    return Step(1 + bytes / 32);
  }
  // Before a list of `count` is made.
  absl::Status Elements(size_t count) {
    if (count > kMaxElements) {
      return absl::ResourceExhaustedError(
          "the chat template makes a list of more than 1000000 elements");
    }
    return Step(1 + count);
  }

  // Before `needle` bytes are looked for in `text` bytes. Short ones are as
  // good as free; a long one may meet many near misses.
  absl::Status Search(size_t text, size_t needle) {
    return Step(needle > 64 ? text * (needle / 64) : text / 64);
  }

  // Recursion of the interpreter; pairs with Leave.
  absl::Status Enter() {
    if (++depth_ <= kMaxDepth) return absl::OkStatus();
    return absl::ResourceExhaustedError(
        "the chat template nests or recurses too deeply (600)");
  }
  void Leave() { --depth_; }

 private:
  int64_t steps_ = 0;
  int depth_ = 0;
};

}  // namespace braid::jinja
