#include "simulator/replay/svg_chart.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"

namespace braid {
namespace {

constexpr double kWidth = 760, kHeight = 300;
constexpr double kLeft = 64, kRight = 150, kTop = 34, kBottom = 46;
constexpr double kPlotWidth = kWidth - kLeft - kRight;
constexpr double kPlotHeight = kHeight - kTop - kBottom;

// Okabe and Ito's palette: told apart by colour-blind readers too.
constexpr std::array<const char*, 8> kColours = {
    "#0072b2", "#d55e00", "#009e73", "#cc79a7",
    "#e69f00", "#56b4e9", "#000000", "#999999"};

std::string Escaped(const std::string& text) {
  return absl::StrReplaceAll(text, {{"&", "&amp;"}, {"<", "&lt;"}});
}

// 1, 2 or 5 times a power of ten, for about `count` ticks over `range`.
double TickStep(double range, int count) {
  const double rough = range / count;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  for (double step : {1.0, 2.0, 5.0}) {
    if (step * power >= rough) return step * power;
  }
  return 10 * power;
}

class Canvas {
 public:
  explicit Canvas(const SvgChart& chart) : chart_(chart) {
    Range();
    absl::StrAppendFormat(
        &svg_,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %g %g\" "
        "width=\"%g\" height=\"%g\" font-family=\"sans-serif\" "
        "font-size=\"11\">\n<rect width=\"100%%\" height=\"100%%\" "
        "fill=\"white\"/>\n",
        kWidth, kHeight, kWidth, kHeight);
    absl::StrAppendFormat(&svg_,
                          "<text x=\"%g\" y=\"18\" font-size=\"13\" "
                          "font-weight=\"bold\">%s</text>\n",
                          kLeft, Escaped(chart.title));
  }

  std::string Draw() {
    Axes();
    if (chart_.stacked) {
      Areas();
    } else {
      Lines();
    }
    Mark();
    Legend();
    svg_ += "</svg>\n";
    return std::move(svg_);
  }

 private:
  double Scale(double x) const { return chart_.log_x ? std::log10(x) : x; }
  double X(double x) const {
    if (chart_.log_x) x = std::max(x, std::pow(10, x_min_));
    return kLeft + (Scale(x) - x_min_) / (x_max_ - x_min_) * kPlotWidth;
  }
  double Y(double y) const {
    return kTop + kPlotHeight * (1 - std::min(y, y_max_) / y_max_);
  }

  void Range() {
    x_min_ = std::numeric_limits<double>::infinity();
    x_max_ = -x_min_;
    std::vector<double> sums;
    for (const SvgSeries& series : chart_.series) {
      sums.resize(std::max(sums.size(), series.y.size()));
      for (size_t i = 0; i < series.x.size(); ++i) {
        if (chart_.log_x && series.x[i] <= 0) continue;
        x_min_ = std::min(x_min_, Scale(series.x[i]));
        x_max_ = std::max(x_max_, Scale(series.x[i]));
        sums[i] = chart_.stacked ? sums[i] + series.y[i] : series.y[i];
        y_max_ = std::max(y_max_, sums[i]);
      }
    }
    if (chart_.mark && (!chart_.log_x || *chart_.mark > 0)) {
      x_min_ = std::min(x_min_, Scale(*chart_.mark));
      x_max_ = std::max(x_max_, Scale(*chart_.mark));
    }
    if (!(x_min_ < x_max_)) {  // nothing, or one point
      x_min_ = std::isfinite(x_min_) ? x_min_ - 0.5 : 0;
      x_max_ = x_min_ + 1;
    }
    if (chart_.y_max) y_max_ = *chart_.y_max;
    if (!(y_max_ > 0)) y_max_ = 1;
    if (!chart_.y_max) {
      const double step = TickStep(y_max_, 5);
      y_max_ = std::ceil(y_max_ / step) * step;
    }
  }

  void XTick(double x, const std::string& label) {
    absl::StrAppendFormat(&svg_,
                          "<path d=\"M%.1f %gV%g\" stroke=\"#ddd\"/>"
                          "<text x=\"%.1f\" y=\"%g\" text-anchor=\"middle\">"
                          "%s</text>\n",
                          X(x), kTop, kTop + kPlotHeight, X(x),
                          kTop + kPlotHeight + 15, label);
  }

