// Methods of strings, lists, dicts and loops. Those that would change a list
// or a dict do not exist, as in the sandbox that templates are published for.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "model/jinja/value.h"

namespace braid::jinja {

bool HasMethod(const Value& value, const std::string& name);
absl::StatusOr<Value> CallMethod(Budget& budget, const Method& method,
                                 const Arguments& arguments);

}  // namespace braid::jinja
