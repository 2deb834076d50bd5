// What expressions do to values: arithmetic, membership, attributes, items,
// slices. The rules are Python's; integers have 64 bits, and more is an error.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "model/jinja/value.h"

namespace braid::jinja {

// `op`: + - * / // % ** ~
absl::StatusOr<Value> Arithmetic(Budget& budget, std::string_view op,
                                 const Value& left, const Value& right);
absl::StatusOr<Value> Negate(const Value& value);
// `op`: == != < <= > >= in "not in"
absl::StatusOr<bool> Relation(Budget& budget, std::string_view op,
                              const Value& left, const Value& right);

// value.name: a method first, then an item. Undefined when there is neither.
absl::StatusOr<Value> Attribute(Budget& budget, const Value& value,
                                const std::string& name);
// value[key]: an item first, then a method.
absl::StatusOr<Value> Item(Budget& budget, const Value& value,
                           const Value& key);
// value[start:stop:step]; null where omitted.
absl::StatusOr<Value> Slice(Budget& budget, const Value& value,
                            const Value* start, const Value* stop,
                            const Value* step);

// "%s" % arguments, with %s %r %d %i %f %% and no flags.
absl::StatusOr<Text> PercentFormat(Budget& budget, const Text& format,
                                   const std::vector<Value>& arguments,
                                   bool may_be_unused);

}  // namespace braid::jinja
