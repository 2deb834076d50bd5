// How long answers get: output tokens, learned by class from those that ended.
//
// Thread safety: not thread-safe; engine thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "scheduler/request.h"

namespace braid {

class AnswerLengths final {
 public:
  explicit AnswerLengths(size_t classes) : means_(classes) {}

  // It is over. REQUIRES: it has said something.
  void Observe(const Request& request);

  // Tokens still to come, as far as its class has shown; at least one, while
  // any may come. Before any answer of the class has ended: all that may.
  uint32_t Expected(const Request& request) const;
  // The same while it decodes: one that has outrun the mean is one of the long
  // ones, and not about to end.
  uint32_t Left(const Request& request) const;

  // 0: no answer of the class has ended.
  double mean(size_t service_class) const { return means_[service_class]; }
  size_t classes() const { return means_.size(); }

 private:
  std::vector<double> means_;
};

}  // namespace braid
