// The tokenizer that a GGUF file carries in its tokenizer.ggml.* metadata.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "model/gguf.h"
#include "model/tokenizer_spec.h"

namespace braid {

// `vocabulary` is the model's. UNIMPLEMENTED for anything but byte-level BPE
// and for a pre-tokenizer that is not known.
absl::StatusOr<TokenizerSpec> ReadGgufTokenizer(const GgufFile& file,
                                                int32_t vocabulary);

}  // namespace braid
