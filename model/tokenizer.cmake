braid_library(braid_tokenizer DEPS braid_base)
