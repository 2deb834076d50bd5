braid_test(cpu_float_kernels_test
  SRCS float_kernels_test.cc
  DEPS braid_cpu_float_kernels braid_cpu_kernels braid_cpu_reference)
braid_test(cpu_core_team_test
  SRCS core_team_test.cc event_count_test.cc DEPS braid_cpu)
braid_test(cpu_default_model_test
  SRCS default_model_run_test.cc runner_default_test.cc
       runner_ordered_test.cc
  DEPS braid_cpu)
braid_test(cpu_runner_test
  SRCS runner_bits_test.cc runner_reference_test.cc random_weights.cc
  DEPS braid_cpu braid_cpu_reference)
braid_test(cpu_streams_test
  SRCS stream_mix_test.cc streams_bits_test.cc streams_reference_test.cc
       random_weights.cc
  DEPS braid_cpu braid_cpu_reference)
