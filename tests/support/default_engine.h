// The real engine on the default model and CPU cores, for tests and benchmarks
// that want no sockets.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "base/clock.h"
#include "cpu/cpu_runner.h"
#include "engine/engine.h"
#include "model/model_file.h"

namespace braid {

// Loaded once per process; a CHECK fails when the file is not there.
struct DefaultModel {
  std::unique_ptr<ModelFile> file;
  std::unique_ptr<Tokenizer> tokenizer;
  std::shared_ptr<const cpu::CpuModel> packed;

  static const DefaultModel& Get();
};

struct EngineSetting {
  SplitMode split = SplitMode::kOff;  // else two devices of one core each
  bool copy = false;                  // transport and pools; else loopback
  uint32_t chunk = 256;
  int cores = 2;  // of the one device, with split off
  bool prefix_cache = false;
  bool lend = true;
  bool pin_threads = false;  // a test machine may have fewer processors
};

// Puts something around each device's runner.
using WrapRunner =
    std::function<std::unique_ptr<ModelRunner>(std::unique_ptr<ModelRunner>)>;

std::unique_ptr<Engine> MakeDefaultEngine(const EngineSetting& setting,
                                          const Clock& clock,
                                          const WrapRunner& wrap = {});

}  // namespace braid
