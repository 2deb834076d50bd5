#include "base/ids.h"

#include <type_traits>
#include <unordered_set>

#include <gtest/gtest.h>

namespace braid {
namespace {

static_assert(!std::is_convertible_v<RequestId, TransferId>);
static_assert(!std::is_convertible_v<uint32_t, BlockId>);
static_assert(sizeof(BlockId) == 4);

TEST(StrongIdTest, ComparesAndHashesByValue) {
  EXPECT_EQ(BlockId(3), BlockId(3));
  EXPECT_LT(BlockId(3), BlockId(4));
  std::unordered_set<BlockId> set = {BlockId(1), BlockId(1), BlockId(2)};
  EXPECT_EQ(set.size(), 2u);
}

}  // namespace
}  // namespace braid
