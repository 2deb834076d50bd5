#include "model/tokenizer_json.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/json_fields.h"

namespace braid {
namespace {

constexpr char kFile[] = "tokenizer.json";

// Splitting expressions as the tokenizers of these families publish them; they
// are compared, not run.
constexpr std::string_view kLlamaPattern =
    R"re((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re";
constexpr std::string_view kQwenPattern =
    R"re((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re";

absl::Status Unsupported(absl::string_view what) {
  return absl::UnimplementedError(absl::StrCat(
      kFile, ": ", what,
      " is not supported; byte-level BPE as in GPT-2, SmolLM, Llama 3, Qwen2 "
      "and DeepSeek-R1-Distill is"));
}

std::string TypeOf(const JsonValue& step) {
  const JsonValue* type = step.Find("type");
  return type == nullptr || type->string() == nullptr ? "" : *type->string();
}

// A step, or the steps of a Sequence, whose member `list` has them. Null is no
// step at all.
absl::StatusOr<std::vector<const JsonValue*>> Steps(const JsonValue* value,
                                                    const char* list) {
  std::vector<const JsonValue*> steps;
  if (value == nullptr || value->is_null()) return steps;
  if (TypeOf(*value) != "Sequence") return std::vector{value};
  const JsonValue* elements = value->Find(list);
  if (elements == nullptr || elements->array() == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat(kFile, ": a Sequence without ", list));
  }
  for (const JsonValue& step : *elements->array()) steps.push_back(&step);
  return steps;
}

absl::Status ReadVocabulary(const JsonValue& model, size_t vocabulary,
                            TokenizerSpec& spec) {
  const JsonValue* vocab = model.Find("vocab");
  if (vocab == nullptr || vocab->object() == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat(kFile, ": \"vocab\" is not an object"));
  }
  std::vector<bool> taken(vocabulary);
  spec.tokens.resize(vocabulary);
  spec.kinds.assign(vocabulary, TokenKind::kUnused);
  for (const auto& [token, value] : *vocab->object()) {
    const int64_t* id = value.integer();
    if (id == nullptr || *id < 0 || static_cast<size_t>(*id) >= vocabulary ||
        taken[static_cast<size_t>(*id)]) {
      return absl::InvalidArgumentError(
          absl::StrCat(kFile, ": the id of token \"", token,
                       "\" is no free number below ", vocabulary));
    }
    const auto i = static_cast<size_t>(*id);
    taken[i] = true;
    spec.tokens[i] = token;
    spec.kinds[i] = TokenKind::kNormal;
  }
  return absl::OkStatus();
}

// "a b" in older files, ["a", "b"] in newer ones.
absl::Status ReadMerges(const JsonValue& model, TokenizerSpec& spec) {
  const JsonValue* merges = model.Find("merges");
  if (merges == nullptr || merges->array() == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat(kFile, ": \"merges\" is not an array"));
  }
  spec.merges.reserve(merges->array()->size());
  for (const JsonValue& merge : *merges->array()) {
    const JsonValue::Array* pair = merge.array();
    if (merge.string() != nullptr) {
      spec.merges.push_back(*merge.string());
    } else if (pair != nullptr && pair->size() == 2 && (*pair)[0].string() &&
               (*pair)[1].string()) {
      spec.merges.push_back(
          absl::StrCat(*(*pair)[0].string(), " ", *(*pair)[1].string()));
    } else {
      return absl::InvalidArgumentError(absl::StrCat(
          kFile, ": merge ", spec.merges.size(), " is no pair of tokens"));
    }
  }
  return absl::OkStatus();
}

absl::Status ReadModel(const JsonValue& json, size_t vocabulary,
                       TokenizerSpec& spec) {
  const JsonValue* model = json.Find("model");
  if (model == nullptr || model->object() == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat(kFile, ": \"model\" is not an object"));
  }
  const JsonFields fields(*model, absl::StrCat(kFile, ", model"));
  if (TypeOf(*model) != "BPE") {
    return Unsupported(absl::StrCat("model type \"", TypeOf(*model), "\""));
  }
  BRAID_ASSIGN_OR_RETURN(const bool byte_fallback,
                         fields.Boolean("byte_fallback", false));
  if (byte_fallback) return Unsupported("byte_fallback (SentencePiece)");
  if (fields.Has("dropout")) return Unsupported("BPE dropout");
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    BRAID_ASSIGN_OR_RETURN(const std::string text, fields.String(key, ""));
    if (!text.empty()) return Unsupported(key);
  }
  BRAID_ASSIGN_OR_RETURN(spec.ignore_merges,
                         fields.Boolean("ignore_merges", false));
  BRAID_RETURN_IF_ERROR(ReadVocabulary(*model, vocabulary, spec));
  return ReadMerges(*model, spec);
}

