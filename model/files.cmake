# Weights, configuration and tokenizer data from files.
find_package(OpenSSL REQUIRED)  # libcrypto: SHA-256

braid_library(braid_model_files
  SRCS gguf.cc gguf_model.cc gguf_tokenizer.cc gguf_values.cc
       huggingface_config.cc huggingface_model.cc json_fields.cc mapped_file.cc
       model_config.cc model_file.cc parscale.cc parscale_adapter.cc
       parscale_published.cc parscale_summary.cc parscale_tensors.cc
       safetensors.cc sha256.cc tensor.cc tokenizer_json.cc tokenizer_spec.cc
       weight_binding.cc
  DEPS braid_json absl::flat_hash_map absl::flat_hash_set OpenSSL::Crypto)
