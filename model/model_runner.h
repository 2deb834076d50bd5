// Seam: a device that runs a model's forward step on the KV blocks of one
// arena. Implementations: CPU, CUDA, and the tests' fake.
//
// Threads: Launch is called on the engine thread and returns at once. At most
// one step is in flight per runner. The callbacks run on a thread of the
// runner, must not block, and never run inside Launch.
//
// Bits: the result of a row depends on its own tokens and KV only, not on what
// else is in the batch, on chunk borders, or on how many cores ran it.
#pragma once

#include <cstdint>
#include <functional>

#include "kvcache/kv_layout.h"
#include "model/forward_batch.h"

namespace braid {

struct StepCallbacks {
  // Layers [0, layers) of every row's KV are written. Called only when
  // ForwardBatch::progress_layers is set, in increasing order, before on_done.
  std::function<void(uint32_t layers)> on_progress;
  // Exactly once per launch.
  std::function<void(ForwardResult)> on_done;
};

class ModelRunner {
 public:
  virtual ~ModelRunner() = default;  // Waits for the step in flight.

  virtual const KvLayout& kv_layout() const = 0;

  // Most rows one step can take.
  virtual uint32_t max_rows() const = 0;

  // The batch and all that its spans show stay alive and unchanged until
  // on_done. REQUIRES: no step in flight; 1 <= rows <= max_rows().
  virtual void Launch(const ForwardBatch& batch, StepCallbacks callbacks) = 0;

  // Somebody waits for the step in flight: it should go on without the
  // sequences that may be shed, or end where it has no others, as soon as it
  // can. It need not, and ForwardResult::shed tells. Engine thread; no step in
  // flight: nothing.
  virtual void ShedStreams() {}
  // Whether it does so within a small part of a step.
  virtual bool sheds_in_flight() const { return false; }
};

}  // namespace braid
