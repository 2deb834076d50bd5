braid_library(braid_sampling SRCS sampling.cc DEPS braid_base)
# One pass over 150k logits is most of the cost of a token here, and GCC only
# vectorises such loops fully at -O3. No flag that changes a result.
set_source_files_properties(sampling.cc PROPERTIES COMPILE_OPTIONS "-O3")
