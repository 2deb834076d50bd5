#include "simulator/replay/svg_chart.h"

#include <regex>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace braid {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

size_t CountOf(const std::string& text, const std::string& pattern) {
  const std::regex expression(pattern);
  return std::distance(
      std::sregex_iterator(text.begin(), text.end(), expression),
      std::sregex_iterator());
}

TEST(SvgChartTest, DrawsEverySeriesInsideThePlot) {
  const std::string svg =
      SvgChart{.title = "a < b & c",
               .x_label = "seconds",
               .y_label = "requests",
               .series = {{.name = "one", .x = {0, 1, 2}, .y = {0, 5, 3}},
                          {.name = "two", .x = {0, 2}, .y = {1, 2}}},
               .mark = 1.5,
               .mark_label = "here"}
          .ToSvg();
  EXPECT_THAT(svg, HasSubstr("a &lt; b &amp; c"));
  EXPECT_THAT(svg, HasSubstr(">one</text>"));
  EXPECT_THAT(svg, HasSubstr(">here</text>"));
  EXPECT_EQ(CountOf(svg, "stroke-width=\"1.5\""), 2u);
  // From the plot's left edge to its right one; 5 is its top.
  EXPECT_THAT(svg, HasSubstr("d=\"M64.0 254.0L337.0 34.0L610.0 122.0\""));
}

TEST(SvgChartTest, NothingAndOnePointAreCharts) {
  for (const std::vector<double>& x :
       {std::vector<double>{}, std::vector<double>{3}}) {
    const std::string svg =
        SvgChart{.title = "t", .series = {{.name = "s", .x = x, .y = x}}}
            .ToSvg();
    EXPECT_THAT(svg, Not(HasSubstr("nan")));
    EXPECT_THAT(svg, Not(HasSubstr("inf")));
  }
}

TEST(SvgChartTest, StackedAreasLieOnEachOther) {
  const std::string svg =
      SvgChart{.series = {{.name = "a", .x = {0, 1}, .y = {1, 1}},
                          {.name = "b", .x = {0, 1}, .y = {1, 1}}},
               .stacked = true,
               .y_max = 2.0}
          .ToSvg();
  EXPECT_THAT(svg,
              HasSubstr("M64.0 254.0L610.0 254.0L610.0 144.0L64.0 144.0Z"));
  EXPECT_THAT(svg, HasSubstr("M64.0 144.0L610.0 144.0L610.0 34.0L64.0 34.0Z"));
}

}  // namespace
}  // namespace braid
