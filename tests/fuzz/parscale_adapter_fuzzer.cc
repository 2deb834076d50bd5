// Any bytes as an adapter file: a set of streams that can be read whole, or a
// Status.
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/check.h"
#include "model/parscale_adapter.h"
#include "model/parscale_summary.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto adapter = braid::ParseParscaleAdapter(
      std::as_bytes(std::span(data, size)), "fuzzed");
  if (!adapter.ok()) return 0;
  const size_t streams = static_cast<size_t>(adapter->set.streams);
  BRAID_CHECK(adapter->set.prefix_k.size() == streams);
  BRAID_CHECK(adapter->set.w1.size() == streams);
  // Not finite values were refused.
  for (const auto& tensor : braid::Summarize(adapter->set)) {
    BRAID_CHECK(tensor.min <= tensor.max);
  }
  return 0;
}
