#include "simulator/replay/text_file.h"

#include <cerrno>
#include <cstring>
#include <memory>

#include <zlib.h>

#include "absl/strings/str_cat.h"

namespace braid {

absl::StatusOr<std::string> ReadTextFile(const std::string& path,
                                         uint64_t max_bytes) {
  // gzread reads plain files as they are.
  std::unique_ptr<gzFile_s, int (*)(gzFile)> file(gzopen(path.c_str(), "rb"),
                                                  gzclose);
  if (file == nullptr) {
    return absl::NotFoundError(
        absl::StrCat("cannot open ", path, ": ", std::strerror(errno)));
  }
  constexpr unsigned kPiece = 1 << 18;
  std::string text;
  for (;;) {
    const size_t before = text.size();
    text.resize(before + kPiece);
    const int got = gzread(file.get(), text.data() + before, kPiece);
    if (got < 0) {
      int code = 0;
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": ", gzerror(file.get(), &code)));
    }
    text.resize(before + static_cast<size_t>(got));
    if (text.size() > max_bytes) {
      return absl::InvalidArgumentError(absl::StrCat(
          path, ": more than ", max_bytes >> 20, " MiB when unpacked"));
    }
    if (got == 0) break;
  }
  // A truncated archive ends early without an error of gzread's own.
  int code = Z_OK;
  const char* message = gzerror(file.get(), &code);
  if (code != Z_OK && code != Z_STREAM_END) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", message));
  }
  return text;
}

}  // namespace braid
