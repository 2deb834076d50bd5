#include "model/jinja/value.h"

#include <algorithm>
#include <cmath>

#include "base/status_macros.h"
#include "model/jinja/unicode.h"

namespace braid::jinja {
namespace {

// Python's lists and tuples are hashed by content; of those only tuples of
// hashable values may be keys.
bool Hashable(const Value& value) {
  if (value.dict() != nullptr) return false;
  const List* list = value.list();
  if (list == nullptr) return true;
  return list->kind == ListKind::kTuple &&
         std::all_of(list->items.begin(), list->items.end(), Hashable);
}

// Keys other than strings are found by looking at each.
constexpr size_t kMaxOtherKeys = 256;

absl::Status CheckExtent(int depth, size_t weight) {
  if (depth > Budget::kMaxValueDepth) {
    return absl::ResourceExhaustedError("values nest too deeply (100)");
  }
  if (weight > Budget::kMaxWeight) {
    return absl::ResourceExhaustedError("a value of more than 4000000 parts");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Error(const std::string& message) {
  return absl::InvalidArgumentError(message);
}

const Value* Dict::Find(const Value& key) const {
  if (key.text() != nullptr) return Find(key.text()->bytes());
  for (const auto& [name, value] : items) {
    if (Equal(name, key)) return &value;
  }
  return nullptr;
}

const Value* Dict::Find(std::string_view key) const {
  const auto place = places.find(key);
  return place == places.end() ? nullptr : &items[place->second].second;
}

bool Value::AsInteger(int64_t* out) const {
  if (const bool* b = boolean()) {
    *out = *b ? 1 : 0;
    return true;
  }
  const int64_t* i = std::get_if<int64_t>(&rep_);
  if (i != nullptr) *out = *i;
  return i != nullptr;
}

bool Value::AsReal(double* out) const {
  int64_t integer = 0;
  if (AsInteger(&integer)) {
    *out = static_cast<double>(integer);
    return true;
  }
  const double* d = std::get_if<double>(&rep_);
  if (d != nullptr) *out = *d;
  return d != nullptr;
}

bool Value::Same(const Value& other) const {
  if (rep_.index() != other.rep_.index()) return false;
  if (is_none()) return true;
  if (text() != nullptr) return text() == other.text();
  if (list() != nullptr) return list() == other.list();
  if (dict() != nullptr) return dict() == other.dict();
  return Equal(*this, other);
}

int Value::depth() const {
  if (list() != nullptr) return list()->depth;
  if (dict() != nullptr) return dict()->depth;
  if (method() != nullptr) return 1 + method()->self.depth();
  if (loop() != nullptr) return 1 + loop()->items->depth;
  return 0;
}

size_t Value::weight() const {
  if (list() != nullptr) return list()->weight;
  if (dict() != nullptr) return dict()->weight;
  if (text() != nullptr) return 1 + text()->size() / 32;
  return 1;
}

const char* Value::type_name() const {
  if (is_undefined()) return "Undefined";
  if (is_none()) return "NoneType";
  if (boolean() != nullptr) return "bool";
  if (is_integer()) return "int";
  if (is_real()) return "float";
  if (text() != nullptr) return "str";
  if (dict() != nullptr) return "dict";
  if (name_space() != nullptr) return "namespace";
  if (loop() != nullptr) return "LoopContext";
  if (const List* l = list()) {
    if (l->kind == ListKind::kTuple) return "tuple";
    return l->kind == ListKind::kList ? "list" : "generator";
  }
  return macro() != nullptr ? "Macro" : "function";
}

absl::StatusOr<Value> MakeList(Budget& budget, std::vector<Value> items,
                               ListKind kind) {
  BRAID_RETURN_IF_ERROR(budget.Elements(items.size()));
  auto list = std::make_shared<List>();
  for (const Value& item : items) {
    list->depth = std::max(list->depth, 1 + item.depth());
    list->weight += item.weight();
  }
  BRAID_RETURN_IF_ERROR(CheckExtent(list->depth, list->weight));
  list->items = std::move(items);
  list->kind = kind;
  return Value(std::shared_ptr<const List>(std::move(list)));
}

absl::StatusOr<Value> MakeDict(Budget& budget,
                               std::vector<std::pair<Value, Value>> items) {
  BRAID_RETURN_IF_ERROR(budget.Elements(items.size()));
  auto dict = std::make_shared<Dict>();
  for (auto& [key, value] : items) {
    if (!Hashable(key)) {
      return Error(std::string("unhashable type: '") + key.type_name() + "'");
    }
    dict->depth = std::max({dict->depth, 1 + key.depth(), 1 + value.depth()});
    dict->weight += key.weight() + value.weight();
    if (const Value* old = dict->Find(key)) {
      // Find looks into dict->items, which this function owns.
      *const_cast<Value*>(old) = std::move(value);
      continue;
    }
    const size_t place = dict->items.size();
    if (key.text() != nullptr) {
      dict->places.emplace(key.text()->bytes(), place);
    } else if (place - dict->places.size() >= kMaxOtherKeys) {
      return absl::ResourceExhaustedError(
          "a dict with more than 256 keys that are not strings");
    }
    dict->items.emplace_back(std::move(key), std::move(value));
  }
  BRAID_RETURN_IF_ERROR(CheckExtent(dict->depth, dict->weight));
  return Value(std::shared_ptr<const Dict>(std::move(dict)));
}

bool Truthy(const Value& value) {
  double number = 0;
  if (value.AsReal(&number)) return number != 0;
  if (value.text() != nullptr) return !value.text()->empty();
  if (const List* list = value.list()) {
    return list->kind == ListKind::kIterator || !list->items.empty();
  }
  if (value.dict() != nullptr) return !value.dict()->items.empty();
  return !value.is_none() && !value.is_undefined();
}

bool Equal(const Value& a, const Value& b) {
  int64_t i = 0, j = 0;
  if (a.AsInteger(&i) && b.AsInteger(&j)) return i == j;
  double x = 0, y = 0;
  if (a.AsReal(&x) && b.AsReal(&y)) return x == y;
  if (a.text() != nullptr && b.text() != nullptr) {
    return a.text()->bytes() == b.text()->bytes();
  }
  if (a.list() != nullptr && b.list() != nullptr) {
    if (a.list()->kind != b.list()->kind) return false;
    return a.list() == b.list() ||
           std::equal(a.list()->items.begin(), a.list()->items.end(),
                      b.list()->items.begin(), b.list()->items.end(), Equal);
  }
  if (a.dict() != nullptr && b.dict() != nullptr) {
    if (a.dict() == b.dict()) return true;
    if (a.dict()->items.size() != b.dict()->items.size()) return false;
    for (const auto& [key, value] : a.dict()->items) {
      const Value* other = b.dict()->Find(key);
      if (other == nullptr || !Equal(value, *other)) return false;
    }
    return true;
  }
  if (a.name_space() != nullptr) return a.name_space() == b.name_space();
  if (a.macro() != nullptr) return a.macro() == b.macro();
  if (a.loop() != nullptr) return a.loop() == b.loop();
  if (a.function() != nullptr && b.function() != nullptr) {
    return *a.function() == *b.function();
  }
  return (a.is_none() && b.is_none()) || (a.is_undefined() && b.is_undefined());
}

absl::StatusOr<int> Compare(const Value& a, const Value& b) {
  const auto sign = [](const auto& x, const auto& y) {
    return x < y ? -1 : x > y ? 1 : 0;
  };
  int64_t i = 0, j = 0;
  if (a.AsInteger(&i) && b.AsInteger(&j)) return sign(i, j);
  double x = 0, y = 0;
  if (a.AsReal(&x) && b.AsReal(&y)) return sign(x, y);
  if (a.text() != nullptr && b.text() != nullptr) {
    // In UTF-8, the order of bytes is that of code points.
    return sign(a.text()->bytes(), b.text()->bytes());
  }
  if (a.list() != nullptr && b.list() != nullptr &&
      a.list()->kind == b.list()->kind &&
      a.list()->kind != ListKind::kIterator) {
    const auto& left = a.list()->items;
    const auto& right = b.list()->items;
    for (size_t k = 0; k < std::min(left.size(), right.size()); ++k) {
      if (!Equal(left[k], right[k])) return Compare(left[k], right[k]);
    }
    return sign(left.size(), right.size());
  }
  for (const Value* side : {&a, &b}) {
    if (side->is_undefined()) return Error(side->undefined()->what);
  }
  return Error(std::string("no order between '") + a.type_name() + "' and '" +
               b.type_name() + "'");
}

absl::StatusOr<std::vector<Value>> Iterate(Budget& budget, const Value& value) {
  std::vector<Value> items;
  if (const List* list = value.list()) {
    BRAID_RETURN_IF_ERROR(budget.Elements(list->items.size()));
    return list->items;
  }
  if (const Dict* dict = value.dict()) {
    BRAID_RETURN_IF_ERROR(budget.Elements(dict->items.size()));
    for (const auto& [key, member] : dict->items) items.push_back(key);
    return items;
  }
  if (const Text* text = value.text()) {
    BRAID_RETURN_IF_ERROR(budget.Elements(text->size()));
    for (size_t i = 0; i < text->size();) {
      const size_t length = CharacterAt(text->bytes(), i).length;
      items.emplace_back(text->Slice(i, i + length));
      i += length;
    }
    return items;
  }
  if (value.is_undefined()) return items;
  return Error(std::string("'") + value.type_name() +
               "' object is not iterable");
}

absl::StatusOr<int64_t> Length(const Value& value) {
  if (const Text* text = value.text()) {
    return static_cast<int64_t>(CountCharacters(text->bytes()));
  }
  const List* list = value.list();
  if (list != nullptr && list->kind != ListKind::kIterator) {
    return static_cast<int64_t>(list->items.size());
  }
  if (value.dict() != nullptr) {
    return static_cast<int64_t>(value.dict()->items.size());
  }
  if (value.loop() != nullptr) {
    return static_cast<int64_t>(value.loop()->items->items.size());
  }
  if (value.is_undefined()) return 0;
  return Error(std::string("object of type '") + value.type_name() +
               "' has no len()");
}

}  // namespace braid::jinja
