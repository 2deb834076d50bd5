#include "model/tokenizer_spec.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "absl/strings/str_cat.h"

namespace braid {
namespace {

// Control tokens that end a turn or a document wherever they exist, since
// files often name only one of them as eos:
//   <|im_end|>      SmolLM2, Qwen: end of a ChatML turn
//   <|endoftext|>   SmolLM2, Qwen: end of a document; Qwen's second eos
//   <|eot_id|>, <|eom_id|>, <|end_of_text|>   Llama 3: turn, tool call,
//   document <｜end▁of▁sentence｜>                      DeepSeek-R1-Distill
constexpr std::array<std::string_view, 6> kEndings = {
    "<|im_end|>",      "<|endoftext|>", "<|eot_id|>",
    "<|end_of_text|>", "<|eom_id|>",    "<｜end▁of▁sentence｜>"};

absl::Status CheckId(const char* name, std::optional<TokenId> id,
                     size_t vocabulary) {
  if (!id || (*id >= 0 && static_cast<size_t>(*id) < vocabulary)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("tokenizer: the ", name, " token is ", *id,
                   ", the vocabulary has ", vocabulary, " tokens"));
}

}  // namespace

absl::Status FinishTokenizerSpec(int32_t vocabulary, TokenizerSpec& spec) {
  const auto size = static_cast<size_t>(vocabulary);
  if (spec.tokens.empty() || spec.tokens.size() > size) {
    return absl::InvalidArgumentError(
        absl::StrCat("tokenizer: ", spec.tokens.size(),
                     " tokens for a model with ", vocabulary));
  }
  if (spec.kinds.size() != spec.tokens.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("tokenizer: ", spec.kinds.size(), " kinds for ",
                     spec.tokens.size(), " tokens"));
  }
  for (size_t id = spec.tokens.size(); id < size; ++id) {
    spec.tokens.push_back(absl::StrCat("[PAD", id, "]"));
  }
  spec.kinds.resize(size, TokenKind::kUnused);
  absl::Status status = CheckId("BOS", spec.bos, size);
  status.Update(CheckId("EOS", spec.eos, size));
  status.Update(CheckId("unknown", spec.unknown, size));
  status.Update(CheckId("padding", spec.padding, size));
  std::vector<TokenId>& ends = spec.end_of_generation;
  for (const TokenId id : ends) {
    status.Update(CheckId("end of generation", id, size));
  }
  if (spec.eos) ends.push_back(*spec.eos);
  for (size_t id = 0; id < size; ++id) {
    if (spec.kinds[id] == TokenKind::kControl &&
        std::ranges::find(kEndings, spec.tokens[id]) != kEndings.end()) {
      ends.push_back(static_cast<TokenId>(id));
    }
  }
  std::ranges::sort(ends);
  ends.erase(std::unique(ends.begin(), ends.end()), ends.end());
  if (spec.add_bos && !spec.bos) {
    status.Update(absl::InvalidArgumentError(
        "tokenizer: BOS is to be added, but no token is BOS"));
  }
  return status;
}

}  // namespace braid
