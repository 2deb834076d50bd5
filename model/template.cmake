braid_library(braid_json DEPS braid_base)
braid_library(braid_chat_template DEPS braid_json)
