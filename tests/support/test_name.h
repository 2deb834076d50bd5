// Names for parameters of tests.
#pragma once

#include <cctype>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

namespace braid {

// What GoogleTest takes of the text: letters and digits.
inline std::string TestName(std::string_view text) {
  std::string name(text);
  std::erase_if(name, [](unsigned char c) { return !std::isalnum(c); });
  return name;
}

// For INSTANTIATE_TEST_SUITE_P, of parameters with a ToString.
inline constexpr auto kNameOfParam = [](const auto& info) {
  return TestName(ToString(info.param));
};

}  // namespace braid
