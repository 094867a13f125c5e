// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>
#include <string_view>
#include <vector>

#include "grape/core/pairing.hpp"
#include "grape/core/scalar.hpp"
#include "grape/core/view.hpp"
#include "grape/interop/conformance/golden.hpp"
#include "grape/interop/conformance/report.hpp"

namespace grape::inline v0::conformance {

/// What a rotation kernel is asked to do: to turn x [1, seq, heads, dim] in place, the pair of
/// coordinates of plane m of token t by positions[t] frequencies[m],
///
///   x0' = x0 cos - x1 sin,   x1' = x0 sin + x1 cos,
///
/// and to leave the coordinates from 2 frequencies.size() on as they are.
struct RotationCase {
  std::span<const std::int64_t> positions;  ///< [seq], negative ones too
  std::span<const double> frequencies;      ///< base^(-2m / (2 frequencies.size()))
  double base;
  Pairing pairing;
};

/// What the kernel claims, and how exact it must be.
struct RotationOptions {
  Pairing pairing = Pairing::interleaved;
  /// Whether the kernel takes positions below 0, and fewer rotated coordinates than dim.
  bool negative_positions = true;
  bool partial = true;
  /// The greatest position that the kernel must be right for; at most 2^31 - 1 is tried.
  std::int64_t greatest_position = 2147483647;
  /// What is allowed, in roundings of T (half an epsilon) times the norm of the pair.
  double roundings = 8;
};

namespace detail {

/// The plain statement of the rotation, in double. `turn` multiplies the angle, `shift` is added to
/// the position, so that wrong kernels can be told apart.
template <class T>
std::vector<double> rotated(const std::vector<T>& x, const RotationCase& c, Index heads, Index dim,
                            double turn = 1, std::int64_t shift = 0) {
  std::vector<double> out;
  for (const T value : x) out.push_back(static_cast<double>(value));
  const auto planes = static_cast<Index>(c.frequencies.size());
  for (std::size_t t = 0; t < c.positions.size(); ++t) {
    for (Index h = 0; h < heads; ++h) {
      double* row = out.data() + (static_cast<Index>(t) * heads + h) * dim;
      for (Index m = 0; m < planes; ++m) {
        const PlaneCoordinates at = plane_coordinates(c.pairing, m, planes);
        const double angle = turn * static_cast<double>(c.positions[t] + shift) *
                             c.frequencies[static_cast<std::size_t>(m)];
        const double first = row[at.first], second = row[at.second];
        row[at.first] = first * std::cos(angle) - second * std::sin(angle);
        row[at.second] = first * std::sin(angle) + second * std::cos(angle);
      }
    }
  }
  return out;
}

template <class T>
double worst(const std::vector<T>& got, const std::vector<double>& wanted) {
  double error = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    error = worse(error, std::fabs(static_cast<double>(got[i]) - wanted[i]));
  }
  return error;
}

/// Runs the checks of one kernel.
template <Element T, class Kernel>
class RotationChecks {
 public:
  RotationChecks(Kernel& kernel, const RotationOptions& options)
      : kernel_(kernel), options_(options) {}

  Report run() {
    golden();
    formula();
    laws();
    large_positions();
    return std::move(report_);
  }

 private:
  static constexpr Index kHeads = 3;
  using List = std::vector<std::int64_t>;

  static std::vector<double> frequencies(Index planes, double base) {
    std::vector<double> out;
    for (Index m = 0; m < planes; ++m) {
      out.push_back(std::pow(base, -static_cast<double>(m) / static_cast<double>(planes)));
    }
    return out;
  }
  RotationCase one(const List& positions, const std::vector<double>& thetas) const {
    return {positions, thetas, kBase, options_.pairing};
  }
  std::vector<T> turn(std::vector<T> x, const RotationCase& c, Index heads, Index dim) {
    kernel_(c, blhd(x.data(), 1, static_cast<Index>(c.positions.size()), heads, dim));
    return x;
  }
  /// Of pairs of norm `norm` at positions up to n, where angles may be products of doubles.
  double allowed(double norm, double n = 0) const {
    return norm * (options_.roundings * rounding<T>() + n * 0x1p-52);
  }

