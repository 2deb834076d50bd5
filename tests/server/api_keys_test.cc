#include "server/api_keys.h"

#include <gtest/gtest.h>

namespace braid::server {
namespace {

TEST(ApiKeysTest, Parses) {
  const auto parsed = [](absl::string_view text) {
    const auto key = ParseApiKey(text);
    return key.ok() ? key->tenant + "|" + key->key : "";
  };
  EXPECT_EQ(parsed("secret"), "default|secret");
  EXPECT_EQ(parsed("team-a=secret"), "team-a|secret");
  EXPECT_EQ(parsed("team-a=se=cret"), "team-a|se=cret");
  EXPECT_EQ(parsed("c2VjcmV0cw=="), "default|c2VjcmV0cw==");
  EXPECT_EQ(parsed("team=c2VjcmV0cw=="), "team|c2VjcmV0cw==");
  for (const char* bad : {"", "=secret", "a b=secret", "two words"}) {
    EXPECT_EQ(parsed(bad), "") << bad;
  }
}

TEST(ApiKeysTest, FindsTheTenant) {
  const ApiKeys keys({{"a", "one"}, {"a", "two"}, {"b", "three"}});
  EXPECT_TRUE(keys.needed());
  ASSERT_TRUE(keys.Find("one").has_value());
  EXPECT_EQ(keys.Find("one")->tenant, keys.Find("two")->tenant);
  EXPECT_EQ(keys.Find("one")->cache_salt, keys.Find("two")->cache_salt);
  EXPECT_NE(keys.Find("one")->tenant, keys.Find("three")->tenant);
  EXPECT_NE(keys.Find("one")->cache_salt, keys.Find("three")->cache_salt);
  for (const char* wrong : {"", "on", "onee", "oneone", "One", "a=one"}) {
    EXPECT_FALSE(keys.Find(wrong).has_value()) << wrong;
  }
  EXPECT_FALSE(ApiKeys().needed());
}

TEST(ApiKeysTest, ACacheCanBeSharedOnPurpose) {
  const ApiKeys keys({{"a", "one"}, {"b", "two"}}, /*share_cache=*/true);
  EXPECT_NE(keys.Find("one")->tenant, keys.Find("two")->tenant);
  EXPECT_EQ(keys.Find("one")->cache_salt, keys.Find("two")->cache_salt);
}

}  // namespace
}  // namespace braid::server
