// CHECK: an assertion about our own code that is on in every build.
//
// A failed CHECK is a defect of Braid, never of its input: it prints where and
// why, and aborts. Trouble that comes from outside is an absl::Status instead.
#pragma once

#include <string_view>

namespace braid {

[[noreturn]] void CheckFailed(const char* file, int line, const char* condition,
                              std::string_view message);

}  // namespace braid

#define BRAID_CHECK(condition)                       \
  (__builtin_expect(static_cast<bool>(condition), 1) \
       ? static_cast<void>(0)                        \
       : ::braid::CheckFailed(__FILE__, __LINE__, #condition, {}))

// With a message that is only built when the condition fails.
#define BRAID_CHECK_MSG(condition, message)          \
  (__builtin_expect(static_cast<bool>(condition), 1) \
       ? static_cast<void>(0)                        \
       : ::braid::CheckFailed(__FILE__, __LINE__, #condition, (message)))
