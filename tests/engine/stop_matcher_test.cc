#include "engine/stop_matcher.h"

#include "base/rng.h"
#include "gtest/gtest.h"

namespace braid {
namespace {

struct Result {
  std::string text;
  std::string stop;
  friend bool operator==(const Result&, const Result&) = default;
};

Result Feed(const std::vector<std::string>& pieces,
            const std::vector<std::string>& stops, bool include) {
  StopMatcher matcher(stops, include);
  Result result;
  for (const std::string& piece : pieces) {
    if (auto stop = matcher.Push(piece, result.text)) {
      result.stop = *stop;
      return result;
    }
  }
  matcher.Flush(result.text);
  return result;
}

// One character at a time, looking back.
Result Naive(const std::string& text, const std::vector<std::string>& stops,
             bool include) {
  Result result;
  for (char c : text) {
    result.text += c;
    for (const std::string& stop : stops) {
      if (!stop.empty() && result.text.ends_with(stop) &&
          stop.size() > result.stop.size()) {
        result.stop = stop;
      }
    }
    if (!result.stop.empty()) {
      if (!include) result.text.resize(result.text.size() - result.stop.size());
      return result;
    }
  }
  return result;
}

TEST(StopMatcherTest, HoldsBackWhatMayBecomeAStop) {
  StopMatcher matcher({"</s>"}, false);
  std::string out;
  EXPECT_FALSE(matcher.Push("one <", out));
  EXPECT_EQ(out, "one ");
  EXPECT_FALSE(matcher.Push("/s", out));
  EXPECT_EQ(out, "one ");
  EXPECT_FALSE(matcher.Push("p", out));
  EXPECT_EQ(out, "one </sp");
  EXPECT_EQ(matcher.Push(" two</s> three", out), "</s>");
  EXPECT_EQ(out, "one </sp two");
}

TEST(StopMatcherTest, TheFirstCompleteOneWins) {
  EXPECT_EQ(Feed({"xabcdy"}, {"abcd", "bc"}, false), (Result{"xa", "bc"}));
  EXPECT_EQ(Feed({"xabcdy"}, {"bcd", "abcd"}, true), (Result{"xabcd", "abcd"}));
}

TEST(StopMatcherTest, WithoutStopsNothingIsHeld) {
  EXPECT_EQ(Feed({"a", "b"}, {}, false), (Result{"ab", ""}));
  EXPECT_EQ(Feed({"a", "b"}, {""}, false), (Result{"ab", ""}));
}

TEST(StopMatcherTest, AgreesWithTheNaiveOneHoweverTheTextIsCut) {
  Rng rng(1);
  const auto word = [&](size_t most) {
    std::string text;
    for (size_t n = rng.Below(most + 1); n > 0; --n) {
      text += static_cast<char>('a' + rng.Below(2));
    }
    return text;
  };
  for (int i = 0; i < 20000; ++i) {
    std::vector<std::string> stops, pieces;
    for (uint64_t n = rng.Below(4); n > 0; --n) stops.push_back(word(6));
    std::string text;
    for (uint64_t n = rng.Below(8); n > 0; --n) {
      pieces.push_back(word(5));
      text += pieces.back();
    }
    const bool include = rng.Below(2) == 0;
    ASSERT_EQ(Feed(pieces, stops, include), Naive(text, stops, include))
        << text;
  }
}

}  // namespace
}  // namespace braid