  void golden() {
    const bool interleaved = options_.pairing == Pairing::interleaved;
    const List positions(std::begin(golden::kRotationPositions),
                         std::end(golden::kRotationPositions));
    const std::vector<double> thetas = frequencies(4, kBase);
    const double* x = golden::kRotationX;
    const double* y = interleaved ? golden::kInterleavedY : golden::kHalfSplitY;
    const std::size_t count = std::size(golden::kRotationX);
    const auto got = turn(rounded<T>(x, count), one(positions, thetas), 1, 8);
    // The input is rounded to T too: one rounding more of each of two coordinates below 4.
    report_.expect("golden", worst(got, {y, y + count}), allowed(4) + 8 * rounding<T>(),
                   "rotation of x [7, 1, 8] by base 10000");
  }

  /// The formula at odd shapes. A kernel that fails it is compared with the usual mistakes.
  void formula() {
    const Index seq = 5, dim = options_.partial ? 22 : 16, planes = 8;
    const std::vector<double> thetas = frequencies(planes, kBase);
    List positions{0, 1, 17, 1000, 3};
    if (options_.negative_positions) positions[3] = -1000;
    const RotationCase c = one(positions, thetas);
    const auto x = numbers_.list<T>(seq * kHeads * dim);
    auto got = turn(x, c, kHeads, dim);
    if (options_.partial) {
      double changed = 0;
      for (std::size_t i = 0; i < x.size(); ++i) {
        if (static_cast<Index>(i) % dim < 2 * planes) continue;
        changed = (std::max)(changed, got[i] == x[i] ? 0.0 : 1.0);
        got[i] = x[i];
      }
      report_.expect("rest", changed, 0, "coordinates that are not rotated changed");
    }
    const double limit = allowed(kNorm, 1000);
    const double error = worst(got, rotated(x, c, kHeads, dim));
    std::string_view name = "formula", what = "x [5, 3, dim] against the formula";
    if (!(error <= limit)) {
      RotationCase other = c;
      other.pairing =
          c.pairing == Pairing::interleaved ? Pairing::half_split : Pairing::interleaved;
      if (worst(got, rotated(x, c, kHeads, dim, -1)) <= limit) {
        name = "direction", what = "turns by minus the angle";
      } else if (worst(got, rotated(x, other, kHeads, dim)) <= limit) {
        name = "pairing", what = "pairs the coordinates in the other way";
      } else if (worst(got, rotated(x, other, kHeads, dim, -1)) <= limit) {
        report_.expect("direction", error, limit, "turns by minus the angle");
        name = "pairing", what = "pairs the coordinates in the other way";
      } else if (worst(got, rotated(x, c, kHeads, dim, 1, 1)) <= limit ||
                 worst(got, rotated(x, c, kHeads, dim, 1, -1)) <= limit) {
        name = "offset", what = "turns by the position before or after";
      } else if (ignores_positions(x, got, c, dim, limit)) {
        name = "offset", what = "turns by the token's index, not by its position";
      }
    }
    report_.expect(name, error, limit, what);
  }

  bool ignores_positions(const std::vector<T>& x, const std::vector<T>& got, RotationCase c,
                         Index dim, double limit) const {
    List indices;
    for (std::size_t t = 0; t < c.positions.size(); ++t) {
      indices.push_back(static_cast<std::int64_t>(t));
    }
    c.positions = indices;
    return worst(got, rotated(x, c, kHeads, dim)) <= limit;
  }

