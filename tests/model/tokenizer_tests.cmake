find_package(PkgConfig REQUIRED)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
braid_test(tokenizer_test
  SRCS bpe_test.cc detokenizer_test.cc nfc_test.cc pre_tokenizer_test.cc
       tokenizer_golden_test.cc tokenizer_test.cc
  DEPS braid_tokenizer PkgConfig::PCRE2 PkgConfig::UTF8PROC)

# Not a test by itself: check_tokenizer.py drives it.
add_executable(tokenizer_oracle tokenizer_oracle.cc)
target_link_libraries(tokenizer_oracle PRIVATE braid_options braid_tokenizer
  braid_model_files)
