#include "model/jinja/operators.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/status_macros.h"
#include "model/jinja/format.h"
#include "model/jinja/methods.h"
#include "model/jinja/unicode.h"

namespace braid::jinja {
namespace {

absl::Status Overflow() { return Error("the integer does not fit 64 bits"); }

// Errors for what Python refuses with a TypeError.
absl::Status Unsupported(std::string_view op, const Value& left,
                         const Value& right) {
  for (const Value* side : {&left, &right}) {
    if (side->is_undefined()) return Error(side->undefined()->what);
  }
  return Error("unsupported operand types for " + std::string(op) + ": '" +
               left.type_name() + "' and '" + right.type_name() + "'");
}

absl::StatusOr<Value> IntegerPower(int64_t base, int64_t exponent) {
  if (exponent < 0) {
    if (base == 0) return Error("0 to a negative power");
    return Value(
        std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
  if (base == 0 || base == 1) return Value(exponent == 0 ? int64_t{1} : base);
  if (base == -1) return Value(exponent % 2 == 0 ? int64_t{1} : int64_t{-1});
  int64_t result = 1;
  for (int64_t i = 0; i < exponent; ++i) {  // ends by overflow after 63 turns
    if (__builtin_mul_overflow(result, base, &result)) return Overflow();
  }
  return Value(result);
}

absl::StatusOr<Value> Integers(std::string_view op, int64_t a, int64_t b) {
  int64_t result = 0;
  if (op == "+") {
    if (__builtin_add_overflow(a, b, &result)) return Overflow();
  } else if (op == "-") {
    if (__builtin_sub_overflow(a, b, &result)) return Overflow();
  } else if (op == "*") {
    if (__builtin_mul_overflow(a, b, &result)) return Overflow();
  } else if (op == "**") {
    return IntegerPower(a, b);
  } else if (b == 0) {
    return Error("division by zero");
  } else if (op == "/") {
    return Value(static_cast<double>(a) / static_cast<double>(b));
  } else if (b == -1) {  // the one division that can overflow
    if (op == "%") return Value(int64_t{0});
    if (__builtin_sub_overflow(int64_t{0}, a, &result)) return Overflow();
  } else {
    const int64_t remainder = a % b;
    const bool adjust = remainder != 0 && (remainder < 0) != (b < 0);
    result =
        op == "//" ? a / b - (adjust ? 1 : 0) : remainder + (adjust ? b : 0);
  }
  return Value(result);
}

absl::StatusOr<Value> Reals(std::string_view op, double a, double b) {
  if (op == "+") return Value(a + b);
  if (op == "-") return Value(a - b);
  if (op == "*") return Value(a * b);
  if (op == "**") {
    const double power = std::pow(a, b);
    if (a == 0 && b < 0) return Error("0 to a negative power");
    if (std::isnan(power) && !std::isnan(a) && !std::isnan(b)) {
      return Error("the power is a complex number");
    }
    if (std::isinf(power) && std::isfinite(a) && std::isfinite(b)) {
      return Error("the power is out of range");
    }
    return Value(power);
  }
  if (b == 0) return Error("division by zero");
  if (op == "/") return Value(a / b);
  double remainder = std::fmod(a, b);
  if (remainder != 0 && (remainder < 0) != (b < 0)) remainder += b;
  if (op == "%")
    return Value(remainder == 0 ? std::copysign(0.0, b) : remainder);
  const double quotient = (a - remainder) / b;
  double whole = std::floor(quotient);
  if (quotient - whole > 0.5) whole += 1;
  return Value(quotient == 0 ? std::copysign(0.0, a / b) : whole);
}

absl::StatusOr<Value> Repeat(Budget& budget, const Value& sequence,
                             int64_t times) {
  times = std::max<int64_t>(times, 0);
  if (const Text* text = sequence.text()) {
    if (text->empty()) return sequence;
    if (times > static_cast<int64_t>(Budget::kMaxBytes)) {
      return budget.Bytes(Budget::kMaxBytes + 1);
    }
    BRAID_RETURN_IF_ERROR(
        budget.Bytes(text->size() * static_cast<size_t>(times)));
    Text out;
    for (int64_t i = 0; i < times; ++i) out.Append(*text);
    return Value(std::move(out));
  }
  const List& list = *sequence.list();
  if (list.items.empty()) return sequence;
  if (times > static_cast<int64_t>(Budget::kMaxElements)) {
    return budget.Elements(Budget::kMaxElements + 1);
  }
  BRAID_RETURN_IF_ERROR(
      budget.Elements(list.items.size() * static_cast<size_t>(times)));
  std::vector<Value> items;
  for (int64_t i = 0; i < times; ++i) {
    items.insert(items.end(), list.items.begin(), list.items.end());
  }
  return MakeList(budget, std::move(items), list.kind);
}

bool IsSequence(const Value& value) {
  return value.text() != nullptr ||
         (value.list() != nullptr && value.list()->kind != ListKind::kIterator);
}

absl::StatusOr<Value> Concatenate(Budget& budget, const Value& left,
                                  const Value& right) {
  if (left.text() != nullptr && right.text() != nullptr) {
    BRAID_RETURN_IF_ERROR(
        budget.Bytes(left.text()->size() + right.text()->size()));
    Text out = *left.text();
    out.Append(*right.text());
    return Value(std::move(out));
  }
  if (IsSequence(left) && left.list() != nullptr && right.list() != nullptr &&
      left.list()->kind == right.list()->kind) {
    std::vector<Value> items = left.list()->items;
    items.insert(items.end(), right.list()->items.begin(),
                 right.list()->items.end());
    return MakeList(budget, std::move(items), left.list()->kind);
  }
  return Unsupported("+", left, right);
}

absl::StatusOr<bool> Contains(Budget& budget, const Value& container,
                              const Value& item) {
  BRAID_RETURN_IF_ERROR(budget.Step(container.weight()));
  if (const Text* text = container.text()) {
    if (item.text() == nullptr) return Unsupported("in", item, container);
    BRAID_RETURN_IF_ERROR(budget.Search(text->size(), item.text()->size()));
    return text->bytes().find(item.text()->bytes()) != std::string::npos;
  }
  if (const List* list = container.list()) {
    return std::any_of(list->items.begin(), list->items.end(),
                       [&](const Value& v) { return Equal(v, item); });
  }
  if (const Dict* dict = container.dict()) {
    if (item.dict() != nullptr ||
        (item.list() != nullptr && item.list()->kind == ListKind::kList)) {
      return Error(std::string("unhashable type: '") + item.type_name() + "'");
    }
    return dict->Find(item) != nullptr;
  }
  if (container.is_undefined()) return false;
  return Error(std::string("argument of type '") + container.type_name() +
               "' is not iterable");
}

Undefined Missing(const Value& value, const std::string& name) {
  return {std::string("'") + value.type_name() + "' has no attribute '" + name +
          "'"};
}

std::optional<Value> LoopAttribute(const Loop& loop, const std::string& name) {
  const auto size = static_cast<int64_t>(loop.items->items.size());
  const auto index = static_cast<int64_t>(loop.index);
  if (name == "index") return Value(index + 1);
  if (name == "index0") return Value(index);
  if (name == "revindex") return Value(size - index);
  if (name == "revindex0") return Value(size - index - 1);
  if (name == "first") return Value(index == 0);
  if (name == "last") return Value(index + 1 == size);
  if (name == "length") return Value(size);
  // Of recursion, which there is none of.
  if (name == "depth") return Value(int64_t{1});
  if (name == "depth0") return Value(int64_t{0});
  if (name == "previtem") {
    if (index == 0) return Value(Undefined{"there is no previous item"});
    return loop.items->items[loop.index - 1];
  }
  if (name == "nextitem") {
    if (index + 1 == size) return Value(Undefined{"there is no next item"});
    return loop.items->items[loop.index + 1];
  }
  return std::nullopt;
}

// An attribute in Python's sense; nothing when `value` has none of that name.
std::optional<Value> FindAttribute(const Value& value,
                                   const std::string& name) {
  if (const Namespace* ns = value.name_space()) {
    for (const auto& [key, member] : ns->attributes) {
      if (key == name) return member;
    }
    return std::nullopt;
  }
  if (value.loop() != nullptr) {
    if (auto found = LoopAttribute(*value.loop(), name)) return found;
  }
  if (!HasMethod(value, name)) return std::nullopt;
  return Value(std::make_shared<const Method>(Method{value, name}));
}

std::optional<Value> FindItem(const Value& value, const Value& key) {
  if (const Dict* dict = value.dict()) {
    const Value* found = dict->Find(key);
    return found == nullptr ? std::nullopt : std::optional<Value>(*found);
  }
  int64_t index = 0;
  if (!IsSequence(value) || !key.AsInteger(&index)) return std::nullopt;
  if (const List* list = value.list()) {
    const auto size = static_cast<int64_t>(list->items.size());
    if (index < 0) index += size;
    if (index < 0 || index >= size) return std::nullopt;
    return list->items[static_cast<size_t>(index)];
  }
  const Text& text = *value.text();
  if (index < 0) {
    index += static_cast<int64_t>(CountCharacters(text.bytes()));
    if (index < 0) return std::nullopt;
  }
  for (size_t i = 0; i < text.size(); --index) {
    const size_t length = CharacterAt(text.bytes(), i).length;
    if (index == 0) return Value(text.Slice(i, i + length));
    i += length;
  }
  return std::nullopt;
}

// Python's slice.indices.
struct Indices {
  int64_t start, stop, step;
};
absl::StatusOr<Indices> SliceIndices(int64_t size, const Value* start,
                                     const Value* stop, const Value* step) {
  const auto bound = [](const Value* value,
                        int64_t missing) -> absl::StatusOr<int64_t> {
    if (value == nullptr || value->is_none()) return missing;
    int64_t result = 0;
    if (value->AsInteger(&result)) return result;
    if (value->is_undefined()) return Error(value->undefined()->what);
    return Error("slice indices must be integers");
  };
  Indices indices{};
  BRAID_ASSIGN_OR_RETURN(indices.step, bound(step, 1));
  if (indices.step == 0) return Error("slice step cannot be zero");
  // Steps beyond the size all do the same, and cannot overflow below.
  indices.step = std::clamp(indices.step, -(size + 1), size + 1);
  const bool back = indices.step < 0;
  const int64_t low = back ? -1 : 0;
  const int64_t high = back ? size - 1 : size;
  const auto place = [&](int64_t i) {
    if (i < 0) i = i < -size ? low : i + size;
    return std::clamp(i, low, high);
  };
  BRAID_ASSIGN_OR_RETURN(int64_t from, bound(start, back ? INT64_MAX : 0));
  indices.start = place(from);
  if (stop == nullptr || stop->is_none()) {
    indices.stop = back ? -1 : size;
  } else {
    BRAID_ASSIGN_OR_RETURN(const int64_t to, bound(stop, 0));
    indices.stop = place(to);
  }
  return indices;
}

}  // namespace

absl::StatusOr<Value> Arithmetic(Budget& budget, std::string_view op,
                                 const Value& left, const Value& right) {
  if (op == "~") {
    BRAID_ASSIGN_OR_RETURN(Text out, Str(budget, left));
    BRAID_ASSIGN_OR_RETURN(const Text tail, Str(budget, right));
    BRAID_RETURN_IF_ERROR(budget.Bytes(out.size() + tail.size()));
    out.Append(tail);
    return Value(std::move(out));
  }
  int64_t i = 0, j = 0;
  const bool left_integer = left.AsInteger(&i);
  const bool right_integer = right.AsInteger(&j);
  if (left_integer && right_integer) return Integers(op, i, j);
  double x = 0, y = 0;
  if (left.AsReal(&x) && right.AsReal(&y)) return Reals(op, x, y);
  if (op == "+") return Concatenate(budget, left, right);
  if (op == "*" && IsSequence(left) && right_integer) {
    return Repeat(budget, left, j);
  }
  if (op == "*" && IsSequence(right) && left_integer) {
    return Repeat(budget, right, i);
  }
  if (op == "%" && left.text() != nullptr) {
    const List* list = right.list();
    const bool tuple = list != nullptr && list->kind == ListKind::kTuple;
    // Whatever could be a mapping of names may stay unused.
    const bool mapping =
        !tuple &&
        (list != nullptr || right.dict() != nullptr || right.is_undefined());
    BRAID_ASSIGN_OR_RETURN(
        Text out, PercentFormat(budget, *left.text(),
                                tuple ? list->items : std::vector<Value>{right},
                                mapping));
    return Value(std::move(out));
  }
  return Unsupported(op, left, right);
}

absl::StatusOr<Value> Negate(const Value& value) {
  int64_t integer = 0, result = 0;
  double real = 0;
  if (value.AsInteger(&integer)) {
    if (__builtin_sub_overflow(int64_t{0}, integer, &result)) {
      return Overflow();
    }
    return Value(result);
  }
  if (value.AsReal(&real)) return Value(-real);
  return Unsupported("-", value, value);
}

absl::StatusOr<bool> Relation(Budget& budget, std::string_view op,
                              const Value& left, const Value& right) {
  if (op == "in") return Contains(budget, right, left);
  if (op == "not in") {
    BRAID_ASSIGN_OR_RETURN(const bool in, Contains(budget, right, left));
    return !in;
  }
  BRAID_RETURN_IF_ERROR(budget.Step(std::min(left.weight(), right.weight())));
  if (op == "==") return Equal(left, right);
  if (op == "!=") return !Equal(left, right);
  double x = 0, y = 0;
  if (left.AsReal(&x) && right.AsReal(&y) && (x != x || y != y)) return false;
  BRAID_ASSIGN_OR_RETURN(const int sign, Compare(left, right));
  if (op == "<") return sign < 0;
  if (op == "<=") return sign <= 0;
  if (op == ">") return sign > 0;
  return sign >= 0;
}

absl::StatusOr<Value> Attribute(Budget& budget, const Value& value,
                                const std::string& name) {
  if (value.is_undefined()) return Error(value.undefined()->what);
  BRAID_RETURN_IF_ERROR(budget.Step());
  if (auto found = FindAttribute(value, name)) return *found;
  if (value.dict() != nullptr) {
    if (const Value* item = value.dict()->Find(name)) return *item;
  }
  return Value(Missing(value, name));
}

absl::StatusOr<Value> Item(Budget& budget, const Value& value,
                           const Value& key) {
  if (value.is_undefined()) return Error(value.undefined()->what);
  BRAID_RETURN_IF_ERROR(
      budget.Step(value.text() != nullptr ? value.weight() : 1));
  if (auto found = FindItem(value, key)) return *found;
  if (key.text() != nullptr) {
    if (auto found = FindAttribute(value, key.text()->bytes())) return *found;
    return Value(Missing(value, key.text()->bytes()));
  }
  return Value(
      Undefined{std::string("'") + value.type_name() + "' has no such item"});
}

absl::StatusOr<Value> Slice(Budget& budget, const Value& value,
                            const Value* start, const Value* stop,
                            const Value* step) {
  if (value.is_undefined()) return Error(value.undefined()->what);
  if (!IsSequence(value)) return Value(Undefined{"only sequences have slices"});
  BRAID_RETURN_IF_ERROR(budget.Step(value.weight()));
  const Text* text = value.text();
  std::vector<size_t> places;  // of characters
  if (text != nullptr) {
    for (size_t i = 0; i < text->size();
         i += CharacterAt(text->bytes(), i).length) {
      places.push_back(i);
    }
    places.push_back(text->size());
  }
  const auto size = static_cast<int64_t>(
      text != nullptr ? places.size() - 1 : value.list()->items.size());
  BRAID_ASSIGN_OR_RETURN(const Indices at,
                         SliceIndices(size, start, stop, step));
  std::vector<Value> items;
  Text out;
  for (int64_t i = at.start; at.step > 0 ? i < at.stop : i > at.stop;
       i += at.step) {
    const auto k = static_cast<size_t>(i);
    if (text != nullptr) {
      out.Append(*text, places[k], places[k + 1]);
    } else {
      items.push_back(value.list()->items[k]);
    }
  }
  if (text != nullptr) {
    BRAID_RETURN_IF_ERROR(budget.Bytes(out.size()));
    return Value(std::move(out));
  }
  return MakeList(budget, std::move(items), value.list()->kind);
}

absl::StatusOr<Text> PercentFormat(Budget& budget, const Text& format,
                                   const std::vector<Value>& arguments,
                                   bool may_be_unused) {
  const std::string& bytes = format.bytes();
  Text out;
  size_t used = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] != '%') {
      const size_t end = std::min(bytes.find('%', i), bytes.size());
      out.Append(format, i, end);
      i = end - 1;
      continue;
    }
    const char kind = i + 1 < bytes.size() ? bytes[i + 1] : 0;
    ++i;
    if (kind == '%') {
      out.Append(format, i, i + 1);
      continue;
    }
    if (std::string_view("srdif").find(kind) == std::string_view::npos) {
      return Error("unsupported format character");
    }
    if (used == arguments.size())
      return Error("not enough arguments to format");
    const Value& argument = arguments[used++];
    double real = 0;
    int64_t integer = 0;
    if (kind == 's' || kind == 'r') {
      BRAID_ASSIGN_OR_RETURN(const Text piece, kind == 's'
                                                   ? Str(budget, argument)
                                                   : Repr(budget, argument));
      out.Append(piece);
    } else if (!argument.AsReal(&real)) {
      return Error("%d needs a number");
    } else if (kind == 'f') {
      char buffer[400];
      std::snprintf(buffer, sizeof(buffer), "%f", real);
      out.Append(buffer, false);
    } else if (argument.AsInteger(&integer) || std::abs(real) < 9e18) {
      if (argument.is_real()) integer = static_cast<int64_t>(real);
      out.Append(std::to_string(integer), false);
    } else {
      return Overflow();
    }
    BRAID_RETURN_IF_ERROR(budget.Bytes(out.size()));
  }
  if (used < arguments.size() && !may_be_unused) {
    return Error("not all arguments converted during string formatting");
  }
  return out;
}

}  // namespace braid::jinja
