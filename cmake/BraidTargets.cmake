# braid_library(NAME SRCS ... DEPS ...)   a room, or a part of one
# braid_test(NAME SRCS ... DEPS ...)      a GoogleTest binary, one ctest entry per case
# braid_fuzzer(NAME SRCS ... DEPS ...)    a libFuzzer binary, when BRAID_FUZZ is on

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
      # A second clone of the tree finds what the first one compiled.
      CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} CCACHE_NOHASHDIR=1
      ${CCACHE})
endif()

find_package(Threads REQUIRED)
find_package(absl REQUIRED)

add_library(braid_options INTERFACE)
target_include_directories(braid_options INTERFACE ${PROJECT_SOURCE_DIR})
# Contraction would let the compiler decide where a*b+c rounds once: results
# would depend on the optimiser. Kernels that want FMA say so.
target_compile_options(braid_options INTERFACE
  -Wall -Wextra -Werror -Wno-missing-field-initializers -ffp-contract=off)
if(CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo")
  target_compile_options(braid_options INTERFACE -O2 -g1)
endif()
target_link_libraries(braid_options INTERFACE Threads::Threads)
if(BRAID_SANITIZE STREQUAL "address")
  # gcc 12 sees uninitialised variants in instrumented code where there are none.
  target_compile_options(braid_options INTERFACE
    -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
    $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
  target_link_options(braid_options INTERFACE -fsanitize=address,undefined)
elseif(BRAID_SANITIZE STREQUAL "thread")
  # Asio's fences order nothing that the tool would miss: each stands beside a
  # mutex.
  target_compile_options(braid_options INTERFACE -fsanitize=thread -fno-omit-frame-pointer
    $<$<CXX_COMPILER_ID:GNU>:-Wno-tsan>)
  target_link_options(braid_options INTERFACE -fsanitize=thread)
elseif(BRAID_SANITIZE)
  message(FATAL_ERROR "BRAID_SANITIZE is address, thread or empty, not '${BRAID_SANITIZE}'")
endif()
if(BRAID_FUZZ)
  target_compile_options(braid_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

function(braid_library name)
  cmake_parse_arguments(ARG "" "" "SRCS;DEPS" ${ARGN})
  if(ARG_SRCS)
    add_library(${name} STATIC ${ARG_SRCS})
    target_link_libraries(${name} PUBLIC braid_options ${ARG_DEPS})
  else()
    add_library(${name} INTERFACE)
    target_link_libraries(${name} INTERFACE braid_options ${ARG_DEPS})
  endif()
endfunction()

function(braid_test name)
  cmake_parse_arguments(ARG "" "" "SRCS;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SRCS})
  target_link_libraries(${name} PRIVATE braid_options ${ARG_DEPS} GTest::gmock GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE BRAID_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  gtest_discover_tests(${name} DISCOVERY_TIMEOUT 60 PROPERTIES TIMEOUT 300)
endfunction()

function(braid_fuzzer name)
  if(NOT BRAID_FUZZ)
    return()
  endif()
  cmake_parse_arguments(ARG "" "" "SRCS;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SRCS})
  target_link_libraries(${name} PRIVATE braid_options ${ARG_DEPS} -fsanitize=fuzzer)
endfunction()
