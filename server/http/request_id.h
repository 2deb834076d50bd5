// Names of requests in logs and headers.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace braid::server {

// 32 hexadecimal digits, different for every call of every process.
std::string MakeRequestId();

// Whether a client's own id may be sent back: 1 to 128 printable characters.
bool IsRequestId(absl::string_view id);

}  // namespace braid::server
