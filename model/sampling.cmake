braid_library(braid_sampling DEPS braid_base)
