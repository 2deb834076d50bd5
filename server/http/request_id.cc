#include "server/http/request_id.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <random>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace braid::server {
namespace {

uint64_t ProcessSalt() {
  std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

}  // namespace

std::string MakeRequestId() {
  static const uint64_t salt = ProcessSalt();
  static std::atomic<uint64_t> next{1};
  return absl::StrCat(absl::Hex(salt, absl::kZeroPad16),
                      absl::Hex(next.fetch_add(1), absl::kZeroPad16));
}

bool IsRequestId(absl::string_view id) {
  return !id.empty() && id.size() <= 128 &&
         std::all_of(id.begin(), id.end(), [](char c) {
           return absl::ascii_isgraph(static_cast<unsigned char>(c));
         });
}

}  // namespace braid::server
