#include "bench/hit_share.h"

#include <algorithm>
#include <list>
#include <memory>
#include <set>
#include <unordered_map>
#include <utility>

#include <simdjson.h>
#include <zlib.h>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "kvcache/block_pool.h"
#include "kvcache/block_table.h"
#include "kvcache/prefix_index.h"

namespace braid {
namespace {

absl::StatusOr<std::string> ReadGzip(const std::string& path) {
  const std::unique_ptr<gzFile_s, int (*)(gzFile)> file(
      gzopen(path.c_str(), "rb"), gzclose);
  if (!file) return absl::NotFoundError(absl::StrCat("cannot open ", path));
  std::string text;
  char buffer[1 << 16];
  for (;;) {
    const int n = gzread(file.get(), buffer, sizeof(buffer));
    if (n < 0) return absl::DataLossError(absl::StrCat(path, ": broken gzip"));
    if (n == 0) return text;
    text.append(buffer, n);
  }
}

}  // namespace

absl::StatusOr<BlockTrace> ReadMooncakeTrace(const std::string& path) {
  auto text = ReadGzip(path);
  if (!text.ok()) return text.status();
  text->reserve(text->size() + simdjson::SIMDJSON_PADDING);
  simdjson::dom::parser parser;
  simdjson::dom::document_stream lines;
  BlockTrace trace;
  const auto bad = [&](const char* what) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": row ", trace.size() + 1, ": ", what));
  };
  if (parser.parse_many(*text).get(lines)) return bad("not JSON lines");
  for (const auto line : lines) {
    TraceRequest request;
    uint64_t length;
    simdjson::dom::array ids;
    if (line["input_length"].get(length) || line["hash_ids"].get(ids)) {
      return bad("needs input_length and hash_ids");
    }
    request.input_tokens = static_cast<uint32_t>(length);
    for (const auto id : ids) {
      uint64_t value;
      if (id.get(value)) return bad("a hash id is not a number");
      request.blocks.push_back(static_cast<uint32_t>(value));
    }
    if (length > request.blocks.size() * uint64_t{kTraceBlockTokens}) {
      return bad("fewer hash ids than blocks of 512 tokens");
    }
    trace.push_back(std::move(request));
  }
  return trace;
}

uint64_t CountBlocks(const BlockTrace& trace) {
  uint64_t blocks = 0;
  for (const TraceRequest& request : trace) blocks += request.blocks.size();
  return blocks;
}

uint64_t IndexHits(const BlockTrace& trace, uint32_t capacity,
                   const EvictionConfig& eviction) {
  uint32_t largest = 0;
  for (const TraceRequest& request : trace) {
    largest = std::max(largest, request.input_tokens / kTraceBlockTokens);
  }
  BlockPool pool(PoolId(0), capacity + largest);
  PrefixIndex index(pool, kTraceBlockTokens, eviction);
  std::vector<TokenId> tokens;
  uint64_t hits = 0;
  for (const TraceRequest& request : trace) {
    const uint32_t full = request.input_tokens / kTraceBlockTokens;
    tokens.assign(size_t{full} * kTraceBlockTokens, 0);
    for (uint32_t i = 0; i < full; ++i) {
      tokens[size_t{i} * kTraceBlockTokens] =
          static_cast<TokenId>(request.blocks[i]);
    }
    PrefixKeys keys(0, kTraceBlockTokens);
    keys.Extend(tokens);
    const PrefixMatch match = index.Match(keys, tokens);
    hits += match.blocks.size();
    BlockTable table = pool.Share(match.blocks);
    const auto more = static_cast<uint32_t>(full - match.blocks.size());
    BRAID_CHECK(pool.Reserve(table, more));
    table.UseUpTo(full);
    index.Publish(keys, tokens, table);
    table.Clear();
    BRAID_CHECK(index.MakeRoom(largest));
  }
  return hits;
}

uint64_t LruHits(const BlockTrace& trace, uint32_t capacity) {
  std::list<uint32_t> order;
  std::unordered_map<uint32_t, std::list<uint32_t>::iterator> cached;
  uint64_t hits = 0;
  for (const TraceRequest& request : trace) {
    for (const uint32_t id : request.blocks) {
      if (!cached.contains(id)) break;
      ++hits;
    }
    for (size_t i = request.blocks.size(); i-- > 0;) {
      const uint32_t id = request.blocks[i];
      if (const auto it = cached.find(id); it != cached.end()) {
        order.erase(it->second);
      }
      cached[id] = order.insert(order.end(), id);
    }
    while (order.size() > capacity) {
      cached.erase(order.front());
      order.pop_front();
    }
  }
  return hits;
}

uint64_t MinHits(const BlockTrace& trace, uint32_t capacity) {
  constexpr uint64_t kNever = ~uint64_t{0};
  const uint64_t blocks = CountBlocks(trace);
  std::vector<uint64_t> next(blocks);
  std::unordered_map<uint32_t, uint64_t> later;
  uint64_t at = blocks;
  for (size_t r = trace.size(); r-- > 0;) {
    for (size_t i = trace[r].blocks.size(); i-- > 0;) {
      --at;
      const auto [it, first] = later.try_emplace(trace[r].blocks[i], at);
      next[at] = first ? kNever : std::exchange(it->second, at);
    }
  }
  std::set<std::pair<uint64_t, uint32_t>> cached;  // by next use
  uint64_t hits = 0;
  for (const TraceRequest& request : trace) {
    for (const uint32_t id : request.blocks) {
      hits += cached.erase({at, id});
      if (next[at] != kNever) cached.emplace(next[at], id);
      if (cached.size() > capacity) cached.erase(std::prev(cached.end()));
      ++at;
    }
  }
  return hits;
}

}  // namespace braid
