#include "model/nfc.h"

#include <cstdlib>
#include <string>
#include <vector>

#include <utf8proc.h>

#include "base/rng.h"
#include "gtest/gtest.h"

namespace braid {
namespace {

std::string Utf8procNfc(const std::string& text) {
  utf8proc_uint8_t* composed = nullptr;
  const utf8proc_ssize_t size = utf8proc_map(
      reinterpret_cast<const utf8proc_uint8_t*>(text.data()), text.size(),
      &composed,
      static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  EXPECT_GE(size, 0);
  std::string out(reinterpret_cast<char*>(composed), size);
  std::free(composed);
  return out;
}

TEST(NfcTest, EqualsUtf8proc) {
  const std::vector<std::string> pieces = {
      "a",          "e",          "o",
      " ",          "\u0301",     "\u0302",
      "\u0323",     "\u0308",     "\u0304",
      "\u1112",     "\u1161",     "\u11ab",
      "\ud558",     "\u0344",     "\u2126",
      "\u0958",     "\u0f71",     "\u0f72",
      "\u0f74",     "\u1e9b",     "\ufb01",
      "\u00c5",     "\u09c7",     "\u09be",
      "\U0001d157", "\U0001d165", std::string(1, '\0'),
      "\u4f60"};
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    Rng random(seed);
    std::string text;
    for (uint64_t n = random.Below(14); n > 0; --n) {
      text += pieces[random.Below(pieces.size())];
    }
    const std::string expected = Utf8procNfc(text);
    ASSERT_EQ(ToNfc(text), expected) << "seed " << seed;
    if (!MayNeedNfc(text)) {
      ASSERT_EQ(text, expected);
    }
  }
}

TEST(NfcTest, InvalidBytesStay) {
  EXPECT_EQ(ToNfc("e\u0301\xff\u0301"
                  "e\u0301"),
            "\u00e9\xff\u0301\u00e9");
  EXPECT_EQ(ToNfc("\xe2\x82"), "\xe2\x82");
}

// Marks of one class keep their order, in long runs too.
TEST(NfcTest, OrderOfMarksIsStable) {
  std::string text = "x";
  for (int i = 0; i < 40; ++i) text += i % 3 ? "\u0308\u0302\u0323" : "\u0301";
  EXPECT_EQ(ToNfc(text), Utf8procNfc(text));
}

// 300,000 marks in the worst order: exchanging neighbours would take minutes.
TEST(NfcTest, LongRunsOfMarks) {
  std::string text = "a";
  for (int i = 0; i < 150000; ++i) text += "\u0308\u0323";
  const std::string composed = ToNfc(text);
  EXPECT_EQ(composed.substr(0, 6),
            "\u1ea1\u0323"
            "\xcc");
}

}  // namespace
}  // namespace braid
