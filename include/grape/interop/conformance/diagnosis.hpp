// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <vector>

#include "grape/core/scalar.hpp"
#include "grape/interop/conformance/report.hpp"

namespace grape::inline v0::conformance::detail {

/// The largest difference, infinite where something is not finite.
inline double distance(std::span<const double> got, std::span<const double> wanted,
                       double gain = 1) {
  double error = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    error = worse(error, std::fabs(got[i] - gain * wanted[i]));
  }
  return error;
}

/// The factor that brings `wanted` nearest to `got`, in the sum of squares.
inline double best_gain(std::span<const double> got, std::span<const double> wanted) {
  double both = 0, one = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    both += got[i] * wanted[i];
    one += wanted[i] * wanted[i];
  }
  return one > 0 ? both / one : 1;
}

/// How near an explanation must come.
struct Tolerance {
  double tight;  ///< what a kernel may be off by
  double loose;  ///< what still shows which convention it follows
};

/// The explanation that a kernel's numbers bear out.
struct Verdict {
  /// No hypothesis.
  static constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();
  std::size_t hypothesis = kNone;  ///< 0 is the right one, only not exact enough
  double gain = 1;                 ///< not 1: the same times a factor
};

/// How many times nearer another convention than the right one must be.
inline constexpr double kFarNearer = 4;

/// What the right convention's error would have had to stay below: half and bfloat16 may be off by
/// so much that another convention's numbers are within what is allowed.
inline double far_nearer(double error, double allowed) {
  return (std::min)(allowed, error / kFarNearer);
}

/// Which of the hypotheses, the first of which is the right one, gives the numbers `got`. Two
/// thresholds keep a wrong convention and lost precision apart: conventions differ by as much as
/// the numbers themselves, so that one is recognized at `loose` where it is by far the nearest. A
/// factor is looked for where `scaled` says that one is a likely mistake.
inline Verdict explain(std::span<const double> got,
                       const std::vector<std::vector<double>>& hypotheses, Tolerance allowed,
                       bool scaled) {
  Verdict plain, with_gain;
  double least = std::numeric_limits<double>::infinity(), least_scaled = least;
  for (std::size_t h = 0; h < hypotheses.size(); ++h) {
    const double error = distance(got, hypotheses[h]);
    if ((h == 0 || kFarNearer * error <= distance(got, hypotheses[0])) && error < least) {
      plain = {h, 1};
      least = error;
    }
    const double gain = best_gain(got, hypotheses[h]);
    if (!scaled || !(gain >= 0x1p-4 && gain <= 0x1p4)) continue;
    const double rest = distance(got, hypotheses[h], gain) / gain;
    if (rest < least_scaled) {
      with_gain = {h, gain};
      least_scaled = rest;
    }
  }
  const bool gain_explains = least_scaled <= allowed.loose && 8 * least_scaled <= least;
  if (least > allowed.loose) return gain_explains ? with_gain : Verdict{};
  if (least > allowed.tight && gain_explains) return with_gain;
  return plain;
}

}  // namespace grape::inline v0::conformance::detail
