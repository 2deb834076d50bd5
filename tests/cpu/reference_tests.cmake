braid_test(reference_test SRCS reference_test.cc DEPS braid_cpu_reference)
