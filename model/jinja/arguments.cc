#include "model/jinja/arguments.h"

#include <algorithm>

namespace braid::jinja {

absl::StatusOr<Bound> Bound::Bind(const std::string& function,
                                  const Arguments& arguments,
                                  std::vector<std::string> parameters,
                                  size_t required) {
  Bound bound;
  bound.function_ = function;
  bound.values_.resize(parameters.size());
  if (arguments.positional.size() > parameters.size()) {
    return Error(function + "() takes no more than " +
                 std::to_string(parameters.size()) + " arguments");
  }
  for (size_t i = 0; i < arguments.positional.size(); ++i) {
    bound.values_[i] = &arguments.positional[i];
  }
  for (const auto& [name, value] : arguments.named) {
    const auto found = std::find(parameters.begin(), parameters.end(), name);
    const size_t i = static_cast<size_t>(found - parameters.begin());
    if (found == parameters.end() || bound.values_[i] != nullptr) {
      return Error(function + "() got an unexpected argument '" + name + "'");
    }
    bound.values_[i] = &value;
  }
  for (size_t i = 0; i < required; ++i) {
    if (bound.values_[i] == nullptr) {
      return Error(function + "() needs the argument '" + parameters[i] + "'");
    }
  }
  return bound;
}

absl::StatusOr<int64_t> Bound::Integer(size_t i, int64_t missing) const {
  if (values_[i] == nullptr || values_[i]->is_none()) return missing;
  int64_t value = 0;
  if (values_[i]->AsInteger(&value)) return value;
  return Error(function_ + "() needs an integer, not '" +
               values_[i]->type_name() + "'");
}

absl::StatusOr<const Text*> Bound::String(size_t i) const {
  if (values_[i] == nullptr || values_[i]->is_none()) return nullptr;
  if (values_[i]->text() != nullptr) return values_[i]->text();
  return Error(function_ + "() needs a string, not '" +
               values_[i]->type_name() + "'");
}

}  // namespace braid::jinja
