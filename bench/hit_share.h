// Prefix hits on a trace of block identities, for the production index, for
// LRU, and for a clairvoyant bound; see prefix_hit_share.cc.
//
// A hit is a block of a request's prompt that lies in the prefix found in the
// cache. Requests come in file order, one at a time; the share is of all blocks
// of all prompts, partly filled last blocks included.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kvcache/eviction.h"

namespace braid {

struct TraceRequest {
  uint32_t input_tokens = 0;
  std::vector<uint32_t> blocks;  // equal id: equal content, equal prefix
};
using BlockTrace = std::vector<TraceRequest>;

inline constexpr uint32_t kTraceBlockTokens = 512;

// Mooncake's format: JSON lines with input_length and hash_ids, may be gzipped.
absl::StatusOr<BlockTrace> ReadMooncakeTrace(const std::string& path);

uint64_t CountBlocks(const BlockTrace& trace);

// A BlockPool under a PrefixIndex that keeps `capacity` blocks between
// requests, with room for the largest request beside them, as the other two
// have it. Full blocks only: what is not full is not published, and counts as a
// miss.
uint64_t IndexHits(const BlockTrace& trace, uint32_t capacity,
                   const EvictionConfig& eviction);
// Textbook LRU over all blocks, leaves older than their roots.
uint64_t LruHits(const BlockTrace& trace, uint32_t capacity);
// Belady's MIN per block, with bypass: no policy has more hits, since it need
// not even keep a block's prefix.
uint64_t MinHits(const BlockTrace& trace, uint32_t capacity);

}  // namespace braid
