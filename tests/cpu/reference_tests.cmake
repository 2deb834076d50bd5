# The scalar reference against independent implementations.
braid_test(reference_test SRCS reference_test.cc DEPS braid_cpu_reference)
braid_test(reference_default_test SRCS reference_default_test.cc
  DEPS braid_cpu_reference)
