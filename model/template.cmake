find_package(simdjson REQUIRED)

braid_library(braid_json
  SRCS json_value.cc
  DEPS braid_base absl::statusor absl::strings simdjson::simdjson)

find_package(PkgConfig REQUIRED)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)

braid_library(braid_chat_template
  SRCS
    chat_template.cc
    jinja/arguments.cc
    jinja/expression_parser.cc
    jinja/filters.cc
    jinja/format.cc
    jinja/interpreter.cc
    jinja/lexer.cc
    jinja/methods.cc
    jinja/number_filters.cc
    jinja/operators.cc
    jinja/parser.cc
    jinja/sequence_filters.cc
    jinja/statements.cc
    jinja/string_methods.cc
    jinja/tests.cc
    jinja/text.cc
    jinja/text_filters.cc
    jinja/unicode.cc
    jinja/value.cc
  DEPS braid_base braid_json absl::statusor absl::strings
       absl::flat_hash_map PkgConfig::UTF8PROC)
