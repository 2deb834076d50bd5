find_package(simdjson REQUIRED)

braid_library(braid_json
  SRCS json_value.cc
  DEPS braid_base absl::statusor absl::strings simdjson::simdjson)
braid_library(braid_chat_template DEPS braid_json)
