# CpuRunner and the float kernels between the matrix products. The files of an
# instruction set are compiled with its flags and share no inline code with
# others; -O3 because their register tiles exist only once unrolled.
braid_library(braid_cpu_float_kernels
  SRCS float_kernels.cc float_kernels_portable.cc float_kernels_avx2.cc
       float_kernels_avx512.cc
  DEPS braid_model_seam)
set_source_files_properties(float_kernels_portable.cc PROPERTIES
  COMPILE_OPTIONS "-O3")
set_source_files_properties(float_kernels_avx2.cc PROPERTIES
  COMPILE_OPTIONS "-O3;-mavx2;-mfma;-mf16c")
# GCC 12 warns about uninitialised operands inside its own AVX-512 headers.
set_source_files_properties(float_kernels_avx512.cc PROPERTIES
  COMPILE_OPTIONS "-O3;-mavx512f;-mavx512bw;-mavx512dq;-mavx512vl;-mfma;-mf16c;$<$<CXX_COMPILER_ID:GNU>:-Wno-uninitialized;-Wno-maybe-uninitialized>")
