// Arguments of a call, matched to the parameters of a built-in function.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/jinja/value.h"

namespace braid::jinja {

class Bound final {
 public:
  // An error for too many arguments, unknown names, or fewer than `required`.
  static absl::StatusOr<Bound> Bind(const std::string& function,
                                    const Arguments& arguments,
                                    std::vector<std::string> parameters,
                                    size_t required = 0);

  // Null when not passed.
  const Value* operator[](size_t i) const { return values_[i]; }
  bool Flag(size_t i, bool missing) const {
    return values_[i] == nullptr ? missing : Truthy(*values_[i]);
  }
  // None counts as missing.
  absl::StatusOr<int64_t> Integer(size_t i, int64_t missing) const;
  // Null when missing or None; an error when not a string.
  absl::StatusOr<const Text*> String(size_t i) const;

 private:
  std::string function_;
  std::vector<const Value*> values_;
};

}  // namespace braid::jinja
