// A TokenizerSpec as a text file, for tests: vocabularies that Python made.
//
//   pre NAME            gpt2 smollm llama-bpe qwen2
//   ignore_merges       (flags, if set)
//   normalize_nfc
//   token KIND HEX      by id; KIND is n(ormal), c(ontrol), u(ser), x (unused)
//   merge HEX           "left right", best first
#pragma once

#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>

#include "base/check.h"
#include "model/tokenizer_spec.h"

namespace braid {

inline std::string FromHex(std::string_view hex) {
  const auto digit = [](char c) {
    BRAID_CHECK((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'));
    return c <= '9' ? c - '0' : c - 'a' + 10;
  };
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<char>(digit(hex[i]) << 4 | digit(hex[i + 1])));
  }
  return bytes;
}

inline std::string ToHex(std::string_view bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (const char c : bytes) {
    hex.push_back(kDigits[static_cast<uint8_t>(c) >> 4]);
    hex.push_back(kDigits[c & 15]);
  }
  return hex;
}

inline TokenizerSpec ReadSpecFile(const std::string& path) {
  std::ifstream file(path);
  BRAID_CHECK_MSG(file.good(), "cannot read " + path);
  TokenizerSpec spec;
  std::string line;
  while (std::getline(file, line)) {
    std::istringstream words(line);
    std::string key, first, second;
    words >> key >> first >> second;
    if (key == "pre") {
      spec.pre = first == "gpt2"        ? PreTokenizer::kGpt2
                 : first == "smollm"    ? PreTokenizer::kSmolLm
                 : first == "llama-bpe" ? PreTokenizer::kLlamaBpe
                                        : PreTokenizer::kQwen2;
    } else if (key == "ignore_merges") {
      spec.ignore_merges = true;
    } else if (key == "normalize_nfc") {
      spec.normalize_nfc = true;
    } else if (key == "token") {
      spec.tokens.push_back(FromHex(second));
      spec.kinds.push_back(first == "c"   ? TokenKind::kControl
                           : first == "u" ? TokenKind::kUser
                           : first == "x" ? TokenKind::kUnused
                                          : TokenKind::kNormal);
    } else if (key == "merge") {
      spec.merges.push_back(FromHex(first));
    } else {
      BRAID_CHECK_MSG(false, path + ": unknown line: " + line);
    }
  }
  return spec;
}

}  // namespace braid
