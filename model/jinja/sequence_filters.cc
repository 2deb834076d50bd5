// Filters over lists, dicts and what else can be iterated.

#include <algorithm>
#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "base/status_macros.h"
#include "model/jinja/filter_call.h"
#include "model/jinja/filters.h"
#include "model/jinja/format.h"
#include "model/jinja/operators.h"
#include "model/jinja/string_methods.h"

namespace braid::jinja {
namespace {

// "a.b.0": attributes and items inside one another.
absl::StatusOr<Value> Dig(Budget& budget, Value value, const Value& path,
                          const Value* missing = nullptr) {
  int64_t index = 0;
  if (path.AsInteger(&index)) return Item(budget, value, path);
  if (path.text() == nullptr) return Error("an attribute is named by a string");
  const std::vector<std::string> parts =
      absl::StrSplit(path.text()->bytes(), '.');
  for (const std::string& part : parts) {
    const bool number = !part.empty() && part.find_first_not_of("0123456789") ==
                                             std::string::npos;
    Value key = Value::Literal(part);
    if (number && absl::SimpleAtoi(part, &index)) key = Value(index);
    BRAID_ASSIGN_OR_RETURN(value, Item(budget, value, key));
    if (missing != nullptr && value.is_undefined()) value = *missing;
  }
  return value;
}

// What sort, unique, min and max compare by.
struct Keyed {
  Value key, value;
};
absl::StatusOr<std::vector<Keyed>> KeyAll(const FilterCall& call,
                                          const Value* attribute,
                                          bool case_sensitive) {
  BRAID_ASSIGN_OR_RETURN(std::vector<Value> items,
                         Iterate(call.budget, call.input));
  std::vector<Keyed> keyed;
  for (Value& item : items) {
    Value key = item;
    if (attribute != nullptr && !attribute->is_none()) {
      BRAID_ASSIGN_OR_RETURN(key, Dig(call.budget, item, *attribute));
    }
    if (!case_sensitive && key.text() != nullptr) {
      BRAID_RETURN_IF_ERROR(call.budget.Step(key.text()->size() / 8));
      key = Value(Lower(*key.text()));
    }
    keyed.push_back({std::move(key), std::move(item)});
  }
  return keyed;
}

// Stable. Comparisons are charged, and the first that fails is the result.
absl::Status Sort(Budget& budget, std::vector<Keyed>& items, bool reverse) {
  absl::Status status;
  const auto before = [&](const Keyed& a, const Keyed& b) {
    if (status.ok()) {
      status = budget.Step(std::min(a.key.weight(), b.key.weight()));
    }
    if (!status.ok()) return false;
    const auto sign = Compare(a.key, b.key);
    if (!sign.ok()) status = sign.status();
    return sign.ok() && (reverse ? *sign > 0 : *sign < 0);
  };
  std::stable_sort(items.begin(), items.end(), before);
  return status;
}

absl::StatusOr<Value> Values(Budget& budget, std::vector<Keyed> items) {
  std::vector<Value> values;
  for (Keyed& item : items) values.push_back(std::move(item.value));
  return MakeList(budget, std::move(values));
}

absl::StatusOr<Value> SortFilter(const FilterCall& call) {
  BRAID_ASSIGN_OR_RETURN(const Bound args,
                         call.Bind({"reverse", "case_sensitive", "attribute"}));
  BRAID_ASSIGN_OR_RETURN(std::vector<Keyed> items,
                         KeyAll(call, args[2], args.Flag(1, false)));
  BRAID_RETURN_IF_ERROR(Sort(call.budget, items, args.Flag(0, false)));
  return Values(call.budget, std::move(items));
}

absl::StatusOr<Value> DictSort(const FilterCall& call) {
  BRAID_ASSIGN_OR_RETURN(const Bound args,
                         call.Bind({"case_sensitive", "by", "reverse"}));
  BRAID_ASSIGN_OR_RETURN(const Text* by, args.String(1));
  if (call.input.dict() == nullptr) return Error("dictsort needs a dict");
  const bool by_value = by != nullptr && by->bytes() == "value";
  if (by != nullptr && !by_value && by->bytes() != "key") {
    return Error("dictsort: by is \"key\" or \"value\"");
  }
  std::vector<Keyed> items;
  for (const auto& [name, value] : call.input.dict()->items) {
    Value key = by_value ? value : name;
    if (!args.Flag(0, false) && key.text() != nullptr) {
      BRAID_RETURN_IF_ERROR(call.budget.Step(key.text()->size() / 8));
      key = Value(Lower(*key.text()));
    }
    BRAID_ASSIGN_OR_RETURN(
        Value pair, MakeList(call.budget, {name, value}, ListKind::kTuple));
    items.push_back({std::move(key), std::move(pair)});
  }
  BRAID_RETURN_IF_ERROR(Sort(call.budget, items, args.Flag(2, false)));
  return Values(call.budget, std::move(items));
}

absl::StatusOr<Value> Unique(const FilterCall& call) {
  BRAID_ASSIGN_OR_RETURN(const Bound args,
                         call.Bind({"case_sensitive", "attribute"}));
  BRAID_ASSIGN_OR_RETURN(std::vector<Keyed> items,
                         KeyAll(call, args[1], args.Flag(0, false)));
  std::vector<Keyed> kept;
  for (Keyed& item : items) {
    BRAID_RETURN_IF_ERROR(call.budget.Step(kept.size() * item.key.weight()));
    if (std::none_of(kept.begin(), kept.end(), [&](const Keyed& other) {
          return Equal(other.key, item.key);
        })) {
      kept.push_back(std::move(item));
    }
  }
  std::vector<Value> values;
  for (Keyed& item : kept) values.push_back(std::move(item.value));
  return MakeList(call.budget, std::move(values), ListKind::kIterator);
}

absl::StatusOr<Value> MinMax(const FilterCall& call) {
  BRAID_ASSIGN_OR_RETURN(const Bound args,
                         call.Bind({"case_sensitive", "attribute"}));
  BRAID_ASSIGN_OR_RETURN(std::vector<Keyed> items,
                         KeyAll(call, args[1], args.Flag(0, false)));
  if (items.empty()) {
    return Value(Undefined{"no aggregated item, sequence was empty"});
  }
  const Keyed* best = &items[0];
  for (const Keyed& item : items) {
    BRAID_RETURN_IF_ERROR(call.budget.Step(item.key.weight()));
    BRAID_ASSIGN_OR_RETURN(const int sign, Compare(item.key, best->key));
    if (call.name == "min" ? sign < 0 : sign > 0) best = &item;
  }
  return best->value;
}

absl::StatusOr<Value> Sum(const FilterCall& call) {
  BRAID_ASSIGN_OR_RETURN(const Bound args, call.Bind({"attribute", "start"}));
  Value sum = args[1] == nullptr ? Value(int64_t{0}) : *args[1];
  if (sum.text() != nullptr) return Error("sum can not add strings; use join");
  BRAID_ASSIGN_OR_RETURN(std::vector<Value> items,
                         Iterate(call.budget, call.input));
  for (Value& item : items) {
    if (args[0] != nullptr && !args[0]->is_none()) {
      BRAID_ASSIGN_OR_RETURN(item, Dig(call.budget, item, *args[0]));
    }
    BRAID_ASSIGN_OR_RETURN(sum, Arithmetic(call.budget, "+", sum, item));
  }
  return sum;
}

absl::StatusOr<Value> LengthFilter(const FilterCall& call) {
  BRAID_RETURN_IF_ERROR(call.Bind({}).status());
  BRAID_RETURN_IF_ERROR(
      call.budget.Step(call.input.text() == nullptr ? 0 : call.input.weight()));
  BRAID_ASSIGN_OR_RETURN(const int64_t length, Length(call.input));
  return Value(length);
}

absl::StatusOr<Value> ListFilter(const FilterCall& call) {
  BRAID_RETURN_IF_ERROR(call.Bind({}).status());
  BRAID_ASSIGN_OR_RETURN(std::vector<Value> items,
                         Iterate(call.budget, call.input));
  return MakeList(call.budget, std::move(items));
}

absl::StatusOr<Value> Reverse(const FilterCall& call) {
  BRAID_RETURN_IF_ERROR(call.Bind({}).status());
  if (call.input.text() != nullptr) {
    const Value back(int64_t{-1});
    return Slice(call.budget, call.input, nullptr, nullptr, &back);
  }
  BRAID_ASSIGN_OR_RETURN(std::vector<Value> items,
                         Iterate(call.budget, call.input));
  std::reverse(items.begin(), items.end());
  return MakeList(call.budget, std::move(items), ListKind::kIterator);
}

absl::StatusOr<Value> FirstLast(const FilterCall& call) {
  BRAID_RETURN_IF_ERROR(call.Bind({}).status());
  const bool first = call.name == "first";
  const bool iterator = call.input.list() != nullptr &&
                        call.input.list()->kind == ListKind::kIterator;
  if (!first && iterator) {
    return Error("last needs a sequence");
  }
  if (call.input.list() != nullptr && !call.input.list()->items.empty()) {
    const std::vector<Value>& items = call.input.list()->items;
    return first ? items.front() : items.back();
  }
  BRAID_ASSIGN_OR_RETURN(std::vector<Value> items,
                         Iterate(call.budget, call.input));
  if (items.empty()) {
    return Value(Undefined{"no " + call.name + " item, sequence was empty"});
  }
  return first ? items.front() : items.back();
}

absl::StatusOr<Value> JoinFilter(const FilterCall& call) {
  BRAID_ASSIGN_OR_RETURN(const Bound args, call.Bind({"d", "attribute"}));
  Text separator;
  if (args[0] != nullptr) {
    BRAID_ASSIGN_OR_RETURN(separator, Str(call.budget, *args[0]));
  }
  BRAID_ASSIGN_OR_RETURN(std::vector<Value> items,
                         Iterate(call.budget, call.input));
  std::vector<Text> parts;
  for (Value& item : items) {
    if (args[1] != nullptr && !args[1]->is_none()) {
      BRAID_ASSIGN_OR_RETURN(item, Dig(call.budget, item, *args[1]));
    }
    BRAID_ASSIGN_OR_RETURN(parts.emplace_back(), Str(call.budget, item));
  }
  BRAID_ASSIGN_OR_RETURN(Text out, Join(call.budget, separator, parts));
  return Value(std::move(out));
}

absl::StatusOr<Value> ItemsFilter(const FilterCall& call) {
  BRAID_RETURN_IF_ERROR(call.Bind({}).status());
  std::vector<Value> pairs;
  if (!call.input.is_undefined()) {
    if (call.input.dict() == nullptr) return Error("items needs a dict");
    for (const auto& [key, value] : call.input.dict()->items) {
      BRAID_ASSIGN_OR_RETURN(
          pairs.emplace_back(),
          MakeList(call.budget, {key, value}, ListKind::kTuple));
    }
  }
  return MakeList(call.budget, std::move(pairs), ListKind::kIterator);
}

absl::StatusOr<Value> Default(const FilterCall& call) {
  BRAID_ASSIGN_OR_RETURN(const Bound args,
                         call.Bind({"default_value", "boolean"}));
  const bool replace =
      call.input.is_undefined() || (args.Flag(1, false) && !Truthy(call.input));
  if (!replace) return call.input;
  return args[0] == nullptr ? Value(Text()) : *args[0];
}

absl::StatusOr<Value> Attr(const FilterCall& call) {
  BRAID_ASSIGN_OR_RETURN(const Bound args, call.Bind({"name"}, 1));
  BRAID_ASSIGN_OR_RETURN(const Text* name, args.String(0));
  if (name == nullptr) return Error("attr needs a name");
  if (call.input.dict() != nullptr &&
      call.input.dict()->Find(name->bytes()) != nullptr) {
    // attr looks at attributes alone, and a dict's items are none.
    return Value(Undefined{"a dict has no attribute '" + name->bytes() + "'"});
  }
  return Attribute(call.budget, call.input, name->bytes());
}

// What map and select go over. Jinja asks whether there is anything first, so
// 0 and none count as empty.
absl::StatusOr<std::vector<Value>> IterateIfAny(const FilterCall& call) {
  if (!Truthy(call.input)) return std::vector<Value>();
  return Iterate(call.budget, call.input);
}

// The first positional arguments taken off.
Arguments Rest(const Arguments& arguments, size_t taken) {
  Arguments rest = arguments;
  rest.positional.erase(
      rest.positional.begin(),
      rest.positional.begin() + static_cast<std::ptrdiff_t>(taken));
  return rest;
}

absl::StatusOr<Value> Map(const FilterCall& call) {
  BRAID_ASSIGN_OR_RETURN(std::vector<Value> items, IterateIfAny(call));
  std::vector<Value> results;
  if (call.arguments.positional.empty()) {
    BRAID_ASSIGN_OR_RETURN(const Bound args,
                           call.Bind({"attribute", "default"}, 1));
    for (const Value& item : items) {
      BRAID_ASSIGN_OR_RETURN(results.emplace_back(),
                             Dig(call.budget, item, *args[0], args[1]));
    }
  } else {
    const Text* filter = call.arguments.positional[0].text();
    if (filter == nullptr) return Error("map needs the name of a filter");
    const Arguments rest = Rest(call.arguments, 1);
    for (const Value& item : items) {
      BRAID_ASSIGN_OR_RETURN(
          results.emplace_back(),
          ApplyFilter(call.budget, filter->bytes(), item, rest));
    }
  }
  return MakeList(call.budget, std::move(results), ListKind::kIterator);
}

// select, reject, selectattr and rejectattr.
absl::StatusOr<Value> Select(const FilterCall& call) {
  const bool by_attribute = call.name.ends_with("attr");
  const bool wanted = call.name.starts_with("select");
  const auto& positional = call.arguments.positional;
  const size_t first = by_attribute ? 1 : 0;
  if (positional.size() < first)
    return Error(call.name + " needs an attribute");
  const Text* test = nullptr;
  Arguments rest;
  if (positional.size() > first) {
    test = positional[first].text();
    if (test == nullptr) return Error(call.name + " needs the name of a test");
    rest = Rest(call.arguments, first + 1);
  }
  BRAID_ASSIGN_OR_RETURN(std::vector<Value> items, IterateIfAny(call));
  std::vector<Value> kept;
  for (Value& item : items) {
    Value subject = item;
    if (by_attribute) {
      BRAID_ASSIGN_OR_RETURN(subject, Dig(call.budget, item, positional[0]));
    }
    bool passed = false;
    if (test == nullptr) {
      passed = Truthy(subject);
    } else {
      BRAID_ASSIGN_OR_RETURN(
          passed, ApplyTest(call.budget, test->bytes(), subject, rest));
    }
    if (passed == wanted) kept.push_back(std::move(item));
  }
  return MakeList(call.budget, std::move(kept), ListKind::kIterator);
}

absl::StatusOr<Value> Batch(const FilterCall& call) {
  BRAID_ASSIGN_OR_RETURN(const Bound args,
                         call.Bind({"linecount", "fill_with"}, 1));
  BRAID_ASSIGN_OR_RETURN(const int64_t size, args.Integer(0, 0));
  if (size < 1 || size > 1000) return Error("batch: the size is 1 to 1000");
  BRAID_ASSIGN_OR_RETURN(std::vector<Value> items,
                         Iterate(call.budget, call.input));
  std::vector<Value> batches, batch;
  for (size_t i = 0; i < items.size(); ++i) {
    batch.push_back(std::move(items[i]));
    const bool last = i + 1 == items.size();
    while (last && args[1] != nullptr && !args[1]->is_none() &&
           static_cast<int64_t>(batch.size()) < size) {
      batch.push_back(*args[1]);
    }
    if (!last && static_cast<int64_t>(batch.size()) < size) continue;
    BRAID_ASSIGN_OR_RETURN(batches.emplace_back(),
                           MakeList(call.budget, std::move(batch)));
    batch.clear();
  }
  return MakeList(call.budget, std::move(batches), ListKind::kIterator);
}

}  // namespace

void AddSequenceFilters(std::map<std::string, FilterFunction>& filters) {
  filters["length"] = LengthFilter;
  filters["count"] = LengthFilter;
  filters["list"] = ListFilter;
  filters["first"] = FirstLast;
  filters["last"] = FirstLast;
  filters["reverse"] = Reverse;
  filters["join"] = JoinFilter;
  filters["items"] = ItemsFilter;
  filters["sort"] = SortFilter;
  filters["dictsort"] = DictSort;
  filters["unique"] = Unique;
  filters["min"] = MinMax;
  filters["max"] = MinMax;
  filters["sum"] = Sum;
  filters["map"] = Map;
  filters["select"] = Select;
  filters["reject"] = Select;
  filters["selectattr"] = Select;
  filters["rejectattr"] = Select;
  filters["batch"] = Batch;
  filters["default"] = Default;
  filters["d"] = Default;
  filters["attr"] = Attr;
}

}  // namespace braid::jinja
