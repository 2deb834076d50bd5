#include "model/sha256.h"

#include <algorithm>
#include <memory>

#include <openssl/evp.h>

#include "absl/strings/escaping.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "model/mapped_file.h"

namespace braid {
namespace {

constexpr size_t kDigits = 64;

}  // namespace

absl::StatusOr<std::string> Sha256OfFiles(std::span<const std::string> paths) {
  const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context(
      EVP_MD_CTX_new(), EVP_MD_CTX_free);
  BRAID_CHECK(context != nullptr);
  BRAID_CHECK(EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) == 1);
  for (const std::string& path : paths) {
    BRAID_ASSIGN_OR_RETURN(const auto file, MappedFile::Open(path));
    const std::span<const std::byte> bytes = file->bytes();
    BRAID_CHECK(EVP_DigestUpdate(context.get(), bytes.data(), bytes.size()) ==
                1);
  }
  std::string sum(kDigits / 2, '\0');
  BRAID_CHECK(EVP_DigestFinal_ex(context.get(),
                                 reinterpret_cast<unsigned char*>(sum.data()),
                                 nullptr) == 1);
  return absl::BytesToHexString(sum);
}

bool IsSha256(const std::string& text) {
  return text.size() == kDigits && std::ranges::all_of(text, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

}  // namespace braid