  /// The laws of a one-parameter group: G(0) = I, |G x| = |x|, G(n) G(m) = G(n + m), and scores
  /// that see offsets only. They hold of every rotation, whatever its frequencies.
  void laws() {
    const Index seq = 4, dim = 16;
    const std::vector<double> thetas = frequencies(dim / 2, kBase);
    const auto x = numbers_.list<T>(seq * kHeads * dim), y = numbers_.list<T>(seq * kHeads * dim);
    const auto by = [&](const std::vector<T>& v, const List& positions) {
      return turn(v, one(positions, thetas), kHeads, dim);
    };
    const auto wide = [](const std::vector<T>& v) {
      return std::vector<double>(v.begin(), v.end());
    };
    report_.expect("identity", worst(by(x, {0, 0, 0, 0}), wide(x)), 0, "position 0 changed x");
    const List n{3, 700, 12, 5}, m{900, 2, 55, 8}, sum{903, 702, 67, 13};
    const auto turned = by(x, n);
    double lengths = 0;
    for (std::size_t i = 0; i < x.size(); i += static_cast<std::size_t>(dim)) {
      const double before = std::sqrt(dot(x, x, i, dim));
      lengths = worse(lengths, std::fabs(std::sqrt(dot(turned, turned, i, dim)) - before));
    }
    report_.expect("norm", lengths, allowed(4, 0), "the norm of a row changed");
    report_.expect("composition", worst(by(turned, m), wide(by(x, sum))), 3 * allowed(kNorm, 1000),
                   "by n, then by m, against by n + m");
    if (options_.negative_positions) {
      report_.expect("inverse", worst(by(turned, {-3, -700, -12, -5}), wide(x)),
                     2 * allowed(kNorm, 1000), "by n, then by -n");
    }
    const auto q = by(x, n), k = by(y, m);
    const auto q1 = by(x, {1003, 1700, 1012, 1005}), k1 = by(y, {1900, 1002, 1055, 1008});
    double relative = 0;
    for (std::size_t i = 0; i < x.size(); i += static_cast<std::size_t>(dim)) {
      relative = worse(relative, std::fabs(dot(q, k, i, dim) - dot(q1, k1, i, dim)));
    }
    // Four rotations, each of rows of norm 4 at most (dim entries below 1).
    report_.expect("relative", relative, 4 * 4 * allowed(4, 2000),
                   "q.k after both moved by 1000 positions");
  }

  /// cos and sin of the angles, against 60-digit arithmetic.
  void large_positions() {
    const std::vector<double> thetas(std::begin(golden::kLongFrequencies),
                                     std::end(golden::kLongFrequencies));
    const std::size_t planes = thetas.size();
    for (std::size_t i = 0; i < std::size(golden::kLongPositions); ++i) {
      const std::int64_t n = golden::kLongPositions[i];
      if (n > options_.greatest_position) continue;
      const List positions{n};
      const RotationCase c = one(positions, thetas);
      std::vector<T> x(2 * planes, static_cast<T>(0.0F));
      std::vector<double> wanted(2 * planes);
      for (std::size_t m = 0; m < planes; ++m) {
        const PlaneCoordinates at =
            plane_coordinates(c.pairing, static_cast<Index>(m), static_cast<Index>(planes));
        x[static_cast<std::size_t>(at.first)] = static_cast<T>(1.0F);
        wanted[static_cast<std::size_t>(at.first)] = golden::kLongCos[i * planes + m];
        wanted[static_cast<std::size_t>(at.second)] = golden::kLongSin[i * planes + m];
      }
      const auto got = turn(x, c, 1, static_cast<Index>(2 * planes));
      report_.expect("large_positions", worst(got, wanted), allowed(1, static_cast<double>(n)),
                     grape::detail::text("cos and sin at position ", n));
    }
  }

  static double dot(const std::vector<T>& a, const std::vector<T>& b, std::size_t begin,
                    Index count) {
    double sum = 0;
    for (std::size_t i = begin; i < begin + static_cast<std::size_t>(count); ++i) {
      sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
    }
    return sum;
  }

  static constexpr double kBase = 10000;
  static constexpr double kNorm = 1.4142135623730951;  // of two coordinates of at most 1

  Kernel& kernel_;
  const RotationOptions& options_;
  Numbers numbers_{7};
  Report report_;
};

}  // namespace detail

/// Checks a rotation kernel of your own, `kernel(const RotationCase&, TensorView<T> x)`, against
/// the formula, golden numbers and the laws of section 1 of the paper. The checks, by name:
///
///   golden            rotated vectors by public reference code
///   formula           the formula in double at odd sizes; where the kernel makes one of the usual
///                     mistakes the failure is called after that instead: `pairing`, `direction`
///                     (turns the other way), `offset` (wrong by one position, or blind to them)
///   rest              coordinates that are not rotated keep their bits
///   identity, norm, composition, inverse, relative      the laws
///   large_positions   cos and sin up to position 2^31 - 1, where angles in float are wrong
///
/// The kernel may throw; what it throws passes through.
template <Element T, class Kernel>
requires std::invocable<Kernel&, const RotationCase&, TensorView<T>> Report
check_rotation(Kernel&& kernel, const RotationOptions& options = {}) {
  return detail::RotationChecks<T, Kernel>(kernel, options).run();
}

}  // namespace grape::inline v0::conformance
