#include "model/gguf_tokenizer.h"

#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace braid {
namespace {

absl::Status ReadPreTokenizer(const GgufFile& file, TokenizerSpec& spec) {
  BRAID_ASSIGN_OR_RETURN(const std::string model,
                         file.String("tokenizer.ggml.model"));
  if (model != "gpt2") {
    return absl::UnimplementedError(
        absl::StrCat("tokenizer model ", model,
                     " is not supported; byte-level BPE (gpt2) is"));
  }
  BRAID_ASSIGN_OR_RETURN(const std::string pre,
                         file.String("tokenizer.ggml.pre", "(none)"));
  if (pre == "gpt2" || pre == "gpt-2") {
    spec.pre = PreTokenizer::kGpt2;
  } else if (pre == "smollm") {
    spec.pre = PreTokenizer::kSmolLm;
  } else if (pre == "llama-bpe" || pre == "llama3" || pre == "llama-v3" ||
             pre == "deepseek-r1-llama") {
    spec.pre = PreTokenizer::kLlamaBpe;
    spec.ignore_merges = true;  // as Llama 3's tokenizer.json says
  } else if (pre == "qwen2" || pre == "deepseek-r1-qwen") {
    spec.pre = PreTokenizer::kQwen2;
    // GGUF does not record normalizers: Qwen's tokenizer.json has NFC,
    // DeepSeek's for the same vocabulary has none.
    spec.normalize_nfc = pre == "qwen2";
  } else {
    return absl::UnimplementedError(absl::StrCat(
        "pre-tokenizer ", pre,
        " is not supported; gpt2, smollm, llama-bpe, qwen2, deepseek-r1-qwen "
        "and deepseek-r1-llama are"));
  }
  return absl::OkStatus();
}

// The numbers of GGUF's token_type.
absl::StatusOr<TokenKind> KindOf(int64_t type) {
  switch (type) {
    case 1:
      return TokenKind::kNormal;
    case 2:  // unknown: a control token to everyone but SentencePiece
    case 3:
      return TokenKind::kControl;
    case 4:
      return TokenKind::kUser;
    case 5:
      return TokenKind::kUnused;
    case 6:
      return absl::UnimplementedError(
          "tokens of type byte are not part of byte-level BPE");
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("tokenizer.ggml.token_type has the value ", type));
  }
}

absl::StatusOr<std::optional<TokenId>> ReadId(const GgufFile& file,
                                              absl::string_view name) {
  const std::string key = absl::StrCat("tokenizer.ggml.", name, "_token_id");
  if (!file.Has(key)) return std::nullopt;
  BRAID_ASSIGN_OR_RETURN(const int64_t id, file.Integer(key));
  if (id < 0 || id > INT32_MAX) {
    return absl::InvalidArgumentError(
        absl::StrCat("GGUF metadata ", key, " is ", id));
  }
  return static_cast<TokenId>(id);
}

absl::Status ReadSpecialIds(const GgufFile& file, TokenizerSpec& spec) {
  BRAID_ASSIGN_OR_RETURN(spec.bos, ReadId(file, "bos"));
  BRAID_ASSIGN_OR_RETURN(spec.eos, ReadId(file, "eos"));
  BRAID_ASSIGN_OR_RETURN(spec.unknown, ReadId(file, "unknown"));
  BRAID_ASSIGN_OR_RETURN(spec.padding, ReadId(file, "padding"));
  for (const char* name : {"eot", "eom"}) {
    BRAID_ASSIGN_OR_RETURN(const auto id, ReadId(file, name));
    if (id) spec.end_of_generation.push_back(*id);
  }
  // Llama 3 begins with BOS unless the file says otherwise.
  const bool bos_by_default =
      spec.pre == PreTokenizer::kLlamaBpe && spec.bos.has_value();
  BRAID_ASSIGN_OR_RETURN(
      spec.add_bos,
      file.Boolean("tokenizer.ggml.add_bos_token", bos_by_default));
  for (const char* key :
       {"tokenizer.ggml.add_eos_token", "tokenizer.ggml.add_sep_token",
        "tokenizer.ggml.add_space_prefix"}) {
    BRAID_ASSIGN_OR_RETURN(const bool set, file.Boolean(key, false));
    if (set) {
      return absl::UnimplementedError(
          absl::StrCat(key, " = true is not supported"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TokenizerSpec> ReadGgufTokenizer(const GgufFile& file,
                                                int32_t vocabulary) {
  TokenizerSpec spec;
  BRAID_RETURN_IF_ERROR(ReadPreTokenizer(file, spec));
  BRAID_ASSIGN_OR_RETURN(spec.tokens, file.Strings("tokenizer.ggml.tokens"));
  BRAID_ASSIGN_OR_RETURN(spec.merges, file.Strings("tokenizer.ggml.merges"));
  spec.kinds.assign(spec.tokens.size(), TokenKind::kNormal);
  if (file.Has("tokenizer.ggml.token_type")) {
    BRAID_ASSIGN_OR_RETURN(const std::vector<int64_t> types,
                           file.Integers("tokenizer.ggml.token_type"));
    if (types.size() != spec.tokens.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("tokenizer.ggml.token_type has ", types.size(),
                       " entries for ", spec.tokens.size(), " tokens"));
    }
    for (size_t i = 0; i < types.size(); ++i) {
      BRAID_ASSIGN_OR_RETURN(spec.kinds[i], KindOf(types[i]));
    }
  }
  BRAID_RETURN_IF_ERROR(ReadSpecialIds(file, spec));
  BRAID_RETURN_IF_ERROR(FinishTokenizerSpec(vocabulary, spec));
  return spec;
}

}  // namespace braid
