#include "model/jinja/methods.h"

#include <algorithm>
#include <iterator>

#include "base/status_macros.h"
#include "model/jinja/arguments.h"
#include "model/jinja/string_methods.h"

namespace braid::jinja {
namespace {

constexpr std::string_view kDictMethods[] = {"items", "keys", "values", "get",
                                             "copy"};
constexpr std::string_view kListMethods[] = {"index", "count", "copy"};
constexpr std::string_view kLoopMethods[] = {"cycle", "changed"};

template <size_t n>
bool Among(const std::string_view (&names)[n], const std::string& name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

absl::StatusOr<Value> CallDict(Budget& budget, const Value& self,
                               const std::string& name,
                               const Arguments& arguments) {
  const Dict& dict = *self.dict();
  if (name == "get") {
    BRAID_ASSIGN_OR_RETURN(const Bound args,
                           Bound::Bind(name, arguments, {"key", "default"}, 1));
    const Value* found = dict.Find(*args[0]);
    if (found != nullptr) return *found;
    return args[1] == nullptr ? Value() : *args[1];
  }
  BRAID_RETURN_IF_ERROR(Bound::Bind(name, arguments, {}).status());
  if (name == "copy") return self;
  std::vector<Value> items;
  BRAID_RETURN_IF_ERROR(budget.Elements(dict.items.size()));
  for (const auto& [key, value] : dict.items) {
    if (name == "keys") {
      items.push_back(key);
    } else if (name == "values") {
      items.push_back(value);
    } else {
      BRAID_ASSIGN_OR_RETURN(items.emplace_back(),
                             MakeList(budget, {key, value}, ListKind::kTuple));
    }
  }
  return MakeList(budget, std::move(items));
}

absl::StatusOr<Value> CallList(Budget& budget, const Value& self,
                               const std::string& name,
                               const Arguments& arguments) {
  if (name == "copy") {
    BRAID_RETURN_IF_ERROR(Bound::Bind(name, arguments, {}).status());
    return self;
  }
  BRAID_ASSIGN_OR_RETURN(const Bound args,
                         Bound::Bind(name, arguments, {"value"}, 1));
  BRAID_RETURN_IF_ERROR(budget.Step(self.weight()));
  const std::vector<Value>& items = self.list()->items;
  if (name == "count") {
    return Value(static_cast<int64_t>(
        std::count_if(items.begin(), items.end(),
                      [&](const Value& v) { return Equal(v, *args[0]); })));
  }
  const auto found =
      std::find_if(items.begin(), items.end(),
                   [&](const Value& v) { return Equal(v, *args[0]); });
  if (found == items.end()) return Error("the value is not in the list");
  return Value(static_cast<int64_t>(found - items.begin()));
}

absl::StatusOr<Value> CallLoop(Budget& budget, Loop& loop,
                               const std::string& name,
                               const Arguments& arguments) {
  if (!arguments.named.empty())
    return Error("loop." + name + " takes no names");
  if (name == "cycle") {
    if (arguments.positional.empty())
      return Error("no items for cycling given");
    return arguments.positional[loop.index % arguments.positional.size()];
  }
  for (const Value& value : arguments.positional) {
    BRAID_RETURN_IF_ERROR(budget.Step(value.weight()));
  }
  const bool same = loop.changed_called &&
                    std::equal(loop.changed.begin(), loop.changed.end(),
                               arguments.positional.begin(),
                               arguments.positional.end(), Equal);
  loop.changed_called = true;
  loop.changed = arguments.positional;
  return Value(!same);
}

}  // namespace

bool HasMethod(const Value& value, const std::string& name) {
  if (value.text() != nullptr) return HasStringMethod(name);
  if (value.dict() != nullptr) return Among(kDictMethods, name);
  if (value.loop() != nullptr) return Among(kLoopMethods, name);
  if (value.list() == nullptr) return false;
  if (value.list()->kind == ListKind::kIterator) return false;
  return Among(kListMethods, name) &&
         (name != "copy" || value.list()->kind == ListKind::kList);
}

absl::StatusOr<Value> CallMethod(Budget& budget, const Method& method,
                                 const Arguments& arguments) {
  BRAID_RETURN_IF_ERROR(budget.Step());
  const Value& self = method.self;
  if (self.text() != nullptr) {
    return CallStringMethod(budget, *self.text(), method.name, arguments);
  }
  if (self.dict() != nullptr) {
    return CallDict(budget, self, method.name, arguments);
  }
  if (self.loop() != nullptr) {
    return CallLoop(budget, *self.loop(), method.name, arguments);
  }
  return CallList(budget, self, method.name, arguments);
}

}  // namespace braid::jinja
