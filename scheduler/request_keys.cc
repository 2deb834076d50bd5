#include "scheduler/request_keys.h"

#include "base/hash.h"

namespace braid {

PrefixKeys KeysOf(const SchedulerConfig& config, const Request& request,
                  uint32_t stream, bool apart) {
  uint64_t seed = request.prefix_seed;
  const StreamSet* set = request.set;
  if (set != nullptr && (stream > 0 || !set->elastic)) {
    seed = Hash64Of(std::span<const uint64_t>({seed, set->fingerprint, stream,
                                               apart              ? 2u
                                               : request.gang > 1 ? 1u
                                                                  : 0u}));
  }
  return PrefixKeys(seed, config.block_tokens,
                    /*spare=*/stream > 0 && request.elastic());
}

void ExtendKeys(const SchedulerConfig& config, Request& request) {
  if (!config.prefix_cache) return;
  // As its answer grows, nothing is allocated.
  const size_t tokens = size_t{request.prompt_size} + request.max_output;
  request.keys.Reserve(tokens);
  request.keys.Extend(request.tokens);
  for (RequestStream& stream : request.streams) {
    stream.keys.Reserve(tokens);
    stream.keys.Extend(request.tokens);
  }
}

bool MaySkip(const SchedulerConfig& config, const Request& request,
             uint32_t tokens) {
  // A landing prefix is only not sent again; nothing is skipped because of it.
  // What was computed again has been scored before.
  const bool computes_all = !request.skip_cached && request.output().empty() &&
                            tokens < request.size();
  return config.prefix_cache && !computes_all;
}

}  // namespace braid
