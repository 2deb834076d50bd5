// How many operations a random test makes: a small number by default, the long
// form with BRAID_BLOCK_OPERATIONS=10000000 in the environment.
#pragma once

#include <cstdlib>

namespace braid {

inline int RandomOperations(int small) {
  const char* text = std::getenv("BRAID_BLOCK_OPERATIONS");
  return text == nullptr ? small : std::atoi(text);
}

}  // namespace braid
