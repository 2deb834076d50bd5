// tokenizer.json of the Hugging Face tokenizers library: the subset that is
// byte-level BPE, recognised by its structure.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "model/json_value.h"
#include "model/tokenizer_spec.h"

namespace braid {

// The spec as tokenizer.json alone tells it: still without eos, unknown and
// padding, and without what FinishTokenizerSpec adds. Every pipeline step that
// is not known is UNIMPLEMENTED, by name: leaving one out gives wrong ids.
// `vocabulary` bounds the ids.
absl::StatusOr<TokenizerSpec> ReadTokenizerJson(const JsonValue& json,
                                                int32_t vocabulary);

// tokenizer_config.json: names of the special tokens, and add_bos_token.
absl::Status ApplyTokenizerConfig(const JsonValue& json, TokenizerSpec& spec);

// Its "chat_template": a string, or a list of named ones of which "default" is
// taken. Empty when there is none.
absl::StatusOr<std::string> ReadChatTemplate(const JsonValue& json);

}  // namespace braid
