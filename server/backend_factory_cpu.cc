// CPU devices: one runner per core set, all on the same packed weights. The
// only file of server/ that knows cpu/.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "cpu/cpu_runner.h"
#include "cpu/kernels.h"
#include "server/backend.h"
#include "server/byte_size.h"
#include "server/memory_plan.h"
#include "server/parscale_weights.h"
#include "server/text_view.h"

namespace braid::server {
namespace {

constexpr uint32_t kBlockTokens = 16;

absl::StatusOr<cpu::Isa> ParseIsaFlag(const std::string& name) {
  absl::StatusOr<cpu::Isa> isa = cpu::ParseIsa(name);
  if (isa.ok()) return isa;
  return absl::Status(isa.status().code(),
                      absl::StrCat("--cpu-isa: ", isa.status().message()));
}

}  // namespace

absl::Status CheckCpuIsa(const std::string& name) {
  return ParseIsaFlag(name).status();
}

absl::StatusOr<Backend> MakeCpuBackend(const ModelFile& file,
                                       const ServeOptions& options) {
  BRAID_ASSIGN_OR_RETURN(const cpu::Isa isa, ParseIsaFlag(options.cpu_isa));
  const uint64_t available = AvailableMemory();
  int threads = 0;
  for (const DeviceSpec& device : options.devices) {
    threads += static_cast<int>(device.cores.size());
  }
  BRAID_ASSIGN_OR_RETURN(const std::vector<ParscaleSet> sets,
                         LoadParscaleSets(file, options.model, options.parscale,
                                          options.parscale_sets));
  BRAID_ASSIGN_OR_RETURN(std::shared_ptr<const cpu::CpuModel> model,
                         cpu::CpuModel::Load(file, isa, threads, sets));
  const KvLayout layout = model->MakeKvLayout(kBlockTokens);
  BRAID_ASSIGN_OR_RETURN(
      const MemoryPlan plan,
      PlanMemory(options, layout, static_cast<uint32_t>(file.config().context),
                 model->weight_bytes(), available));

  Backend backend;
  backend.stream_sets = StreamSetsOf(sets);
  backend.max_context = plan.max_context;
  backend.weight_bytes = model->weight_bytes();
  backend.description =
      absl::StrCat(ToAbsl(cpu::ToString(isa)), ", ",
                   ByteSizeToString(model->weight_bytes()), " of weights");
  for (const ParscaleSet& set : sets) {
    absl::StrAppend(&backend.description, ", ", set.streams, " streams (",
                    ToAbsl(ToString(set.kind)), ")");
  }
  for (uint32_t i = 0; i < plan.pools; ++i) {
    BRAID_ASSIGN_OR_RETURN(auto arena,
                           KvArena::Create(layout, plan.blocks_per_pool));
    backend.arenas.push_back(std::move(arena));
  }
  std::vector<cpu::CpuDeviceSpec> specs;
  for (uint32_t i = 0; i < options.devices.size(); ++i) {
    const uint32_t arena = plan.pools == 1 ? 0 : i;
    specs.push_back(
        {DeviceId(i), options.devices[i].cores, backend.arenas[arena].get()});
    backend.devices.push_back({DeviceId(i), options.devices[i].name,
                               options.devices[i].role, nullptr, arena});
  }
  cpu::CpuOptions cpu_options;
  cpu_options.max_context = plan.max_context;
  BRAID_ASSIGN_OR_RETURN(
      auto runners,
      cpu::MakeCpuRunners(std::move(model), std::move(specs), cpu_options));
  for (size_t i = 0; i < runners.size(); ++i) {
    backend.devices[i].runner = std::move(runners[i]);
  }
  return backend;
}

}  // namespace braid::server
