#include "tests/support/default_engine.h"

#include <cstdlib>
#include <utility>

#include "base/check.h"
#include "kvcache/transport/copy_transport.h"
#include "kvcache/transport/loopback_transport.h"

namespace braid {
namespace {

std::string DefaultModelPath() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const std::string root = cache != nullptr && *cache != '\0'
                               ? cache
                               : std::string(std::getenv("HOME")) + "/.cache";
  return root + "/braid/models/SmolLM2-135M-Instruct.Q4_1.gguf";
}

template <typename T>
T OrDie(absl::StatusOr<T> value) {
  BRAID_CHECK_MSG(value.ok(), std::string(value.status().message()) +
                                  "; is the default model there? "
                                  "deploy/fetch_model.sh fetches it");
  return *std::move(value);
}

std::unique_ptr<KvTransport> MakeTransport(bool copy,
                                           std::function<void()> wake) {
  TransportOptions options{.wake = std::move(wake)};
  if (!copy) return std::make_unique<LoopbackTransport>(std::move(options));
  CopyTransportOptions copying;
  copying.common = std::move(options);
  return std::make_unique<CopyTransport>(std::move(copying));
}

}  // namespace

const DefaultModel& DefaultModel::Get() {
  static const DefaultModel* model = [] {
    auto* loaded = new DefaultModel;
    loaded->file = OrDie(ModelFile::Open(DefaultModelPath()));
    loaded->tokenizer = OrDie(Tokenizer::Create(loaded->file->tokenizer()));
    loaded->packed =
        OrDie(cpu::CpuModel::Load(*loaded->file, cpu::BestIsa(), 2));
    return loaded;
  }();
  return *model;
}

std::unique_ptr<Engine> MakeDefaultEngine(const EngineSetting& setting,
                                          const Clock& clock,
                                          const WrapRunner& wrap) {
  const DefaultModel& model = DefaultModel::Get();
  constexpr uint32_t kBlocks = 800;
  EngineConfig config;
  const KvLayout layout = model.packed->MakeKvLayout(16);
  for (int i = 0; i < (setting.copy ? 2 : 1); ++i) {
    config.arenas.push_back(OrDie(KvArena::Create(layout, kBlocks)));
  }
  const bool two_devices = setting.split != SplitMode::kOff;
  std::vector<cpu::CpuDeviceSpec> specs;
  if (two_devices) {
    for (uint32_t i = 0; i < 2; ++i) {
      specs.push_back({DeviceId(i),
                       {static_cast<int>(i)},
                       config.arenas[setting.copy ? i : 0].get()});
    }
  } else {
    specs.push_back({DeviceId(0), {}, config.arenas[0].get()});
    for (int core = 0; core < setting.cores; ++core) {
      specs[0].cores.push_back(core);
    }
  }
  auto runners =
      OrDie(cpu::MakeCpuRunners(model.packed, specs,
                                {.max_rows = 512,
                                 .max_context = 2048,
                                 .pin_threads = setting.pin_threads}));
  for (size_t i = 0; i < runners.size(); ++i) {
    const DeviceRole role = !two_devices ? DeviceRole::kBoth
                            : i == 0     ? DeviceRole::kPrefill
                                         : DeviceRole::kDecode;
    config.devices.push_back(
        {.id = specs[i].id,
         .name = "cpu:" + std::to_string(i),
         .role = role,
         .runner = wrap ? wrap(std::move(runners[i])) : std::move(runners[i]),
         .arena = setting.copy ? static_cast<uint32_t>(i) : 0});
  }
  config.make_transport = [copy = setting.copy](std::function<void()> wake) {
    return MakeTransport(copy, std::move(wake));
  };
  config.tokenizer = model.tokenizer.get();
  config.clock = &clock;
  config.split = setting.split;
  config.max_context = 2048;
  config.prefill_chunk = setting.chunk;
  config.lend_cores = setting.lend;
  config.prefix_cache = setting.prefix_cache;
  return OrDie(Engine::Create(std::move(config)));
}

}  // namespace braid
