// SPDX-License-Identifier: Apache-2.0
// What a run leaves: a table on the terminal, curves as SVG and CSV.
#pragma once

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <numbers>
#include <numeric>
#include <ostream>
#include <stdexcept>
#include <string>
#include <vector>

#include "plot.hpp"
#include "text.hpp"

namespace lm {

/// Bits per byte; the library and the model count in nats.
inline double bits(double nats) { return nats / std::numbers::ln2; }

/// One trained model.
struct Result {
  std::string encoding;
  Index parameters = 0;
  double tokens_per_second = 0;
  std::vector<double> training;               // bits per byte at each step
  std::vector<Index> lengths;                 // of the windows it was evaluated on
  std::vector<std::vector<double>> held_out;  // for each, bits per byte at each place in the window
  std::string sample;

  double mean(std::size_t length) const {
    const auto& losses = held_out[length];
    return std::reduce(losses.begin(), losses.end()) / static_cast<double>(losses.size());
  }
};

inline void print_table(const std::vector<Result>& results, const Entropies& entropy) {
  std::printf("\nHeld-out loss in bits per byte, by the length of the window\n\n");
  std::printf("  %-16s %10s", "encoding", "parameters");
  for (std::size_t i = 0; i < results.front().lengths.size(); ++i) {
    const auto length = static_cast<long>(results.front().lengths[i]);
    std::printf(" %7ld%s", length, i == 0 ? " (trained)" : "");
  }
  std::printf("  %9s\n", "tokens/s");
  for (const auto& result : results) {
    std::printf("  %-16s %10ld", result.encoding.c_str(), static_cast<long>(result.parameters));
    for (std::size_t i = 0; i < result.lengths.size(); ++i) {
      std::printf(" %7.3f%s", result.mean(i), i == 0 ? "          " : "");
    }
    std::printf("  %9.0f\n", result.tokens_per_second);
  }
  std::printf("\nEntropy of the held-out text: unigram %.3f, bigram %.3f bits per byte.\n",
              entropy.unigram, entropy.bigram);
}

namespace detail {

/// Exponential average over about 20 values.
inline std::vector<Point> smooth(const std::vector<double>& values) {
  constexpr double kKeep = 0.95;
  std::vector<Point> points;
  double sum = 0, weight = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    sum = kKeep * sum + values[i];
    weight = kKeep * weight + 1;
    points.push_back({static_cast<double>(i + 1), sum / weight});
  }
  return points;
}

/// Means over `bins` equal stretches.
inline std::vector<Point> binned(const std::vector<double>& values, std::size_t bins) {
  std::vector<Point> points;
  bins = std::min(bins, values.size());
  for (std::size_t bin = 0; bin < bins; ++bin) {
    const std::size_t begin = bin * values.size() / bins, end = (bin + 1) * values.size() / bins;
    double sum = 0;
    for (std::size_t i = begin; i < end; ++i) sum += values[i];
    points.push_back(
        {(static_cast<double>(begin + end) + 1) / 2, sum / static_cast<double>(end - begin)});
  }
  return points;
}

/// A column for each result over a common first column.
template <class Column>
void write_csv(std::ostream& out, const std::string& first, const std::vector<Result>& results,
               const Column& column) {
  out << first;
  for (const auto& result : results) out << "," << result.encoding;
  out << "\n";
  for (std::size_t row = 0; row < column(results.front()).size(); ++row) {
    out << row + 1;
    for (const auto& result : results) out << "," << column(result)[row];
    out << "\n";
  }
}

}  // namespace detail

/// Writes curves.svg, loss.csv and extrapolation.csv; throws std::runtime_error if it cannot.
inline void write_curves(const std::filesystem::path& directory, const std::vector<Result>& results,
                         const Entropies& entropy, const std::string& subtitle) {
  constexpr std::size_t kBins = 32;
  Panel loss{"Learning", "step", "training loss, bits per byte", {}, {}, {}};
  Panel beyond{"Beyond the training length",
               "place in the window",
               "held-out loss, bits per byte",
               {},
               {},
               {}};
  loss.across = {{"unigram entropy", entropy.unigram}, {"bigram entropy", entropy.bigram}};
  beyond.upright = {{"trained up to here", static_cast<double>(results.front().lengths.front())}};
  for (const auto& result : results) {
    const bool muted = result.encoding == "none";
    loss.series.push_back({result.encoding, detail::smooth(result.training), muted});
    beyond.series.push_back(
        {result.encoding, detail::binned(result.held_out.back(), kBins), muted});
  }
  const auto write = [&](const char* name, const auto& content) {
    std::ofstream file(directory / name);
    content(file);
    file.close();
    if (!file) throw std::runtime_error("cannot write '" + (directory / name).string() + "'");
  };
  write("curves.svg", [&](std::ostream& out) {
    write_svg(out, "One small transformer, different position encodings", subtitle, {loss, beyond});
  });
  write("loss.csv", [&](std::ostream& out) {
    detail::write_csv(
        out, "step", results, [](const Result& r) -> auto& { return r.training; });
  });
  write("extrapolation.csv", [&](std::ostream& out) {
    detail::write_csv(
        out, "place", results, [](const Result& r) -> auto& { return r.held_out.back(); });
  });
}

}  // namespace lm
