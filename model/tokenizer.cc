#include "model/tokenizer.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "model/added_tokens.h"
#include "model/bpe.h"
#include "model/byte_alphabet.h"
#include "model/nfc.h"
#include "model/pre_tokenizer.h"

namespace braid {
namespace {

absl::Status CheckId(const char* name, std::optional<TokenId> id,
                     size_t vocabulary) {
  if (!id || (*id >= 0 && static_cast<size_t>(*id) < vocabulary)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("the ", name, " token is ", *id, ", but the vocabulary has ",
                   vocabulary, " tokens: the model file is damaged"));
}

absl::Status CheckSpec(const TokenizerSpec& spec) {
  const size_t vocabulary = spec.tokens.size();
  if (vocabulary == 0 || vocabulary > INT32_MAX) {
    return absl::InvalidArgumentError(
        absl::StrCat("a vocabulary of ", vocabulary,
                     " tokens: the model file has no usable tokenizer"));
  }
  // Fewer kinds than tokens is common; the others are normal tokens.
  if (spec.kinds.size() > vocabulary) {
    return absl::InvalidArgumentError(absl::StrCat(
        "kinds for ", spec.kinds.size(), " tokens, but the vocabulary has ",
        vocabulary, ": the model file is damaged"));
  }
  BRAID_RETURN_IF_ERROR(CheckId("bos", spec.bos, vocabulary));
  BRAID_RETURN_IF_ERROR(CheckId("eos", spec.eos, vocabulary));
  BRAID_RETURN_IF_ERROR(CheckId("unknown", spec.unknown, vocabulary));
  BRAID_RETURN_IF_ERROR(CheckId("padding", spec.padding, vocabulary));
  for (const TokenId id : spec.end_of_generation) {
    BRAID_RETURN_IF_ERROR(CheckId("end-of-generation", id, vocabulary));
  }
  if (spec.add_bos && !spec.bos) {
    return absl::InvalidArgumentError(
        "the tokenizer adds a bos token but names none: the model file is "
        "damaged");
  }
  return absl::OkStatus();
}

// What tokens stand for, one after the other.
struct TokenText {
  std::string bytes;
  std::vector<std::string_view> views;  // into bytes, by id
};

TokenText SpellOut(const TokenizerSpec& spec) {
  std::vector<std::pair<size_t, size_t>> places;
  TokenText text;
  for (size_t id = 0; id < spec.tokens.size(); ++id) {
    const size_t begin = text.bytes.size();
    std::optional<std::string> bytes;
    if (id >= spec.kinds.size() || spec.kinds[id] == TokenKind::kNormal) {
      bytes = UnspellBytes(spec.tokens[id]);
    }
    // A normal token with characters beside the alphabet is taken verbatim,
    // as the reference does; no text encodes to it.
    text.bytes.append(bytes ? *bytes : spec.tokens[id]);
    places.emplace_back(begin, text.bytes.size() - begin);
  }
  for (const auto& [begin, length] : places) {
    text.views.push_back(std::string_view(text.bytes).substr(begin, length));
  }
  return text;
}

}  // namespace

struct Tokenizer::Impl {
  explicit Impl(TokenizerSpec s)
      : spec(std::move(s)), token_text(SpellOut(spec)), added(spec) {
    for (const TokenId id : spec.end_of_generation) {
      ends_generation.resize(spec.tokens.size());
      ends_generation[id] = true;
    }
  }

  std::vector<TokenId> Encode(std::string_view text,
                              const std::vector<ByteRange>& trusted) const;
  // Text without control and added tokens.
  void EncodePlain(std::string_view text, MergeQueue& queue,
                   std::vector<TokenId>& out) const;

  const TokenizerSpec spec;
  const TokenText token_text;
  const AddedTokens added;
  std::vector<bool> ends_generation;  // by id, or empty
  std::optional<Bpe> bpe;
};

std::vector<TokenId> Tokenizer::Impl::Encode(
    std::string_view text, const std::vector<ByteRange>& trusted) const {
  std::vector<TokenId> out;
  out.reserve(text.size() / 4 + 1);
  MergeQueue queue;
  for (size_t at = 0; at < text.size();) {
    const AddedTokens::Match match = added.Find(text, at, trusted);
    EncodePlain(text.substr(at, match.begin - at), queue, out);
    if (match.token != AddedTokens::kNoMatch) out.push_back(match.token);
    at = match.end;
  }
  return out;
}

void Tokenizer::Impl::EncodePlain(std::string_view text, MergeQueue& queue,
                                  std::vector<TokenId>& out) const {
  std::string normalized;
  if (spec.normalize_nfc && MayNeedNfc(text)) {
    normalized = ToNfc(text);
    text = normalized;
  }
  WordSplitter words(spec.pre, text);
  while (!words.Done()) bpe->EncodeWord(words.Next(), text, queue, out);
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Create(
    TokenizerSpec spec) {
  BRAID_RETURN_IF_ERROR(CheckSpec(spec));
  auto impl = std::make_unique<Impl>(std::move(spec));
  BRAID_ASSIGN_OR_RETURN(impl->bpe,
                         Bpe::Create(impl->spec, impl->token_text.views));
  return std::unique_ptr<Tokenizer>(new Tokenizer(std::move(impl)));
}

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;

std::vector<TokenId> Tokenizer::Encode(std::string_view text,
                                       bool parse_special) const {
  std::vector<ByteRange> trusted;
  if (parse_special) trusted.push_back({0, text.size()});
  return impl_->Encode(text, trusted);
}

std::vector<TokenId> Tokenizer::Encode(
    const std::vector<TextSpan>& spans) const {
  std::string text;
  std::vector<ByteRange> trusted;
  for (const TextSpan& span : spans) {
    const size_t begin = text.size();
    text.append(span.text);
    if (!span.parse_special || span.text.empty()) continue;
    if (!trusted.empty() && trusted.back().end == begin) {
      trusted.back().end = text.size();
    } else {
      trusted.push_back({begin, text.size()});
    }
  }
  return impl_->Encode(text, trusted);
}

std::string_view Tokenizer::TokenBytes(TokenId id, bool show_special) const {
  BRAID_CHECK(id >= 0 && id < vocabulary());
  if (!show_special && IsSpecial(id)) return {};
  return impl_->token_text.views[id];
}

std::string Tokenizer::Decode(const std::vector<TokenId>& ids,
                              bool show_special) const {
  std::string bytes;
  for (const TokenId id : ids) bytes.append(TokenBytes(id, show_special));
  return bytes;
}

int32_t Tokenizer::vocabulary() const {
  return static_cast<int32_t>(impl_->spec.tokens.size());
}

bool Tokenizer::IsEndOfGeneration(TokenId id) const {
  BRAID_CHECK(id >= 0 && id < vocabulary());
  return !impl_->ends_generation.empty() && impl_->ends_generation[id];
}

bool Tokenizer::IsSpecial(TokenId id) const {
  BRAID_CHECK(id >= 0 && id < vocabulary());
  return static_cast<size_t>(id) < impl_->spec.kinds.size() &&
         impl_->spec.kinds[id] == TokenKind::kControl;
}

const TokenizerSpec& Tokenizer::spec() const { return impl_->spec; }

}  // namespace braid