absl::Status ReadAddedTokens(const JsonValue& json, TokenizerSpec& spec) {
  const JsonValue* added = json.Find("added_tokens");
  if (added == nullptr || added->is_null()) return absl::OkStatus();
  if (added->array() == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat(kFile, ": \"added_tokens\" is not an array"));
  }
  for (const JsonValue& entry : *added->array()) {
    const JsonFields fields(entry, absl::StrCat(kFile, ", added_tokens"));
    BRAID_ASSIGN_OR_RETURN(const int64_t id, fields.Integer("id"));
    BRAID_ASSIGN_OR_RETURN(std::string content, fields.String("content"));
    BRAID_ASSIGN_OR_RETURN(const bool special,
                           fields.Boolean("special", false));
    for (const char* key : {"single_word", "lstrip", "rstrip"}) {
      BRAID_ASSIGN_OR_RETURN(const bool set, fields.Boolean(key, false));
      if (set) {
        return Unsupported(
            absl::StrCat("added token ", content, " with ", key));
      }
    }
    if (id < 0 || static_cast<size_t>(id) >= spec.tokens.size() ||
        content.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat(kFile, ": added token \"", content, "\" has id ", id,
                       ", the model has ", spec.tokens.size(), " tokens"));
    }
    const auto i = static_cast<size_t>(id);
    if (spec.kinds[i] != TokenKind::kUnused && spec.tokens[i] != content) {
      return absl::InvalidArgumentError(
          absl::StrCat(kFile, ": id ", id, " is both \"", spec.tokens[i],
                       "\" and \"", content, "\""));
    }
    spec.tokens[i] = std::move(content);
    spec.kinds[i] = special ? TokenKind::kControl : TokenKind::kUser;
  }
  return absl::OkStatus();
}

absl::Status ReadNormalizer(const JsonValue& json, TokenizerSpec& spec) {
  BRAID_ASSIGN_OR_RETURN(const auto steps,
                         Steps(json.Find("normalizer"), "normalizers"));
  for (const JsonValue* step : steps) {
    if (TypeOf(*step) != "NFC") {
      return Unsupported(absl::StrCat("normalizer \"", TypeOf(*step), "\""));
    }
    spec.normalize_nfc = true;
  }
  return absl::OkStatus();
}

// ByteLevel without a space put before the text; `regex`: does it split too?
absl::StatusOr<bool> IsByteLevel(const JsonValue& step, bool regex) {
  if (TypeOf(step) != "ByteLevel") return false;
  const JsonFields fields(step, absl::StrCat(kFile, ", ByteLevel"));
  BRAID_ASSIGN_OR_RETURN(const bool space,
                         fields.Boolean("add_prefix_space", true));
  if (space) return Unsupported("ByteLevel with add_prefix_space");
  BRAID_ASSIGN_OR_RETURN(const bool uses, fields.Boolean("use_regex", true));
  return uses == regex;
}

bool IsDigits(const JsonValue& step) {
  const JsonValue* individual = step.Find("individual_digits");
  return TypeOf(step) == "Digits" && individual != nullptr &&
         individual->boolean() != nullptr && *individual->boolean();
}

// The expression of a Split step that keeps its matches as words.
const std::string* SplitPattern(const JsonValue& step) {
  const JsonValue* behavior = step.Find("behavior");
  const JsonValue* invert = step.Find("invert");
  const JsonValue* pattern = step.Find("pattern");
  if (TypeOf(step) != "Split" || behavior == nullptr ||
      behavior->string() == nullptr || *behavior->string() != "Isolated" ||
      (invert != nullptr && invert->boolean() && *invert->boolean()) ||
      pattern == nullptr) {
    return nullptr;
  }
  const JsonValue* regex = pattern->Find("Regex");
  return regex == nullptr ? nullptr : regex->string();
}

absl::Status ReadPreTokenizer(const JsonValue& json, TokenizerSpec& spec) {
  BRAID_ASSIGN_OR_RETURN(const auto steps,
                         Steps(json.Find("pre_tokenizer"), "pretokenizers"));
  if (steps.empty()) return Unsupported("no pre_tokenizer");
  BRAID_ASSIGN_OR_RETURN(const bool splits, IsByteLevel(*steps.back(), true));
  BRAID_ASSIGN_OR_RETURN(const bool maps, IsByteLevel(*steps.back(), false));
  if (splits && steps.size() == 1) {
    spec.pre = PreTokenizer::kGpt2;
    return absl::OkStatus();
  }
  if (splits && steps.size() == 2 && IsDigits(*steps[0])) {
    spec.pre = PreTokenizer::kSmolLm;
    return absl::OkStatus();
  }
  if (maps && steps.size() == 2) {
    const std::string* pattern = SplitPattern(*steps[0]);
    if (pattern != nullptr && *pattern == kLlamaPattern) {
      spec.pre = PreTokenizer::kLlamaBpe;
      return absl::OkStatus();
    }
    if (pattern != nullptr && *pattern == kQwenPattern) {
      spec.pre = PreTokenizer::kQwen2;
      return absl::OkStatus();
    }
    if (pattern != nullptr) {
      return Unsupported(absl::StrCat("pre_tokenizer expression ", *pattern));
    }
  }
  std::string types;
  for (const JsonValue* step : steps) {
    absl::StrAppend(&types, types.empty() ? "" : ", ", TypeOf(*step));
  }
  return Unsupported(absl::StrCat("pre_tokenizer [", types, "]"));
}

