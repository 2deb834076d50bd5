#include "simulator/gpu/csv_table.h"

#include <cmath>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

namespace braid::gpu {
namespace {

constexpr char kText[] = "# a comment\na,b\n1,x\r\n\n2,\n";

std::string Temporary(const std::string& name) {
  return testing::TempDir() + "/csv_table_test_" + name;
}

void WriteGz(const std::string& path, const std::string& text) {
  gzFile file = gzopen(path.c_str(), "wb");
  ASSERT_NE(file, nullptr);
  ASSERT_EQ(gzwrite(file, text.data(), text.size()),
            static_cast<int>(text.size()));
  ASSERT_EQ(gzclose(file), Z_OK);
}

void ExpectText(const CsvTable& table) {
  EXPECT_THAT(table.header, testing::ElementsAre("a", "b"));
  ASSERT_EQ(table.rows.size(), 2u);
  EXPECT_THAT(table.rows[0], testing::ElementsAre("1", "x"));
  EXPECT_THAT(table.rows[1], testing::ElementsAre("2", ""));
  EXPECT_EQ(table.Column("b"), 1);
  EXPECT_EQ(table.Column("c"), -1);
}

TEST(ReadCsv, PlainAndCompressedAreTheSame) {
  const std::string plain = Temporary("plain.csv");
  std::ofstream(plain) << kText;
  const auto from_plain = ReadCsv(plain);
  ASSERT_TRUE(from_plain.ok()) << from_plain.status();
  ExpectText(*from_plain);

  const std::string compressed = Temporary("small.csv.gz");
  WriteGz(compressed, kText);
  const auto from_gz = ReadCsv(compressed);
  ASSERT_TRUE(from_gz.ok()) << from_gz.status();
  ExpectText(*from_gz);
}

TEST(ReadCsv, SaysWhatIsWrong) {
  EXPECT_THAT(std::string(ReadCsv("/nowhere/x.csv").status().message()),
              testing::HasSubstr("/nowhere/x.csv"));
  EXPECT_THAT(std::string(ParseCsv("a,b\n1\n").status().message()),
              testing::HasSubstr("line 2 has 1 fields, the header 2"));
  EXPECT_FALSE(ParseCsv("").ok());

  // Half a compressed file is not a shorter table.
  std::string text = "a,b\n";
  for (int i = 0; i < 20000; ++i) {
    text += std::to_string(i * 7919) + "," + std::to_string(i * i) + "\n";
  }
  const std::string whole = Temporary("whole.csv.gz");
  WriteGz(whole, text);
  std::ifstream in(whole, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(in)), {});
  const std::string half = Temporary("half.csv.gz");
  std::ofstream(half, std::ios::binary) << bytes.substr(0, bytes.size() / 2);
  EXPECT_FALSE(ReadCsv(half).ok());
}

TEST(CsvNumber, IsNanWhenItIsNone) {
  EXPECT_EQ(CsvNumber("2039e9"), 2039e9);
  EXPECT_TRUE(std::isnan(CsvNumber("")));
  EXPECT_TRUE(std::isnan(CsvNumber("x")));
}

}  // namespace
}  // namespace braid::gpu
