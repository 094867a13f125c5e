// SPDX-License-Identifier: Apache-2.0
// Line charts side by side as one SVG file.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iterator>
#include <limits>
#include <ostream>
#include <string>
#include <vector>

namespace lm {

struct Point {
  double x, y;
};

struct Series {
  std::string name;
  std::vector<Point> points;
  bool muted = false;  // grey: the one that others are compared with
};

/// A dashed line across the panel, with a label.
struct Mark {
  std::string label;
  double value;
};

struct Panel {
  std::string title, x_label, y_label;
  std::vector<Series> series;  // panels list the same series, which share colours and legend
  std::vector<Mark> across, upright;
};

namespace detail {

/// Multiples of 1, 2, 2.5 or 5 times a power of ten, about `wanted` of them over the range.
inline double tick_step(double range, double wanted) {
  const double rough = range / wanted;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 2.5, 5.0}) {
    if (factor * power >= rough) return factor * power;
  }
  return 10 * power;
}

inline std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", std::abs(value) < 1e-12 ? 0.0 : value);
  return text;
}

inline std::string escape(const std::string& text) {
  std::string safe;
  for (const char c : text) {
    if (c == '&') {
      safe += "&amp;";
    } else if (c == '<') {
      safe += "&lt;";
    } else {
      safe += c;
    }
  }
  return safe;
}

/// A colour for each series, of Okabe and Ito, told apart by all eyes.
inline std::vector<std::string> colours(const std::vector<Series>& series) {
  static constexpr const char* kColours[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                             "#e69f00", "#56b4e9", "#000000"};
  std::vector<std::string> chosen;
  std::size_t next = 0;
  for (const auto& one : series) {
    chosen.emplace_back(one.muted ? "#8c8c8c" : kColours[next++ % std::size(kColours)]);
  }
  return chosen;
}

/// Maps one panel's data to its rectangle and draws it.
class PanelPainter {
 public:
  PanelPainter(std::ostream& out, const Panel& panel, double left, double top, double width,
               double height)
      : out_(out), panel_(panel), left_(left), top_(top), width_(width), height_(height) {
    constexpr double kFar = std::numeric_limits<double>::infinity();
    x_min_ = y_min_ = kFar;
    x_max_ = y_max_ = -kFar;
    for (const auto& series : panel.series) {
      for (const auto& point : series.points) {
        include(x_min_, x_max_, point.x);
        include(y_min_, y_max_, point.y);
      }
    }
    for (const auto& mark : panel.across) include(y_min_, y_max_, mark.value);
    for (const auto& mark : panel.upright) include(x_min_, x_max_, mark.value);
    if (!(x_min_ < x_max_)) x_max_ = (x_min_ = std::isfinite(x_min_) ? x_min_ : 0) + 1;
    if (!(y_min_ < y_max_)) y_max_ = (y_min_ = std::isfinite(y_min_) ? y_min_ : 0) + 1;
    x_step_ = tick_step(x_max_ - x_min_, 6);
    y_step_ = tick_step(y_max_ - y_min_, 6);
    x_min_ = std::floor(x_min_ / x_step_) * x_step_;
    y_min_ = std::floor(y_min_ / y_step_) * y_step_;
    y_max_ = std::ceil(y_max_ / y_step_) * y_step_;
  }

  void paint() const {
    text(left_, top_ - 14, panel_.title, "class=\"title\"");
    grid();
    for (const auto& mark : panel_.across) {
      line(left_, y(mark.value), left_ + width_, y(mark.value), "class=\"mark\"");
      text(left_ + width_ - 6, y(mark.value) - 5, mark.label, "class=\"note\" text-anchor=\"end\"");
    }
    for (const auto& mark : panel_.upright) {
      line(x(mark.value), top_, x(mark.value), top_ + height_, "class=\"mark\"");
      text(x(mark.value) + 6, top_ + 14, mark.label, "class=\"note\"");
    }
    const auto strokes = colours(panel_.series);
    for (std::size_t i = 0; i < strokes.size(); ++i) curve(panel_.series[i], strokes[i]);
  }

 private:
  static void include(double& least, double& most, double value) {
    if (!std::isfinite(value)) return;
    least = std::min(least, value);
    most = std::max(most, value);
  }
  double x(double value) const { return left_ + (value - x_min_) / (x_max_ - x_min_) * width_; }
  double y(double value) const {
    return top_ + height_ - (value - y_min_) / (y_max_ - y_min_) * height_;
  }

