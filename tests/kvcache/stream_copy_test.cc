#include "kvcache/transport/stream_copy.h"

#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

namespace braid {
namespace {

TEST(StreamCopyTest, CopiesExactlyItsBytesAtAnyAlignmentAndSize) {
  std::vector<std::byte> from(512), to(512);
  for (size_t i = 0; i < from.size(); ++i) from[i] = std::byte(i * 37 + 1);
  for (size_t offset : {0, 1, 8, 16, 33}) {
    for (size_t size : {0, 1, 63, 64, 65, 128, 200, 256}) {
      to.assign(to.size(), std::byte{0xEE});
      StreamCopy(std::span(to).subspan(offset, size),
                 std::span(from).subspan(offset / 2, size));
      for (size_t i = 0; i < to.size(); ++i) {
        const bool inside = i >= offset && i < offset + size;
        ASSERT_EQ(to[i],
                  inside ? from[offset / 2 + i - offset] : std::byte{0xEE})
            << "offset " << offset << " size " << size << " at " << i;
      }
    }
  }
}

}  // namespace
}  // namespace braid
