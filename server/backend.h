// The devices of a node with their memory, ready for the engine. Each kind of
// backend is made in one file: backend_factory_cpu.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "kvcache/kv_arena.h"
#include "model/model_file.h"
#include "server/options.h"

namespace braid::server {

struct Backend {
  // Runners read the arenas: devices are destroyed first.
  std::vector<std::unique_ptr<KvArena>> arenas;
  std::vector<EngineDevice> devices;
  std::vector<StreamSet> stream_sets;  // PARSCALE; of all devices
  uint32_t max_context = 0;
  size_t weight_bytes = 0;
  std::string description;  // "avx512, 92 MiB of weights"
};

// INVALID_ARGUMENT for --cpu-isa and --parscale; see also PlanMemory.
absl::StatusOr<Backend> MakeCpuBackend(const ModelFile& file,
                                       const ServeOptions& options);

// INVALID_ARGUMENT or FAILED_PRECONDITION unless this processor can run it.
absl::Status CheckCpuIsa(const std::string& name);

}  // namespace braid::server
