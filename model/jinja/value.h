// The values of a template: Python's, as far as templates see them.
//
// Lists, dicts and strings are immutable and shared (the sandbox that
// publishers test against forbids changing them too). Only namespaces change;
// they, and macros, belong to the interpreter, so that no cycle of owners can
// arise.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/jinja/budget.h"
#include "model/jinja/text.h"

namespace braid::jinja {

class Value;
struct Macro;   // interpreter.cc
struct Method;  // a method of a value, not yet called
struct Loop;    // the `loop` of a for statement
enum class GlobalFunction { kRange, kNamespace, kDict, kRaise, kStrftime };

struct Undefined {
  std::string what;  // for the error message
};
struct None {};

// Iterators are what filters like map give: no length, no index, always true.
enum class ListKind { kList, kTuple, kIterator };
struct List {
  std::vector<Value> items;
  ListKind kind = ListKind::kList;
  int depth = 1;
  size_t weight = 1;
};
struct Dict {
  std::vector<std::pair<Value, Value>> items;  // in order of insertion
  absl::flat_hash_map<std::string_view, size_t> places;  // of string keys
  int depth = 1;
  size_t weight = 1;
  const Value* Find(const Value& key) const;
  const Value* Find(std::string_view key) const;
};
struct Namespace {
  std::vector<std::pair<std::string, Value>> attributes;
};

class Value {
 public:
  Value() : rep_(None{}) {}
  Value(Undefined u) : rep_(std::move(u)) {}
  Value(bool b) : rep_(b) {}
  Value(int64_t i) : rep_(i) {}
  Value(double d) : rep_(d) {}
  Value(Text text) : rep_(std::make_shared<const Text>(std::move(text))) {}
  // shared_ptr: several values hold one immutable string or collection.
  Value(std::shared_ptr<const List> l) : rep_(std::move(l)) {}
  Value(std::shared_ptr<const Dict> d) : rep_(std::move(d)) {}
  Value(std::shared_ptr<const Method> m) : rep_(std::move(m)) {}
  Value(std::shared_ptr<Loop> l) : rep_(std::move(l)) {}
  Value(Namespace* n) : rep_(n) {}
  Value(const Macro* m) : rep_(m) {}
  Value(GlobalFunction f) : rep_(f) {}
  // Not an implicit bool.
  Value(const char*) = delete;

  // Text of the template itself.
  static Value Literal(std::string text) {
    return Value(Text(std::move(text), false));
  }

  bool is_undefined() const { return Is<Undefined>(); }
  bool is_none() const { return Is<None>(); }
  bool is_number() const { return Is<bool>() || Is<int64_t>() || Is<double>(); }
  bool is_callable() const {
    return Is<std::shared_ptr<const Method>>() || Is<const Macro*>() ||
           Is<GlobalFunction>();
  }
  const Undefined* undefined() const { return std::get_if<Undefined>(&rep_); }
  const bool* boolean() const { return std::get_if<bool>(&rep_); }
  // Integers, and booleans as 0 and 1.
  bool AsInteger(int64_t* out) const;
  // Any number.
  bool AsReal(double* out) const;
  bool is_real() const { return Is<double>(); }
  bool is_integer() const { return Is<int64_t>(); }
  const Text* text() const { return Pointee<const Text>(); }
  const List* list() const { return Pointee<const List>(); }
  // REQUIRES: list() is not null.
  std::shared_ptr<const List> shared_list() const {
    return std::get<std::shared_ptr<const List>>(rep_);
  }
  const Dict* dict() const { return Pointee<const Dict>(); }
  const Method* method() const { return Pointee<const Method>(); }
  Loop* loop() const { return Pointee<Loop>(); }
  Namespace* name_space() const { return Raw<Namespace*>(); }
  const Macro* macro() const { return Raw<const Macro*>(); }
  const GlobalFunction* function() const {
    return std::get_if<GlobalFunction>(&rep_);
  }

  // Same object, for `is sameas`.
  bool Same(const Value& other) const;
  // How deep lists and dicts nest in it.
  int depth() const;
  // How many values it takes to visit all of it; a shared part counts as often
  // as it is reached, so that walking a value is never a surprise.
  size_t weight() const;
  // As Python's type(x).__name__.
  const char* type_name() const;

 private:
  template <typename T>
  bool Is() const {
    return std::holds_alternative<T>(rep_);
  }
  template <typename T>
  T* Pointee() const {
    const auto* p = std::get_if<std::shared_ptr<T>>(&rep_);
    return p == nullptr ? nullptr : p->get();
  }
  template <typename T>
  T Raw() const {
    const auto* p = std::get_if<T>(&rep_);
    return p == nullptr ? nullptr : *p;
  }

  std::variant<None, Undefined, bool, int64_t, double,
               std::shared_ptr<const Text>, std::shared_ptr<const List>,
               std::shared_ptr<const Dict>, std::shared_ptr<const Method>,
               std::shared_ptr<Loop>, Namespace*, const Macro*, GlobalFunction>
      rep_;
};

struct Method {
  Value self;
  std::string name;
};

struct Loop {
  std::shared_ptr<const List> items;
  size_t index = 0;
  std::vector<Value> changed;  // arguments of the last loop.changed()
  bool changed_called = false;
};

// What a call passes.
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

absl::Status Error(const std::string& message);  // INVALID_ARGUMENT

// RESOURCE_EXHAUSTED when too long or too deep.
absl::StatusOr<Value> MakeList(Budget& budget, std::vector<Value> items,
                               ListKind kind = ListKind::kList);
// Of equal keys the last value wins. Keys must be hashable.
absl::StatusOr<Value> MakeDict(Budget& budget,
                               std::vector<std::pair<Value, Value>> items);

bool Truthy(const Value& value);
bool Equal(const Value& a, const Value& b);
// Negative, zero or positive; an error where Python has no order.
absl::StatusOr<int> Compare(const Value& a, const Value& b);
// What iterating gives: elements, keys, characters.
absl::StatusOr<std::vector<Value>> Iterate(Budget& budget, const Value& value);
// len(); an error where Python has none.
absl::StatusOr<int64_t> Length(const Value& value);

}  // namespace braid::jinja
