// Source to tree, by the grammar of Jinja 3.1.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "model/jinja/ast.h"

namespace braid::jinja {

// INVALID_ARGUMENT with line and column. Depth is bounded, in the nesting of
// the source and of the tree.
absl::StatusOr<Block> ParseTemplate(std::string_view source);

}  // namespace braid::jinja
