// prefix_hit_share TRACE...: prefix hit shares of Mooncake traces at several
// pool sizes, beside LRU and a clairvoyant bound.
//
// No knowledge of the future, nothing tuned per trace, and counts are
// deterministic: the same binary prints the same digits anywhere.
#include <cstdio>

#include "bench/hit_share.h"

namespace braid {
namespace {

void Report(const char* path, const BlockTrace& trace, uint64_t tokens) {
  const auto capacity = static_cast<uint32_t>(tokens / kTraceBlockTokens);
  const auto blocks = static_cast<double>(CountBlocks(trace));
  const auto share = [&](uint64_t hits) {
    return static_cast<double>(hits) / blocks;
  };
  const double lru = share(LruHits(trace, capacity));
  const double own_lru =
      share(IndexHits(trace, capacity, {.order = EvictionOrder::kLru}));
  const double ours = share(IndexHits(trace, capacity, {}));
  const double bound = share(MinHits(trace, capacity));
  std::printf(
      "{\"trace\": \"%s\", \"pooled_tokens\": %llu, \"lru\": %.4f, "
      "\"index_lru\": %.4f, \"index\": %.4f, \"bound\": %.4f, "
      "\"lru_of_bound\": %.3f, \"index_of_bound\": %.3f}\n",
      path, static_cast<unsigned long long>(tokens), lru, own_lru, ours, bound,
      lru / bound, ours / bound);
  std::fflush(stdout);
}

}  // namespace
}  // namespace braid

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: prefix_hit_share TRACE.jsonl[.gz]...\n");
    return 2;
  }
  for (int i = 1; i < argc; ++i) {
    const auto trace = braid::ReadMooncakeTrace(argv[i]);
    if (!trace.ok()) {
      std::fprintf(stderr, "%s\n", trace.status().ToString().c_str());
      return 1;
    }
    for (const uint64_t millions : {1, 3, 10}) {
      braid::Report(argv[i], *trace, millions * 1'000'000);
    }
  }
}
