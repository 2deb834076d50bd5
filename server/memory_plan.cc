#include "server/memory_plan.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "server/byte_size.h"

namespace braid::server {
namespace {

constexpr uint64_t kMostByDefault = 8ull << 30;

std::optional<uint64_t> ReadNumber(const char* path) {
  std::ifstream file(path);
  uint64_t value = 0;
  if (file >> value) return value;
  return std::nullopt;  // not there, or "max"
}

uint64_t MemAvailable() {
  std::ifstream file("/proc/meminfo");
  std::string line;
  while (std::getline(file, line)) {
    std::istringstream fields(line);
    std::string key;
    uint64_t kib = 0;
    if (fields >> key >> kib && key == "MemAvailable:") return kib << 10;
  }
  return std::numeric_limits<uint64_t>::max();
}

}  // namespace

absl::StatusOr<MemoryPlan> PlanMemory(const ServeOptions& options,
                                      const KvLayout& layout,
                                      uint32_t model_context,
                                      uint64_t weight_bytes,
                                      uint64_t available) {
  MemoryPlan plan;
  plan.pools = options.kv_transport == KvTransportKind::kCopy
                   ? static_cast<uint32_t>(options.devices.size())
                   : 1;
  const uint64_t kv_bytes = options.kv_memory > 0
                                ? options.kv_memory
                                : std::min(available / 4, kMostByDefault);
  if (weight_bytes > available || kv_bytes > available - weight_bytes) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "too little memory: ", ByteSizeToString(weight_bytes),
        " of weights and ", ByteSizeToString(kv_bytes), " of KV cache, but ",
        ByteSizeToString(available),
        " are available; lower --kv-memory or use a smaller model"));
  }
  const uint64_t blocks = kv_bytes / plan.pools / layout.block_bytes();
  plan.blocks_per_pool = static_cast<uint32_t>(
      std::min<uint64_t>(blocks, std::numeric_limits<uint32_t>::max() / 2));
  const uint64_t tokens = uint64_t{plan.blocks_per_pool} * layout.block_tokens;

  plan.max_context =
      options.max_context > 0
          ? options.max_context
          : static_cast<uint32_t>(std::min<uint64_t>(model_context, tokens));
  if (plan.max_context > model_context) {
    return absl::InvalidArgumentError(
        absl::StrCat("--max-context ", plan.max_context,
                     " is more than this model was trained for; use at most ",
                     model_context));
  }
  if (plan.max_context == 0 || plan.max_context > tokens) {
    const uint64_t wanted = std::max<uint32_t>(plan.max_context, 1);
    return absl::ResourceExhaustedError(absl::StrCat(
        "too little memory: ", ByteSizeToString(kv_bytes), " of KV cache hold ",
        tokens, " tokens, and one request may have ", wanted,
        "; set --kv-memory to at least ",
        ByteSizeToString(layout.BlocksFor(wanted) * layout.block_bytes() *
                         plan.pools),
        " or lower --max-context"));
  }
  return plan;
}

uint64_t AvailableMemory() {
  uint64_t available = MemAvailable();
  // Control groups, version 2 and then 1, as a container sees its own.
  const auto limit_by = [&](const char* limit, const char* used) {
    const auto most = ReadNumber(limit);
    if (!most) return;
    const uint64_t taken = ReadNumber(used).value_or(0);
    available = std::min(available, *most > taken ? *most - taken : 0);
  };
  limit_by("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current");
  limit_by("/sys/fs/cgroup/memory/memory.limit_in_bytes",
           "/sys/fs/cgroup/memory/memory.usage_in_bytes");
  return available;
}

}  // namespace braid::server
