// SPDX-License-Identifier: Apache-2.0
// Draws what each encoding does to attention over distance, as encodings.svg in the current folder
// (or at the path given): RoPE at several bases, ALiBi's slopes, a FoX path over a real text, and
// the bias matrix of GRAPE-AP over the same text. Takes less than a second, with or without
// GRAPE_SMOKE.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <grape/grape.hpp>
#include <iterator>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

using grape::Index;
using grape::Positions;

struct Curve {
  std::string name;
  std::vector<double> y;  // at x = 0, 1, ..
};
struct Panel {
  std::string title, x_label;
  double low, high;
  std::vector<Curve> curves;
};

constexpr double kWidth = 380, kHeight = 200;
constexpr std::array<const char*, 5> kColours{"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                              "#8c8c8c"};

template <class... Pieces>
std::string format(const char* pattern, Pieces... pieces) {
  std::array<char, 512> line{};
  std::snprintf(line.data(), line.size(), pattern, pieces...);
  return line.data();
}

std::string label(double x, double y, const char* attributes, const std::string& text) {
  return format("<text x='%.0f' y='%.0f' %s>", x, y, attributes) + text + "</text>\n";
}

// A box of that width whose x axis counts tokens from 0 to last.
std::string frame(double x, double y, double width, const std::string& title,
                  const std::string& x_label, std::size_t last) {
  std::string out =
      format("<rect x='%.0f' y='%.0f' width='%.0f' height='%.0f' fill='none' stroke='#ccc'/>\n", x,
             y, width, kHeight) +
      label(x, y - 10, "font-weight='bold'", title) +
      label(x + width / 2, y + kHeight + 32, "text-anchor='middle'", x_label);
  for (std::size_t tick = 0; tick <= 2; ++tick) {
    out += label(x + width * static_cast<double>(tick) / 2, y + kHeight + 16,
                 "text-anchor='middle' fill='#555'", format("%zu", last * tick / 2));
  }
  return out;
}

std::string drawn(const Panel& panel, double x, double y) {
  const std::size_t last = panel.curves.front().y.size() - 1;
  std::string out = frame(x, y, kWidth, panel.title, panel.x_label, last);
  for (int tick = 0; tick <= 2; ++tick) {
    out += label(x - 6, y + kHeight * (2 - tick) / 2 + 4, "text-anchor='end' fill='#555'",
                 format("%g", panel.low + (panel.high - panel.low) * tick / 2));
  }
  for (std::size_t c = 0; c < panel.curves.size(); ++c) {
    const Curve& curve = panel.curves[c];
    out += format("<polyline fill='none' stroke='%s' stroke-width='1.5' points='", kColours[c]);
    for (std::size_t i = 0; i <= last && curve.y[i] >= panel.low; ++i) {
      out += format("%.1f,%.1f ", x + kWidth * static_cast<double>(i) / static_cast<double>(last),
                    y + kHeight * (panel.high - curve.y[i]) / (panel.high - panel.low));
    }
    out += "'/>\n" + label(x + kWidth + 8, y + 12 + 18 * static_cast<double>(c),
                           format("fill='%s'", kColours[c]).c_str(), curve.name);
  }
  return out;
}

// The logit of a query and a key that are equal in every plane, over that of the same position.
Panel rope_panel(Index length) {
  Panel panel{"RoPE: logit of equal vectors", "distance in tokens", -0.5, 1, {}};
  for (const double base : {100.0, 10000.0, 500000.0}) {
    constexpr Index kDim = 128;
    const grape::RoPE<float> rope(grape::spectrum::log_uniform(kDim, base));
    std::vector<float> keys(static_cast<std::size_t>(length * kDim), 1.0f);
    grape::apply_rotation(rope.at(Positions::range(0, length)),
                          grape::blhd(keys.data(), 1, length, 1, kDim));
    Curve curve{format("base %g", base), {}};
    for (Index t = 0; t < length; ++t) {
      double sum = 0;  // with a query of ones at position 0
      for (Index d = 0; d < kDim; ++d) sum += keys[static_cast<std::size_t>(t * kDim + d)];
      curve.y.push_back(sum / kDim);
    }
    panel.curves.push_back(std::move(curve));
  }
  return panel;
}

Panel alibi_panel(Index length) {
  Panel panel{"ALiBi: bias of 8 heads", "distance in tokens", -20, 0, {}};
  const auto bias =
      grape::ALiBi<float>(8).at(Positions::range(length - 1, 1), Positions::range(0, length));
  for (const Index head : {0, 2, 4, 6}) {
    Curve curve{format("head %d", static_cast<int>(head + 1)), {}};
    for (Index t = 0; t < length; ++t) {
      curve.y.push_back(static_cast<double>(bias(0, head, 0, length - 1 - t)));
    }
    panel.curves.push_back(std::move(curve));
  }
  return panel;
}

// A rule that a model might learn: what ends a statement or a paragraph is forgotten behind.
double forget_logit(char c) {
  if (c == '\n') return 1.5;
  if (c == ';' || c == '{' || c == '}') return 2.5;
  return c == ' ' ? 5.0 : 7.0;
}

Panel fox_panel(const std::string& text) {
  Panel panel{"FoX: bias of the last byte of a text", "byte of the text", -6, 0, {}};
  const auto length = static_cast<Index>(text.size());
  std::vector<double> log_forget;
  double total = 0;
  for (const char c : text) {
    log_forget.push_back(grape::log_sigmoid(forget_logit(c)));
    total += log_forget.back();
  }
  const grape::QueryRange last{length - 1, 1};
  const std::vector<double> even(text.size(), total / static_cast<double>(length));
  for (const bool of_text : {true, false}) {
    const std::vector<double>& gates = of_text ? log_forget : even;
    const auto decay = grape::FoX<double>(1).at(grape::blh(gates.data(), 1, length, 1), last);
    Curve curve{of_text ? "forget gates" : "even gates", {}};
    for (Index t = 0; t < length; ++t) curve.y.push_back(decay(0, 0, 0, t));
    panel.curves.push_back(std::move(curve));
  }
  return panel;
}

// Bytes as probes: a fixed direction for each character.
std::string path_integral_panel(const std::string& text, double x, double y) {
  constexpr Index kWide = 8;
  const auto length = static_cast<Index>(text.size());
  std::vector<float> features;
  for (const char c : text) {
    for (Index d = 0; d < kWide; ++d) {
      features.push_back(std::sin(static_cast<float>((c + 1) * (2 * d + 1)) * 0.37f));
    }
  }
  const auto bias = grape::PathIntegral<float>(std::vector<double>{0.25})
                        .at(grape::blhd(features.data(), 1, length, 1, kWide));
  double least = 0;
  for (Index j = 0; j < length; ++j) {
    least = std::min(least, static_cast<double>(bias(0, 0, length - 1, j)));
  }
  // One path a shade, so that the file stays small.
  constexpr int kShades = 12;
  std::array<std::string, kShades> squares;
  const double size = kHeight / static_cast<double>(length);
  for (Index i = 0; i < length; ++i) {
    for (Index j = 0; j <= i; ++j) {
      const double share = static_cast<double>(bias(0, 0, i, j)) / least;
      const auto shade = static_cast<std::size_t>(std::clamp(share, 0.0, 0.999) * kShades);
      squares[shade] += format("M%.0f %.0fh10v10h-10z", 10.0 * static_cast<double>(j),
                               10.0 * static_cast<double>(i));
    }
  }
  std::string out = frame(x, y, kHeight, "GRAPE-AP: bias matrix of a text", "key (query downwards)",
                          text.size() - 1);
  out += format("<g transform='translate(%.0f,%.0f) scale(%.5f)'>\n", x, y, size / 10);
  for (int s = 0; s < kShades; ++s) {
    const int light = 235 * s / (kShades - 1);
    out += format("<path fill='rgb(%d,%d,%d)' d='", light, 70 + light * 165 / 235,
                  130 + light * 105 / 235) +
           squares[static_cast<std::size_t>(s)] + "'/>\n";
  }
  return out + "</g>\n" + label(x + kHeight + 12, y + 16, "fill='#004682'", "dark: 0") +
         label(x + kHeight + 12, y + 34, "fill='#777'", format("light: %.1f", least));
}

// Some code from Eigen's headers, behind the licence.
std::string eigen_text(std::size_t length) {
  const std::string path = std::string(GRAPE_EIGEN_DIR) + "/Eigen/src/Core/DenseBase.h";
  std::ifstream file(path);
  const std::string all{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  const std::size_t begin = all.find("namespace Eigen");
  if (begin == std::string::npos) throw std::runtime_error("cannot read " + path);
  return all.substr(begin, length);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string path = argc > 1 ? argv[1] : "encodings.svg";
  const Panel rope = rope_panel(513), alibi = alibi_panel(257), fox = fox_panel(eigen_text(601));
  std::ofstream out(path);
  out << "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 1040 560' font-family='sans-serif' "
         "font-size='13'>\n<rect width='1040' height='560' fill='white'/>\n"
      << drawn(rope, 50, 40) << drawn(alibi, 560, 40) << drawn(fox, 50, 315)
      << path_integral_panel(eigen_text(48), 560, 315) << "</svg>\n";
  if (!out.flush()) {
    std::fprintf(stderr, "cannot write %s\n", path.c_str());
    return 1;
  }
  std::printf("logit or bias at a distance of   16    64   256\n");
  for (const Panel* panel : {&rope, &alibi}) {
    for (const Curve& c : panel->curves) {
      std::printf("%-26s %8.2f %5.2f %5.2f\n",
                  (panel->title.substr(0, panel->title.find(':')) + " " + c.name).c_str(), c.y[16],
                  c.y[64], c.y[256]);
    }
  }
  std::printf("wrote %s\n", path.c_str());
}
