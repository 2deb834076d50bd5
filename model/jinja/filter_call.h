// What the files that implement filters share.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/jinja/arguments.h"
#include "model/jinja/value.h"

namespace braid::jinja {

struct FilterCall {
  Budget& budget;
  const std::string& name;
  const Value& input;
  const Arguments& arguments;

  absl::StatusOr<Bound> Bind(std::vector<std::string> parameters,
                             size_t required = 0) const {
    return Bound::Bind(name, arguments, std::move(parameters), required);
  }
};
using FilterFunction = absl::StatusOr<Value> (*)(const FilterCall&);

void AddTextFilters(std::map<std::string, FilterFunction>& filters);
void AddNumberFilters(std::map<std::string, FilterFunction>& filters);
void AddSequenceFilters(std::map<std::string, FilterFunction>& filters);

}  // namespace braid::jinja
