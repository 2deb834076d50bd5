// Line charts and stacked areas as SVG text: axes with round ticks, a legend,
// nothing else.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace braid {

struct SvgSeries {
  std::string name;
  std::vector<double> x, y;  // as many of each; x ascending
};

struct SvgChart {
  std::string title, x_label, y_label;
  std::vector<SvgSeries> series;
  // Series lie on top of each other and are filled; all have the same x.
  bool stacked = false;
  bool log_x = false;
  std::optional<double> y_max;  // otherwise what the data need
  // A vertical line, and what it says.
  std::optional<double> mark;
  std::string mark_label;

  std::string ToSvg() const;
};

}  // namespace braid
