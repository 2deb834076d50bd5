find_package(PkgConfig REQUIRED)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
braid_library(braid_tokenizer
  SRCS added_tokens.cc bpe.cc byte_alphabet.cc detokenizer.cc merge_queue.cc
       nfc.cc pre_tokenizer.cc tokenizer.cc unicode_class.cc
  DEPS braid_base absl::flat_hash_map absl::strings PkgConfig::UTF8PROC)
