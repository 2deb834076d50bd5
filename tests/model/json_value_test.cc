#include "model/json_value.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "base/rng.h"

namespace braid {
namespace {

using ::testing::HasSubstr;

std::string RoundTrip(std::string_view text) {
  auto value = ParseJson(text);
  return value.ok() ? ToJson(*value) : std::string(value.status().message());
}

TEST(JsonValueTest, KeepsOrderAndTypes) {
  auto value = ParseJson(
      R"( {"z": 1, "a": [true, null, -2.5e3], "s": "x\u00e9\n", "o": {}} )");
  ASSERT_TRUE(value.ok()) << value.status();
  EXPECT_STREQ(value->type_name(), "object");
  EXPECT_EQ(value->object()->front().first, "z");
  EXPECT_EQ(*value->Find("z")->integer(), 1);
  const auto& array = *value->Find("a")->array();
  EXPECT_TRUE(*array[0].boolean());
  EXPECT_TRUE(array[1].is_null());
  EXPECT_EQ(*array[2].real(), -2500.0);
  EXPECT_EQ(*value->Find("s")->string(), "x\xc3\xa9\n");
  EXPECT_TRUE(value->Find("o")->object()->empty());
  EXPECT_EQ(value->Find("none"), nullptr);
  EXPECT_EQ(value->Find("z")->Find("z"), nullptr);
  EXPECT_EQ(ToJson(*value), R"({"z":1,"a":[true,null,-2500.0],"s":"x)"
                            "\xc3\xa9"
                            R"(\n","o":{}})");
}

TEST(JsonValueTest, ScalarsMayStandAlone) {
  EXPECT_EQ(RoundTrip("null"), "null");
  EXPECT_EQ(RoundTrip(" false\n"), "false");
  EXPECT_EQ(RoundTrip("-0"), "0");
  EXPECT_EQ(RoundTrip("1.0"), "1.0");
  EXPECT_EQ(RoundTrip("0.1"), "0.1");
  EXPECT_EQ(RoundTrip("\"\\ud83d\\ude00\""), "\"\xf0\x9f\x98\x80\"");
  EXPECT_EQ(RoundTrip("[]"), "[]");
  EXPECT_EQ(RoundTrip("[[],{}]"), "[[],{}]");
}

TEST(JsonValueTest, IntegersPastInt64AreReal) {
  EXPECT_EQ(*ParseJson("9223372036854775807")->integer(), INT64_MAX);
  EXPECT_EQ(*ParseJson("-9223372036854775808")->integer(), INT64_MIN);
  EXPECT_EQ(*ParseJson("9223372036854775808")->real(), 9223372036854775808.0);
  EXPECT_EQ(*ParseJson("18446744073709551616")->real(), 18446744073709551616.0);
  EXPECT_EQ(*ParseJson("[-100000000000000000000]")->array()->front().real(),
            -1e20);
  EXPECT_EQ(RoundTrip("-3388888888888888883888"), "-3.3888888888888887e+21");
  EXPECT_FALSE(ParseJson("1e999").ok());
  EXPECT_FALSE(ParseJson(std::string(400, '9')).ok());
}

TEST(JsonValueTest, LastOfEqualKeysWinsInTheFirstPlace) {
  EXPECT_EQ(RoundTrip(R"({"a":1,"b":2,"a":3,"c":4,"b":[5],"a":6})"),
            R"({"a":6,"b":[5],"c":4})");
}

TEST(JsonValueTest, NestingIsBounded) {
  const auto nested = [](int depth) {
    return std::string(depth, '[') + "1" + std::string(depth, ']');
  };
  EXPECT_TRUE(ParseJson(nested(63)).ok());
  const auto deep = ParseJson(nested(64));
  EXPECT_THAT(std::string(deep.status().message()), HasSubstr("deeper"));
  EXPECT_FALSE(ParseJson(nested(100000)).ok());
  EXPECT_FALSE(ParseJson(std::string(100000, '[')).ok());
  std::string objects;
  for (int i = 0; i < 100; ++i) objects += R"({"a":)";
  EXPECT_FALSE(ParseJson(objects).ok());
}

