// Methods of strings, and the pieces of them that filters share. Every result
// is made of slices, so marks stay.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/jinja/value.h"

namespace braid::jinja {

bool HasStringMethod(const std::string& name);
absl::StatusOr<Value> CallStringMethod(Budget& budget, const Text& self,
                                       const std::string& name,
                                       const Arguments& arguments);

// `characters`: what to strip; null: white space.
Text Strip(const Text& text, const Text* characters, bool left, bool right);
Text Upper(const Text& text);
Text Lower(const Text& text);
Text Capitalize(const Text& text);
absl::StatusOr<Text> Replace(Budget& budget, const Text& text, const Text& from,
                             const Text& to, int64_t count);
absl::StatusOr<Text> Join(Budget& budget, const Text& separator,
                          const std::vector<Text>& parts);
std::vector<Text> SplitLines(const Text& text, bool keep_ends);
// str.isupper and str.islower.
bool IsAllUpper(const Text& text);
bool IsAllLower(const Text& text);

}  // namespace braid::jinja
