// Drives the tokenizer from outside, for comparisons with another one
// (check_tokenizer.py).
//
//   tokenizer_oracle FILE.gguf|FILE.spec < LINES > LINES
//
// A .spec is the text format of spec_file.h, anything else a model. Each input
// line is a mode letter and hex bytes: 'p' encodes plain text, 's' text with
// special tokens, 'd' decodes little-endian int32 ids through the streaming
// detokenizer. Output: ids separated by spaces, or hex bytes.
#include <cstdio>
#include <cstring>
#include <iostream>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "base/status_macros.h"
#include "model/model_file.h"
#include "model/tokenizer.h"
#include "tests/model/spec_file.h"

namespace {

absl::StatusOr<braid::TokenizerSpec> ReadSpec(const std::string& path) {
  if (path.ends_with(".spec")) return braid::ReadSpecFile(path);
  BRAID_ASSIGN_OR_RETURN(const auto file, braid::ModelFile::Open(path));
  return file->tokenizer();
}

}  // namespace

int main(int argc, char** argv) {
  using namespace braid;
  if (argc != 2) {
    std::fprintf(stderr, "usage: tokenizer_oracle FILE < LINES\n");
    return 2;
  }
  auto spec = ReadSpec(argv[1]);
  if (!spec.ok()) {
    std::fprintf(stderr, "%s\n", spec.status().ToString().c_str());
    return 2;
  }
  const auto tokenizer = Tokenizer::Create(*std::move(spec));
  if (!tokenizer.ok()) {
    std::fprintf(stderr, "%s\n", tokenizer.status().ToString().c_str());
    return 2;
  }
  std::string line;
  while (std::getline(std::cin, line)) {
    const std::string bytes = FromHex(std::string_view(line).substr(1));
    std::string answer;
    if (line[0] == 'd') {
      Detokenizer detokenizer(tokenizer->get());
      std::string text;
      for (size_t at = 0; at + sizeof(TokenId) <= bytes.size();
           at += sizeof(TokenId)) {
        TokenId id;
        std::memcpy(&id, bytes.data() + at, sizeof(id));
        detokenizer.Push(id, text);
      }
      detokenizer.Flush(text);
      answer = ToHex(text);
    } else {
      for (const TokenId id : (*tokenizer)->Encode(bytes, line[0] == 's')) {
        answer.append(answer.empty() ? "" : " ").append(std::to_string(id));
      }
    }
    std::puts(answer.c_str());
  }
}