TEST(JsonValueTest, RefusesWhatIsNotJson) {
  for (const char* text : {"",
                           " ",
                           "[1",
                           "[1,]",
                           "{\"a\":1,}",
                           "{\"a\":1 \"b\":2}",
                           "[1 2]",
                           "1 2",
                           "1,2",
                           "1],[2",
                           "]",
                           "[",
                           "}",
                           "{",
                           "nul",
                           "nulll",
                           "tru",
                           "truee",
                           "01",
                           "1.",
                           ".5",
                           "+1",
                           "-",
                           "1e",
                           "0x10",
                           "NaN",
                           "Infinity",
                           "'a'",
                           "\"a",
                           "\"\\x\"",
                           "\"\\u12\"",
                           "\"\\ud800\"",
                           "\"a\nb\"",
                           "\"\x01\"",
                           "{a:1}",
                           "{1:2}",
                           "{\"a\"}",
                           "{\"a\":}",
                           "[1]]",
                           "{}}",
                           "// c\n1",
                           "\"\xff\"",
                           "\xef\xbb\xbf",
                           "[,1]",
                           "[1,,2]",
                           "{,}",
                           "[1}",
                           "{\"a\":1]",
                           "true false",
                           "\"a\"\"b\"",
                           "[\"a\":1]",
                           "1:2",
                           "18446744073709551616x",
                           "123456789012345678901234.5.5"}) {
    const auto value = ParseJson(text);
    EXPECT_FALSE(value.ok()) << text << " gave " << ToJson(*value);
    if (value.ok()) continue;
    EXPECT_THAT(std::string(value.status().message()), HasSubstr("byte"));
  }
}

TEST(JsonValueTest, ErrorsSayWhere) {
  EXPECT_THAT(RoundTrip(R"({"abc": [1, 2, nul]})"), HasSubstr("byte 15"));
}

TEST(JsonValueTest, EscapesEverythingThatJsonMust) {
  std::string out;
  AppendJsonEscaped(std::string_view("\"\\/\b\f\n\r\t\x01\x1f\0 \x7f", 13),
                    out);
  EXPECT_EQ(out, "\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\\u0000 \x7f");
}

TEST(JsonValueTest, InvalidUtf8BecomesTheReplacementCharacter) {
  const auto escaped = [](std::string_view text) {
    std::string out;
    AppendJsonEscaped(text, out);
    return out;
  };
  const std::string r = "\xEF\xBF\xBD";
  EXPECT_EQ(escaped("a\xff"
                    "b"),
            "a" + r + "b");
  EXPECT_EQ(escaped("\xe2\x82"), r);  // cut short: one
  EXPECT_EQ(escaped("\xe2\x82x"), r + "x");
  EXPECT_EQ(escaped("\xed\xa0\x80"), r + r + r);  // surrogate
  EXPECT_EQ(escaped("\xc0\xaf"), r + r);          // overlong
  EXPECT_EQ(escaped("\xf4\x90\x80\x80"), r + r + r + r);
  EXPECT_EQ(escaped("\xf0\x9f\x98\x80\xe2\x82\xac"),
            "\xf0\x9f\x98\x80\xe2\x82\xac");
}

// Random trees survive writing and reading.
JsonValue RandomTree(Rng& rng, int depth) {
  switch (rng.Below(depth > 4 ? 5 : 7)) {
    case 0:
      return JsonValue();
    case 1:
      return JsonValue(rng.Below(2) == 0);
    case 2:
      return JsonValue(static_cast<int64_t>(rng()));
    case 3:
      return JsonValue((rng.Uniform() - 0.5) * 1e6);
    case 4: {
      std::string text;
      for (uint64_t n = rng.Below(9); n > 0; --n) {
        constexpr const char* kPieces[] = {
            "a", "\"", "\\", "\n", "\x02", "\xc3\xa9", "\xf0\x9f\x98\x80"};
        text += kPieces[rng.Below(7)];
      }
      return JsonValue(text);
    }
    case 5: {
      JsonValue::Array array;
      for (uint64_t n = rng.Below(5); n > 0; --n) {
        array.push_back(RandomTree(rng, depth + 1));
      }
      return JsonValue(array);
    }
    default: {
      JsonValue::Object object;
      for (uint64_t n = rng.Below(5); n > 0; --n) {
        object.emplace_back(absl::StrCat("k", n), RandomTree(rng, depth + 1));
      }
      return JsonValue(object);
    }
  }
}

TEST(JsonValueTest, RandomTreesRoundTrip) {
  Rng rng(1);
  for (int i = 0; i < 2000; ++i) {
    const std::string text = ToJson(RandomTree(rng, 0));
    EXPECT_EQ(RoundTrip(text), text);
  }
}

}  // namespace
}  // namespace braid
