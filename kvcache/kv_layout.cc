#include "kvcache/kv_layout.h"

#include "absl/strings/str_cat.h"

namespace braid {

std::string ToString(const KvLayout& layout) {
  return absl::StrCat(layout.layers, " layers x ", layout.kv_heads,
                      " kv heads x ", layout.head_dim, " in ",
                      layout.dtype == KvDType::kF32 ? "f32" : "f16", ", ",
                      layout.block_tokens, " tokens per block");
}

}  // namespace braid
