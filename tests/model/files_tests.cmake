# Readers of model files and the formats of weights.
braid_test(model_files_test
  SRCS default_model_test.cc model_config_test.cc tensor_test.cc
  DEPS braid_model_files)