  void Axes() {
    const double y_step = TickStep(y_max_, 5);
    for (int i = 0; i * y_step <= y_max_ * 1.0001; ++i) {
      const double y = i * y_step;
      absl::StrAppendFormat(
          &svg_,
          "<path d=\"M%g %.1fH%g\" stroke=\"#ddd\"/><text x=\"%g\" "
          "y=\"%.1f\" text-anchor=\"end\">%g</text>\n",
          kLeft, Y(y), kLeft + kPlotWidth, kLeft - 6, Y(y) + 4, y);
    }
    if (chart_.log_x) {
      const int last = static_cast<int>(std::floor(x_max_ + 1e-9));
      for (int i = static_cast<int>(std::ceil(x_min_ - 1e-9)); i <= last; ++i) {
        XTick(std::pow(10, i), absl::StrFormat("%g", std::pow(10, i)));
      }
      // Two decades or less want ticks within them.
      for (int i = static_cast<int>(std::floor(x_min_));
           x_max_ - x_min_ < 2.5 && i <= last; ++i) {
        for (double part : {2.0, 5.0}) {
          const double x = part * std::pow(10, i);
          if (std::log10(x) < x_min_ || std::log10(x) > x_max_) continue;
          XTick(x, absl::StrFormat("%g", x));
        }
      }
    } else {
      const double step = TickStep(x_max_ - x_min_, 8);
      for (double x = std::ceil(x_min_ / step) * step; x <= x_max_ + step / 1e3;
           x += step) {
        // What rounding leaves near 0 is 0.
        XTick(x, absl::StrFormat("%g", std::abs(x) < step / 1e3 ? 0 : x));
      }
    }
    absl::StrAppendFormat(
        &svg_,
        "<rect x=\"%g\" y=\"%g\" width=\"%g\" height=\"%g\" fill=\"none\" "
        "stroke=\"#888\"/>\n<text x=\"%g\" y=\"%g\" text-anchor=\"middle\">%s"
        "</text>\n<text transform=\"translate(14 %g) rotate(-90)\" "
        "text-anchor=\"middle\">%s</text>\n",
        kLeft, kTop, kPlotWidth, kPlotHeight, kLeft + kPlotWidth / 2,
        kHeight - 10, Escaped(chart_.x_label), kTop + kPlotHeight / 2,
        Escaped(chart_.y_label));
  }

  void Lines() {
    for (size_t s = 0; s < chart_.series.size(); ++s) {
      const SvgSeries& series = chart_.series[s];
      std::string path;
      for (size_t i = 0; i < series.x.size(); ++i) {
        absl::StrAppendFormat(&path, "%s%.1f %.1f", i == 0 ? "M" : "L",
                              X(series.x[i]), Y(series.y[i]));
      }
      absl::StrAppendFormat(&svg_,
                            "<path d=\"%s\" fill=\"none\" stroke=\"%s\" "
                            "stroke-width=\"1.5\"/>\n",
                            path, kColours[s % kColours.size()]);
    }
  }

  void Areas() {
    std::vector<double> below;
    for (size_t s = 0; s < chart_.series.size(); ++s) {
      const SvgSeries& series = chart_.series[s];
      below.resize(std::max(below.size(), series.y.size()));
      std::string path;
      for (size_t i = 0; i < series.x.size(); ++i) {
        absl::StrAppendFormat(&path, "%s%.1f %.1f", i == 0 ? "M" : "L",
                              X(series.x[i]), Y(below[i]));
      }
      for (size_t i = series.x.size(); i-- > 0;) {
        below[i] += series.y[i];
        absl::StrAppendFormat(&path, "L%.1f %.1f", X(series.x[i]), Y(below[i]));
      }
      absl::StrAppendFormat(&svg_, "<path d=\"%sZ\" fill=\"%s\"/>\n", path,
                            kColours[s % kColours.size()]);
    }
  }

  void Mark() {
    if (!chart_.mark) return;
    absl::StrAppendFormat(
        &svg_,
        "<path d=\"M%.1f %gV%g\" stroke=\"#b00\" stroke-dasharray=\"4 3\"/>"
        "<text x=\"%.1f\" y=\"%g\" fill=\"#b00\">%s</text>\n",
        X(*chart_.mark), kTop, kTop + kPlotHeight, X(*chart_.mark) + 4,
        kTop + kPlotHeight - 8, Escaped(chart_.mark_label));
  }

  void Legend() {
    double y = kTop + 6;
    for (size_t s = 0; s < chart_.series.size(); ++s, y += 17) {
      absl::StrAppendFormat(
          &svg_,
          "<rect x=\"%g\" y=\"%g\" width=\"12\" height=\"8\" fill=\"%s\"/>"
          "<text x=\"%g\" y=\"%g\">%s</text>\n",
          kWidth - kRight + 10, y, kColours[s % kColours.size()],
          kWidth - kRight + 27, y + 8, Escaped(chart_.series[s].name));
    }
  }

  const SvgChart& chart_;
  double x_min_ = 0, x_max_ = 0, y_max_ = 0;
  std::string svg_;
};

}  // namespace

std::string SvgChart::ToSvg() const { return Canvas(*this).Draw(); }

}  // namespace braid
