// ModelRunner on sets of CPU cores. The devices of a process share the packed
// weights; each has its own cores, and may be lent those of idle devices.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/ids.h"
#include "cpu/kernels.h"
#include "kvcache/kv_arena.h"
#include "model/model_file.h"
#include "model/model_runner.h"

namespace braid::cpu {

// A model's weights, packed for one instruction set. Immutable; shared by all
// runners of the process. Does not need the ModelFile after Load.
class CpuModel final {
 public:
  // Packs with `threads` threads. `file` may be dropped from memory afterwards:
  // its pages are given back to the system.
  static absl::StatusOr<std::shared_ptr<const CpuModel>> Load(
      const ModelFile& file, Isa isa, int threads);
  ~CpuModel();

  KvLayout MakeKvLayout(uint32_t block_tokens) const;
  size_t weight_bytes() const;
  Isa isa() const;

 private:
  friend class CpuDevices;
  struct Impl;
  explicit CpuModel(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
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
// device. Cores may not belong to two devices.
absl::StatusOr<std::vector<std::unique_ptr<ModelRunner>>> MakeCpuRunners(
    std::shared_ptr<const CpuModel> model, std::vector<CpuDeviceSpec> devices,
    const CpuOptions& options);

}  // namespace braid::cpu
