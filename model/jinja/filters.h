// Filters ({{ x | f }}) and tests ({{ x is t }}).
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "model/jinja/value.h"

namespace braid::jinja {

bool HasFilter(const std::string& name);
absl::StatusOr<Value> ApplyFilter(Budget& budget, const std::string& name,
                                  const Value& input,
                                  const Arguments& arguments);

bool HasTest(const std::string& name);
absl::StatusOr<bool> ApplyTest(Budget& budget, const std::string& name,
                               const Value& input, const Arguments& arguments);

}  // namespace braid::jinja
