# The matrix kernels: one translation unit per instruction set, each with its
# own flags; everything else is compiled for the baseline processor.
set(kernel_sources
  activations.cc kernels.cc kernels_portable.cc packed_block.cc
  packed_matrix.cc)
set_source_files_properties(kernels_portable.cc PROPERTIES COMPILE_OPTIONS -O3)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
  set(avx2 -O3 -mavx2 -mfma -mf16c)
  # GCC 12 warns about uninitialised operands inside its own AVX-512 headers.
  set(avx512 ${avx2} -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni
    $<$<CXX_COMPILER_ID:GNU>:-Wno-uninitialized>
    $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
  list(APPEND kernel_sources
    kernels_avx2.cc kernels_avxvnni.cc kernels_avx512.cc
    kernels_avx512bf16.cc kernels_amx.cc kernels_amx_bf16.cc processor_x86.cc)
  set_source_files_properties(kernels_avx2.cc PROPERTIES
    COMPILE_OPTIONS "${avx2}")
  set_source_files_properties(kernels_avxvnni.cc PROPERTIES
    COMPILE_OPTIONS "${avx2};-mavxvnni")
  set_source_files_properties(kernels_avx512.cc PROPERTIES
    COMPILE_OPTIONS "${avx512}")
  set_source_files_properties(kernels_avx512bf16.cc PROPERTIES
    COMPILE_OPTIONS "${avx512};-mavx512bf16")
  set_source_files_properties(kernels_amx.cc PROPERTIES
    COMPILE_OPTIONS "${avx512};-mamx-tile;-mamx-int8")
  set_source_files_properties(kernels_amx_bf16.cc PROPERTIES
    COMPILE_OPTIONS "${avx512};-mamx-tile;-mamx-bf16")
else()
  list(APPEND kernel_sources processor_other.cc)
endif()

braid_library(braid_cpu_kernels SRCS ${kernel_sources} DEPS braid_model_files)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
  target_compile_definitions(braid_cpu_kernels PRIVATE BRAID_X86)
endif()
