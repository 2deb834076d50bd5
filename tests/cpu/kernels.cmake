braid_test(cpu_kernels_test
  SRCS kernels_test.cc packed_matrix_test.cc quantize_test.cc
       random_weights.cc
  DEPS braid_cpu_kernels)
