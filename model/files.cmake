# Weights, configuration and tokenizer data from files.
braid_library(braid_model_files
  SRCS gguf.cc gguf_model.cc gguf_tokenizer.cc gguf_values.cc mapped_file.cc
       model_config.cc model_file.cc tensor.cc tokenizer_spec.cc
       weight_binding.cc
  DEPS braid_base absl::flat_hash_map absl::flat_hash_set absl::str_format)
