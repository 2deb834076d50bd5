// By which keys the KV of a request's streams is found in prefix indexes, and
// what of it may be.
#pragma once

#include <cstdint>

#include "kvcache/prefix_keys.h"
#include "scheduler/request.h"
#include "scheduler/scheduler_config.h"

namespace braid {

// Whether a prefix may be shared: KV depends on the set and the stream. Elastic
// streams share among themselves alone, so that what they hold can always be
// taken from them; and those with a layer 0 of their own (`apart`) again among
// themselves, as the others' blocks lack it.
PrefixKeys KeysOf(const SchedulerConfig& config, const Request& request,
                  uint32_t stream, bool apart = false);
// To all of its tokens, of all its streams.
void ExtendKeys(const SchedulerConfig& config, Request& request);
// Whether KV of its first `tokens` may be taken from a cache.
bool MaySkip(const SchedulerConfig& config, const Request& request,
             uint32_t tokens);

}  // namespace braid
