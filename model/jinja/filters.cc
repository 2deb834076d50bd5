#include "model/jinja/filters.h"

#include <algorithm>
#include <map>

#include "base/status_macros.h"
#include "model/jinja/filter_call.h"

namespace braid::jinja {
namespace {

const std::map<std::string, FilterFunction>& Filters() {
  static const auto& filters = *[] {
    auto* all = new std::map<std::string, FilterFunction>;
    AddTextFilters(*all);
    AddNumberFilters(*all);
    AddSequenceFilters(*all);
    return all;
  }();
  return filters;
}

}  // namespace

bool HasFilter(const std::string& name) { return Filters().contains(name); }

absl::StatusOr<Value> ApplyFilter(Budget& budget, const std::string& name,
                                  const Value& input,
                                  const Arguments& arguments) {
  const auto filter = Filters().find(name);
  if (filter == Filters().end()) return Error("no filter named '" + name + "'");
  BRAID_RETURN_IF_ERROR(budget.Step());
  return filter->second({budget, name, input, arguments});
}

}  // namespace braid::jinja
