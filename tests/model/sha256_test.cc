#include "model/sha256.h"

#include <fstream>
#include <vector>

#include <gtest/gtest.h>

namespace braid {
namespace {

std::string FileOf(const std::string& name, const std::string& text) {
  const std::string path = testing::TempDir() + name;
  std::ofstream(path, std::ios::binary) << text;
  return path;
}

// FIPS 180-2, appendix B.
TEST(Sha256Test, IsThatOfTheStandard) {
  const std::vector<std::string> one = {FileOf("sha256_abc", "abc")};
  EXPECT_EQ(*Sha256OfFiles(one),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  const std::vector<std::string> million = {
      FileOf("sha256_million", std::string(1'000'000, 'a'))};
  EXPECT_EQ(*Sha256OfFiles(million),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256Test, OfFilesIsThatOfTheirBytesInOrder) {
  const std::vector<std::string> parts = {FileOf("sha256_a", "a"),
                                          FileOf("sha256_bc", "bc")};
  const std::vector<std::string> whole = {FileOf("sha256_abc2", "abc")};
  EXPECT_EQ(*Sha256OfFiles(parts), *Sha256OfFiles(whole));
}

TEST(Sha256Test, SaysWhichFileIsMissing) {
  const std::vector<std::string> paths = {"/nowhere/weights"};
  const auto sum = Sha256OfFiles(paths);
  EXPECT_EQ(sum.status().code(), absl::StatusCode::kNotFound);
  EXPECT_NE(sum.status().message().find("/nowhere/weights"), std::string::npos);
}

TEST(Sha256Test, KnowsASumWhenItSeesOne) {
  const std::string sum(64, 'a');
  EXPECT_TRUE(IsSha256(sum));
  EXPECT_FALSE(IsSha256(sum + "0"));
  EXPECT_FALSE(IsSha256(sum.substr(1)));
  EXPECT_FALSE(IsSha256(std::string(64, 'A')));
  EXPECT_FALSE(IsSha256(std::string(63, '0') + "g"));
}

}  // namespace
}  // namespace braid