// A TemplateProcessing may put special tokens before the text; only one, BOS,
// is known.
absl::Status ReadTemplate(const JsonValue& step, TokenizerSpec& spec) {
  const JsonValue* single = step.Find("single");
  if (single == nullptr || single->array() == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat(kFile, ": a TemplateProcessing without \"single\""));
  }
  bool text_seen = false;
  for (const JsonValue& piece : *single->array()) {
    if (piece.Find("Sequence") != nullptr) {
      text_seen = true;
      continue;
    }
    const JsonValue* token = piece.Find("SpecialToken");
    const JsonValue* name = token == nullptr ? nullptr : token->Find("id");
    if (name == nullptr || name->string() == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat(kFile, ": a TemplateProcessing piece without an id"));
    }
    const auto it = std::ranges::find(spec.tokens, *name->string());
    if (text_seen || spec.add_bos || it == spec.tokens.end()) {
      return Unsupported(
          absl::StrCat("post_processor that adds ", *name->string()));
    }
    spec.add_bos = true;
    spec.bos = static_cast<TokenId>(it - spec.tokens.begin());
  }
  return absl::OkStatus();
}

absl::Status ReadPostProcessor(const JsonValue& json, TokenizerSpec& spec) {
  BRAID_ASSIGN_OR_RETURN(const auto steps,
                         Steps(json.Find("post_processor"), "processors"));
  for (const JsonValue* step : steps) {
    const std::string type = TypeOf(*step);
    if (type == "TemplateProcessing") {
      BRAID_RETURN_IF_ERROR(ReadTemplate(*step, spec));
    } else if (type != "ByteLevel") {  // ByteLevel only trims offsets
      return Unsupported(absl::StrCat("post_processor \"", type, "\""));
    }
  }
  return absl::OkStatus();
}

// A special token of tokenizer_config.json: a string, or an object with
// "content".
absl::Status ReadNamedToken(const JsonFields& fields, const char* key,
                            const TokenizerSpec& spec,
                            std::optional<TokenId>& id) {
  const JsonValue* value = fields.Find(key);
  if (value == nullptr) return absl::OkStatus();
  const JsonValue* content = value->object() ? value->Find("content") : value;
  if (content == nullptr || content->string() == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat(fields.where(), ": \"", key, "\" is not a token"));
  }
  const auto it = std::ranges::find(spec.tokens, *content->string());
  if (it == spec.tokens.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat(fields.where(), ": \"", key, "\" is ", *content->string(),
                     ", which is no token of ", kFile));
  }
  id = static_cast<TokenId>(it - spec.tokens.begin());
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TokenizerSpec> ReadTokenizerJson(const JsonValue& json,
                                                int32_t vocabulary) {
  TokenizerSpec spec;
  BRAID_RETURN_IF_ERROR(ReadModel(json, static_cast<size_t>(vocabulary), spec));
  BRAID_RETURN_IF_ERROR(ReadAddedTokens(json, spec));
  for (size_t id = 0; id < spec.tokens.size(); ++id) {
    if (spec.kinds[id] == TokenKind::kUnused) {
      spec.tokens[id] = absl::StrCat("[PAD", id, "]");
    }
  }
  BRAID_RETURN_IF_ERROR(ReadNormalizer(json, spec));
  BRAID_RETURN_IF_ERROR(ReadPreTokenizer(json, spec));
  BRAID_RETURN_IF_ERROR(ReadPostProcessor(json, spec));
  return spec;
}

absl::Status ApplyTokenizerConfig(const JsonValue& json, TokenizerSpec& spec) {
  const JsonFields fields(json, "tokenizer_config.json");
  BRAID_RETURN_IF_ERROR(ReadNamedToken(fields, "bos_token", spec, spec.bos));
  BRAID_RETURN_IF_ERROR(ReadNamedToken(fields, "eos_token", spec, spec.eos));
  BRAID_RETURN_IF_ERROR(
      ReadNamedToken(fields, "unk_token", spec, spec.unknown));
  BRAID_RETURN_IF_ERROR(
      ReadNamedToken(fields, "pad_token", spec, spec.padding));
  BRAID_ASSIGN_OR_RETURN(const bool add_bos,
                         fields.Boolean("add_bos_token", false));
  BRAID_ASSIGN_OR_RETURN(const bool add_eos,
                         fields.Boolean("add_eos_token", false));
  if (add_eos) {
    return absl::UnimplementedError(
        "tokenizer_config.json: add_eos_token = true is not supported");
  }
  spec.add_bos = spec.add_bos || (add_bos && spec.bos.has_value());
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadChatTemplate(const JsonValue& json) {
  const JsonFields fields(json, "tokenizer_config.json");
  const JsonValue* value = fields.Find("chat_template");
  if (value == nullptr || value->array() == nullptr) {
    return fields.String("chat_template", "");
  }
  for (const JsonValue& entry : *value->array()) {
    const JsonFields named(entry, "tokenizer_config.json, chat_template");
    BRAID_ASSIGN_OR_RETURN(const std::string name, named.String("name"));
    if (name == "default") return named.String("template");
  }
  return std::string();
}

}  // namespace braid
