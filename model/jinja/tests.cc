#include <map>

#include "base/status_macros.h"
#include "model/jinja/arguments.h"
#include "model/jinja/filters.h"
#include "model/jinja/format.h"
#include "model/jinja/operators.h"
#include "model/jinja/string_methods.h"

namespace braid::jinja {
namespace {

struct Call {
  Budget& budget;
  const std::string& name;
  const Value& input;
  const Value* argument;  // of tests that take one
};
using Implementation = absl::StatusOr<bool> (*)(const Call&);

absl::StatusOr<int64_t> Modulo(const Call& call, const Value& divisor) {
  BRAID_ASSIGN_OR_RETURN(const Value rest,
                         Arithmetic(call.budget, "%", call.input, divisor));
  int64_t result = 0;
  if (rest.AsInteger(&result)) return result;
  double real = 0;
  if (!rest.AsReal(&real)) return Error("'" + call.name + "' needs a number");
  return real == 0 ? 0 : real == 1 ? 1 : 2;
}

bool IsSequence(const Value& v) {
  return v.text() != nullptr || v.dict() != nullptr || v.is_undefined() ||
         (v.list() != nullptr && v.list()->kind != ListKind::kIterator);
}

template <const char* const& op>
absl::StatusOr<bool> Relate(const Call& call) {
  return Relation(call.budget, op, call.input, *call.argument);
}
const char* const kEq = "==";
const char* const kNe = "!=";
const char* const kLt = "<";
const char* const kLe = "<=";
const char* const kGt = ">";
const char* const kGe = ">=";
const char* const kIn = "in";

struct Entry {
  Implementation function;
  bool takes_argument = false;
};

const std::map<std::string, Entry>& Tests() {
  using Result = absl::StatusOr<bool>;
  static const auto& tests = *new std::map<std::string, Entry>{
      {"defined",
       {[](const Call& c) -> Result { return !c.input.is_undefined(); }}},
      {"undefined",
       {[](const Call& c) -> Result { return c.input.is_undefined(); }}},
      {"none", {[](const Call& c) -> Result { return c.input.is_none(); }}},
      {"string",
       {[](const Call& c) -> Result { return c.input.text() != nullptr; }}},
      {"number", {[](const Call& c) -> Result { return c.input.is_number(); }}},
      {"integer",
       {[](const Call& c) -> Result { return c.input.is_integer(); }}},
      {"float", {[](const Call& c) -> Result { return c.input.is_real(); }}},
      {"boolean",
       {[](const Call& c) -> Result { return c.input.boolean() != nullptr; }}},
      {"true", {[](const Call& c) -> Result {
         return c.input.boolean() != nullptr && *c.input.boolean();
       }}},
      {"false", {[](const Call& c) -> Result {
         return c.input.boolean() != nullptr && !*c.input.boolean();
       }}},
      {"mapping",
       {[](const Call& c) -> Result { return c.input.dict() != nullptr; }}},
      {"sequence",
       {[](const Call& c) -> Result { return IsSequence(c.input); }}},
      {"iterable", {[](const Call& c) -> Result {
         return IsSequence(c.input) || c.input.list() != nullptr ||
                c.input.loop() != nullptr;
       }}},
      // Undefined can be called too: it says that it is undefined.
      {"callable", {[](const Call& c) -> Result {
         return c.input.is_callable() || c.input.is_undefined();
       }}},
      {"odd", {[](const Call& c) -> Result {
         BRAID_ASSIGN_OR_RETURN(const int64_t m, Modulo(c, Value(int64_t{2})));
         return m == 1;
       }}},
      {"even", {[](const Call& c) -> Result {
         BRAID_ASSIGN_OR_RETURN(const int64_t m, Modulo(c, Value(int64_t{2})));
         return m == 0;
       }}},
      {"divisibleby",
       {[](const Call& c) -> Result {
          BRAID_ASSIGN_OR_RETURN(const int64_t m, Modulo(c, *c.argument));
          return m == 0;
        },
        true}},
      {"lower", {[](const Call& c) -> Result {
         BRAID_ASSIGN_OR_RETURN(const Text text, Str(c.budget, c.input));
         return IsAllLower(text);
       }}},
      {"upper", {[](const Call& c) -> Result {
         BRAID_ASSIGN_OR_RETURN(const Text text, Str(c.budget, c.input));
         return IsAllUpper(text);
       }}},
      {"sameas",
       {[](const Call& c) -> Result { return c.input.Same(*c.argument); },
        true}},
      {"filter", {[](const Call& c) -> Result {
         return c.input.text() != nullptr && HasFilter(c.input.text()->bytes());
       }}},
      {"test", {[](const Call& c) -> Result {
         return c.input.text() != nullptr && HasTest(c.input.text()->bytes());
       }}},
      {"eq", {Relate<kEq>, true}},
      {"equalto", {Relate<kEq>, true}},
      {"==", {Relate<kEq>, true}},
      {"ne", {Relate<kNe>, true}},
      {"!=", {Relate<kNe>, true}},
      {"lt", {Relate<kLt>, true}},
      {"lessthan", {Relate<kLt>, true}},
      {"<", {Relate<kLt>, true}},
      {"le", {Relate<kLe>, true}},
      {"<=", {Relate<kLe>, true}},
      {"gt", {Relate<kGt>, true}},
      {"greaterthan", {Relate<kGt>, true}},
      {">", {Relate<kGt>, true}},
      {"ge", {Relate<kGe>, true}},
      {">=", {Relate<kGe>, true}},
      {"in", {Relate<kIn>, true}},
  };
  return tests;
}

}  // namespace

bool HasTest(const std::string& name) { return Tests().contains(name); }

absl::StatusOr<bool> ApplyTest(Budget& budget, const std::string& name,
                               const Value& input, const Arguments& arguments) {
  const auto test = Tests().find(name);
  if (test == Tests().end()) return Error("no test named '" + name + "'");
  BRAID_RETURN_IF_ERROR(budget.Step());
  const bool takes = test->second.takes_argument;
  if (!arguments.named.empty() ||
      arguments.positional.size() != (takes ? 1 : 0)) {
    return Error("the test '" + name + "' takes " +
                 (takes ? "one argument" : "no arguments"));
  }
  return test->second.function(
      {budget, name, input, takes ? arguments.positional.data() : nullptr});
}

}  // namespace braid::jinja
