# Readers of model files and the formats of weights.
braid_test(model_files_test
  SRCS default_model_test.cc gguf_test.cc huggingface_config_test.cc
       model_config_test.cc model_file_test.cc safetensors_test.cc
       tensor_test.cc tokenizer_json_test.cc
  DEPS braid_model_files)
braid_test(model_parscale_test
  SRCS parscale_adapter_test.cc parscale_published_test.cc sha256_test.cc
  DEPS braid_generated_model)
