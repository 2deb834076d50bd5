// ModelRunner on sets of CPU cores. The devices of a process share the packed
// weights; each has its own cores, and may be lent those of idle devices.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/ids.h"
#include "cpu/kernels.h"
#include "kvcache/kv_arena.h"
#include "model/model_file.h"
#include "model/model_runner.h"

namespace braid::cpu {

struct PackedModel;

// A model's weights, packed for one instruction set. Immutable; shared by all
// runners of the process.
class CpuModel final {
 public:
  // Packs with `threads` threads. Does not need the file afterwards, and has
  // given its pages back to the system. UNIMPLEMENTED for shapes the kernels do
  // not take, RESOURCE_EXHAUSTED when the packed weights find no memory.
  // `sets`: PARSCALE weights, known to batches as 1, 2 ... in this order.
  static absl::StatusOr<std::shared_ptr<const CpuModel>> Load(
      const ModelFile& file, Isa isa, int threads,
      std::span<const ParscaleSet> sets = {});
  // The same for weights that lie in memory; not needed afterwards.
  static absl::StatusOr<std::shared_ptr<const CpuModel>> Pack(
      const ModelConfig& config, const ModelWeights& weights, Isa isa,
      int threads, std::span<const ParscaleSet> sets = {});
  ~CpuModel();

  KvLayout MakeKvLayout(uint32_t block_tokens) const;
  size_t weight_bytes() const;
  Isa isa() const;
  const PackedModel& packed() const { return *packed_; }

 private:
  explicit CpuModel(std::unique_ptr<const PackedModel> packed);
  std::unique_ptr<const PackedModel> packed_;
};

struct CpuDeviceSpec {
  DeviceId id;
  std::vector<int> cores;  // processors of this machine, one thread each
  const KvArena* arena = nullptr;  // outlives the runner
};

struct CpuOptions {
  uint32_t max_rows = 512;
  uint32_t max_context = 8192;
  bool pin_threads = true;
  // How long an idle thread spins for the next step before it sleeps.
  uint32_t spin_microseconds = 50;
};

// All CPU devices of a process: one resident thread per core, and a runner per
// device. INVALID_ARGUMENT when a core belongs to two devices or is not there,
// or a device's arena does not fit the model.
absl::StatusOr<std::vector<std::unique_ptr<ModelRunner>>> MakeCpuRunners(
    std::shared_ptr<const CpuModel> model, std::vector<CpuDeviceSpec> devices,
    const CpuOptions& options);

}  // namespace braid::cpu
