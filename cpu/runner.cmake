# CpuRunner and the float kernels between the matrix products. The files of an
# instruction set are compiled with its flags and share no inline code with
# others; -O3 because their register tiles exist only once unrolled.
set(float_kernel_sources float_kernels.cc float_kernels_portable.cc)
set_source_files_properties(float_kernels_portable.cc PROPERTIES
  COMPILE_OPTIONS "-O3")
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
  list(APPEND float_kernel_sources
    float_kernels_avx2.cc float_kernels_avx512.cc)
  set_source_files_properties(float_kernels_avx2.cc PROPERTIES
    COMPILE_OPTIONS "-O3;${avx2}")
  set_source_files_properties(float_kernels_avx512.cc PROPERTIES
    COMPILE_OPTIONS "-O3;${avx512}")
endif()
braid_library(braid_cpu_float_kernels
  SRCS ${float_kernel_sources} DEPS braid_model_seam)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
  target_compile_definitions(braid_cpu_float_kernels PRIVATE BRAID_X86)
endif()

braid_library(braid_cpu
  SRCS core_team.cc cpu_model.cc cpu_runner.cc event_count.cc forward.cc
       forward_head.cc packed_model.cc parscale_weights.cc step_rows.cc
       stream_mix.cc
  DEPS braid_cpu_kernels braid_cpu_float_kernels braid_model)
