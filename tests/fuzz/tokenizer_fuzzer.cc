// Vocabulary and text from bytes. Whatever they are: no crash, spans encode
// what their text does, and with a token for each byte Decode(Encode(x)) == x.
//
// Input: flags, a number of extra tokens, these, then the text. A token is a
// length and bytes in the alphabet; a merge is two earlier tokens.
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "model/byte_alphabet.h"
#include "model/tokenizer.h"

namespace {

using namespace braid;

class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), size_(size) {}

  uint8_t Byte() {
    if (size_ == 0) return 0;
    --size_;
    return *data_++;
  }
  std::string Bytes(size_t count) {
    std::string bytes;
    while (count-- > 0 && size_ > 0) bytes.push_back(char(Byte()));
    return bytes;
  }
  std::string Rest() { return Bytes(size_); }

 private:
  const uint8_t* data_;
  size_t size_;
};

TokenizerSpec ReadSpec(Input& input) {
  const uint8_t flags = input.Byte();
  TokenizerSpec spec;
  spec.pre = static_cast<PreTokenizer>(flags & 3);
  spec.ignore_merges = flags & 4;
  for (int byte = 0; byte < 256; ++byte) {
    spec.tokens.emplace_back(SpellByte(static_cast<uint8_t>(byte)));
  }
  spec.kinds.assign(256, TokenKind::kNormal);
  for (int extra = input.Byte() % 32; extra > 0; --extra) {
    const uint8_t kind = input.Byte();
    if (kind < 192) {
      // A merge: mostly of tokens that exist, so that most specs are accepted.
      const std::string left = spec.tokens[input.Byte() % spec.tokens.size()];
      const std::string right = spec.tokens[input.Byte() % spec.tokens.size()];
      spec.merges.push_back(left + (kind == 0 ? "" : " ") + right);
      if (kind != 1) {
        spec.tokens.push_back(left + right);
        spec.kinds.push_back(TokenKind::kNormal);
      }
    } else {
      spec.tokens.push_back(input.Bytes(input.Byte() % 8));
      spec.kinds.push_back(static_cast<TokenKind>(kind % 4));
    }
  }
  return spec;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input(data, size);
  TokenizerSpec spec = ReadSpec(input);
  const bool normalize = input.Byte() & 1;
  const std::string text = input.Rest();
  const auto tokenizer = Tokenizer::Create(spec);
  if (!tokenizer.ok()) {
    BRAID_CHECK(!tokenizer.status().message().empty());
    return 0;
  }

  for (const bool parse_special : {false, true}) {
    const std::vector<TokenId> ids = (*tokenizer)->Encode(text, parse_special);
    BRAID_CHECK((*tokenizer)->Decode(ids, /*show_special=*/true) == text);
    // Any cut into spans of one kind makes no difference.
    const size_t cut = text.empty() ? 0 : size % text.size();
    BRAID_CHECK(ids == (*tokenizer)
                           ->Encode({{text.substr(0, cut), parse_special},
                                     {text.substr(cut), parse_special}}));
    for (const TokenId id : ids) {
      BRAID_CHECK(parse_special || !(*tokenizer)->IsSpecial(id));
    }
    std::string streamed;
    Detokenizer detokenizer(tokenizer->get(), /*show_special=*/true);
    for (const TokenId id : ids) detokenizer.Push(id, streamed);
    detokenizer.Flush(streamed);
    BRAID_CHECK(streamed.size() >= text.size() ||
                streamed.find("\xEF\xBF\xBD") != std::string::npos);
  }
  if (normalize) {
    spec.normalize_nfc = true;
    const auto normalizing = Tokenizer::Create(std::move(spec));
    BRAID_CHECK(normalizing.ok());
    (*normalizing)->Encode(text, true);
  }
  return 0;
}
