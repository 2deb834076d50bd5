// How KV bytes lie in a block. Two pools agree on a layout before a byte moves.
//
// A block holds `block_tokens` tokens for all layers, contiguous:
//   [block][layer][k|v][kv_head][page]
// and a page is one head's keys or values of those tokens. Inside a page V is
// [token][head_dim]; K is [head_dim][token], so that the 16 tokens of a block
// are the 16 lanes of a vector register when a query meets them. Nothing but a
// runner looks inside a page.
//
// One block is one copy; a layer group of a block is one contiguous piece.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace braid {

enum class KvDType : uint8_t { kF32, kF16 };

struct KvLayout {
  uint32_t layers = 0;
  uint32_t kv_heads = 0;
  uint32_t head_dim = 0;
  uint32_t block_tokens = 16;
  KvDType dtype = KvDType::kF16;

  size_t element_bytes() const { return dtype == KvDType::kF32 ? 4 : 2; }
  // One head's keys or values of one block.
  size_t page_bytes() const {
    return size_t{block_tokens} * head_dim * element_bytes();
  }
  size_t layer_bytes() const { return 2 * size_t{kv_heads} * page_bytes(); }
  size_t block_bytes() const { return layers * layer_bytes(); }

  // Byte offsets from the start of a block.
  size_t KeyPage(uint32_t layer, uint32_t head) const {
    return layer * layer_bytes() + head * page_bytes();
  }
  size_t ValuePage(uint32_t layer, uint32_t head) const {
    return KeyPage(layer, kv_heads + head);
  }

  // Blocks that hold `tokens` tokens.
  uint32_t BlocksFor(uint64_t tokens) const {
    return static_cast<uint32_t>((tokens + block_tokens - 1) / block_tokens);
  }

  friend bool operator==(const KvLayout&, const KvLayout&) = default;
};

std::string ToString(const KvLayout& layout);

}  // namespace braid
