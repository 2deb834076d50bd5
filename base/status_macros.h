// Early returns for absl::Status and absl::StatusOr.
#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Returns from the enclosing function if `expr` is not OK.
#define BRAID_RETURN_IF_ERROR(expr)                             \
  do {                                                          \
    if (absl::Status braid_status = (expr); !braid_status.ok()) \
      return braid_status;                                      \
  } while (false)

// BRAID_ASSIGN_OR_RETURN(auto file, MappedFile::Open(path));
#define BRAID_ASSIGN_OR_RETURN(lhs, expr) \
  BRAID_ASSIGN_OR_RETURN_IMPL(BRAID_CONCAT(braid_or_, __LINE__), lhs, expr)

#define BRAID_ASSIGN_OR_RETURN_IMPL(tmp, lhs, expr) \
  auto tmp = (expr);                                \
  if (!tmp.ok()) return std::move(tmp).status();    \
  lhs = *std::move(tmp)
#define BRAID_CONCAT(a, b) BRAID_CONCAT_IMPL(a, b)
#define BRAID_CONCAT_IMPL(a, b) a##b
