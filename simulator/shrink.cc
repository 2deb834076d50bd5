#include "simulator/shrink.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

namespace braid {
namespace {

constexpr uint32_t kMostRuns = 400;

class Shrinker {
 public:
  Shrinker(uint64_t seed, const SimulationOptions& options,
           const Violation& violation)
      : seed_(seed), violation_(violation) {
    shrunk_.options = options;
    (void)Try(options);
  }

  Shrunk Run() {
    DropRequests();
    DropFaultKinds();
    DropNodes();
    DropRequests();
    LimitFaults();
    return std::move(shrunk_);
  }

 private:
  // Keeps what still violates.
  bool Try(const SimulationOptions& options) {
    if (shrunk_.runs >= kMostRuns) return false;
    ++shrunk_.runs;
    std::optional<std::string> text = violation_(options);
    if (!text) return false;
    shrunk_.options = options;
    shrunk_.text = *std::move(text);
    return true;
  }

  void DropFaultKinds() {
    for (int i = 0; i < kFaultKindCount; ++i) {
      SimulationOptions fewer = shrunk_.options;
      fewer.faults.Remove(static_cast<FaultKind>(i));
      if (!(fewer.faults == shrunk_.options.faults)) Try(fewer);
    }
  }

  void DropNodes() {
    for (uint32_t nodes = 1; nodes <= 2; ++nodes) {
      SimulationOptions fewer = shrunk_.options;
      if (fewer.nodes > 0 && fewer.nodes <= nodes) return;
      fewer.nodes = nodes;
      if (Try(fewer)) return;
    }
  }

  // Delta debugging: leaves out pieces, ever smaller ones.
  void DropRequests() {
    std::vector<uint32_t> kept = Requests();
    for (size_t piece = kept.size() / 2; piece >= 1; piece /= 2) {
      for (size_t begin = 0; begin < kept.size() && kept.size() > 1;) {
        const size_t end = std::min(begin + piece, kept.size());
        std::vector<uint32_t> fewer = kept;
        fewer.erase(fewer.begin() + static_cast<std::ptrdiff_t>(begin),
                    fewer.begin() + static_cast<std::ptrdiff_t>(end));
        SimulationOptions options = shrunk_.options;
        options.only = fewer;
        if (!fewer.empty() && Try(options)) {
          kept = std::move(fewer);
        } else {
          begin = end;
        }
      }
    }
  }

  std::vector<uint32_t> Requests() const {
    FaultSource faults(seed_, shrunk_.options.faults,
                       shrunk_.options.max_faults);
    std::vector<uint32_t> numbers;
    for (const RequestScenario& request :
         DrawScenario(seed_, shrunk_.options, faults).requests) {
      numbers.push_back(request.number);
    }
    return numbers;
  }

  void LimitFaults() {
    uint64_t low = 0, high = 1'000'000;
    while (low < high) {
      const uint64_t middle = low + (high - low) / 2;
      SimulationOptions options = shrunk_.options;
      options.max_faults = middle;
      if (Try(options)) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
  }

  const uint64_t seed_;
  const Violation& violation_;
  Shrunk shrunk_;
};

}  // namespace

Shrunk Shrink(uint64_t seed, const SimulationOptions& options,
              const Violation& violation) {
  return Shrinker(seed, options, violation).Run();
}

}  // namespace braid