  void line(double x1, double y1, double x2, double y2, const char* attributes) const {
    out_ << "<line x1=\"" << number(x1) << "\" y1=\"" << number(y1) << "\" x2=\"" << number(x2)
         << "\" y2=\"" << number(y2) << "\" " << attributes << "/>\n";
  }
  void text(double at_x, double at_y, const std::string& what,
            const std::string& attributes) const {
    out_ << "<text x=\"" << number(at_x) << "\" y=\"" << number(at_y) << "\" " << attributes << ">"
         << escape(what) << "</text>\n";
  }

  void grid() const {
    for (double tick = y_min_; tick <= y_max_ + y_step_ / 2; tick += y_step_) {
      line(left_, y(tick), left_ + width_, y(tick), "class=\"grid\"");
      text(left_ - 8, y(tick) + 4, number(tick), "class=\"tick\" text-anchor=\"end\"");
    }
    for (double tick = x_min_; tick <= x_max_ + x_step_ / 1000; tick += x_step_) {
      line(x(tick), top_ + height_, x(tick), top_ + height_ + 5, "class=\"axis\"");
      text(x(tick), top_ + height_ + 19, number(tick), "class=\"tick\" text-anchor=\"middle\"");
    }
    line(left_, top_ + height_, left_ + width_, top_ + height_, "class=\"axis\"");
    text(left_ + width_ / 2, top_ + height_ + 40, panel_.x_label,
         "class=\"label\" text-anchor=\"middle\"");
    const double label_x = left_ - 44, label_y = top_ + height_ / 2;
    text(label_x, label_y, panel_.y_label,
         "class=\"label\" text-anchor=\"middle\" transform=\"rotate(-90 " + number(label_x) + " " +
             number(label_y) + ")\"");
  }

  void curve(const Series& series, const std::string& stroke) const {
    out_ << "<polyline class=\"curve\" stroke=\"" << stroke << "\" points=\"";
    for (const auto& point : series.points) {
      if (!std::isfinite(point.x) || !std::isfinite(point.y)) continue;
      out_ << number(x(point.x)) << "," << number(y(point.y)) << " ";
    }
    out_ << "\"/>\n";
  }

  std::ostream& out_;
  const Panel& panel_;
  double left_, top_, width_, height_;
  double x_min_, x_max_, y_min_, y_max_, x_step_, y_step_;
};

}  // namespace detail

inline void write_svg(std::ostream& out, const std::string& title, const std::string& subtitle,
                      const std::vector<Panel>& panels) {
  constexpr double kPanelWidth = 400, kPanelHeight = 280, kLeft = 70, kTop = 128, kGap = 96;
  const auto count = static_cast<double>(panels.size());
  const double width = kLeft + count * kPanelWidth + (count - 1) * kGap + 30;
  const double height = kTop + kPanelHeight + 60;
  out << "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " << width << " " << height
      << "\" font-family=\"Helvetica, Arial, sans-serif\" font-size=\"13\">\n"
      << "<style>.heading{font-size:19px;font-weight:bold}.title{font-size:15px;font-weight:bold}"
         ".sub,.label,.tick{fill:#555}.note{fill:#777;font-size:12px}.grid{stroke:#e6e6e6}"
         ".axis{stroke:#888}.mark{stroke:#888;stroke-dasharray:5 4}"
         ".curve{fill:none;stroke-width:2.2;stroke-linejoin:round}</style>\n"
      << "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
      << "<text x=\"24\" y=\"32\" class=\"heading\">" << detail::escape(title) << "</text>\n"
      << "<text x=\"24\" y=\"54\" class=\"sub\">" << detail::escape(subtitle) << "</text>\n";
  double legend = 24;
  const auto strokes =
      panels.empty() ? std::vector<std::string>() : detail::colours(panels[0].series);
  for (std::size_t i = 0; i < strokes.size(); ++i) {
    const std::string& name = panels[0].series[i].name;
    out << "<line x1=\"" << legend << "\" y1=\"76\" x2=\"" << legend + 26
        << "\" y2=\"76\" class=\"curve\" stroke=\"" << strokes[i] << "\"/>\n<text x=\""
        << legend + 32 << "\" y=\"81\">" << detail::escape(name) << "</text>\n";
    legend += 62 + 8 * static_cast<double>(name.size());
  }
  double left = kLeft;
  for (const auto& panel : panels) {
    detail::PanelPainter(out, panel, left, kTop, kPanelWidth, kPanelHeight).paint();
    left += kPanelWidth + kGap;
  }
  out << "</svg>\n";
}

}  // namespace lm
