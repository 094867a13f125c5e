// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "grape/core/error.hpp"
#include "grape/core/pairing.hpp"
#include "grape/core/scalar.hpp"
#include "grape/core/view.hpp"
#include "grape/interop/conformance/golden.hpp"
#include "grape/interop/conformance/report.hpp"
#include "grape/interop/conformance/rotation_case.hpp"
#include "grape/interop/conformance/rotation_diagnosis.hpp"

namespace grape::inline v0::conformance {

namespace detail {

using grape::detail::fail;
using grape::detail::text;

/// Runs the checks of one kernel.
template <Element T, class Kernel>
class RotationChecks {
 public:
  RotationChecks(Kernel& kernel, const RotationOptions& options)
      : kernel_(kernel), options_(options) {}

  Report run() {
    check_options();
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
  /// Of pairs of norm `norm` at positions up to n.
  double allowed(double norm, double n = 0) const {
    return norm * (options_.roundings * rounding<T>() + n * options_.angle_error);
  }
  /// A position of the checks, brought into the kernel's range.
  std::int64_t within(std::int64_t n) const {
    constexpr std::int64_t kGreatest = 2000;
    const std::int64_t greatest = options_.greatest_position;
    return greatest >= kGreatest ? n : n * greatest / kGreatest;
  }

  void check_options() {
    const RotationOptions& o = options_;
    if (o.greatest_position < 32) {
      fail("options.greatest_position", text(o.greatest_position), "a position >= 32");
    }
    check_roundings("options.roundings", o.roundings);
    check_angle_error("options.angle_error", o.angle_error);
    if (!o.partial) report_.skipped.emplace_back("rest: options.partial is false");
    if (!o.negative_positions) {
      report_.skipped.emplace_back("inverse: options.negative_positions is false");
    }
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
    const Index seq = 5, dim = options_.partial ? 22 : 16;
    const std::vector<double> thetas = frequencies(kPlanes, kBase);
    const std::int64_t far = (std::min<std::int64_t>)(1000, options_.greatest_position);
    const List positions{0, 1, 17, options_.negative_positions ? -far : far, 3};
    const RotationCase c = one(positions, thetas);
    const auto x = numbers_.list<T>(seq * kHeads * dim);
    auto got = turn(x, c, kHeads, dim);
    if (options_.partial) {
      double changed = 0;
      for (std::size_t i = 0; i < x.size(); ++i) {
        if (static_cast<Index>(i) % dim < 2 * kPlanes) continue;
        changed = (std::max)(changed, got[i] == x[i] ? 0.0 : 1.0);
        got[i] = x[i];
      }
      report_.expect("rest", changed, 0, "coordinates that are not rotated changed");
    }
    const std::vector<double> wanted = rotated(x, c, kHeads, dim);
    const double limit = allowed(kNorm, static_cast<double>(far)), error = worst(got, wanted);
    if (error <= limit) {
      report_.expect("formula", error, limit, "x [5, 3, dim] against the formula");
    } else {
      float_angles_ = RotationDiagnosis<T>(x, got, c, {kHeads, dim, kPlanes},
                                           kNorm * options_.roundings * rounding<T>(), limit)
                          .report(report_);
    }
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
    const auto list = [&](const List& positions, std::int64_t shift = 0, std::int64_t sign = 1) {
      List out;
      for (const std::int64_t p : positions) out.push_back(sign * (within(p) + shift));
      return out;
    };
    const List n{3, 700, 12, 5}, m{900, 2, 55, 8};
    List sum = list(n);
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += within(m[i]);
    const auto turned = by(x, list(n));
    double lengths = 0;
    for (std::size_t i = 0; i < x.size(); i += static_cast<std::size_t>(dim)) {
      const double before = std::sqrt(dot(x, x, i, dim));
      lengths = worse(lengths, std::fabs(std::sqrt(dot(turned, turned, i, dim)) - before));
    }
    report_.expect("norm", lengths, allowed(4, 0), "the norm of a row changed");
    report_.expect("composition", worst(by(turned, list(m)), wide(by(x, sum))),
                   3 * allowed(kNorm, 1000), of_angles("by n, then by m, against by n + m"));
    if (options_.negative_positions) {
      report_.expect("inverse", worst(by(turned, list(n, 0, -1)), wide(x)),
                     2 * allowed(kNorm, 1000), "by n, then by -n");
    }
    const std::int64_t shift = within(1000);
    const auto q = by(x, list(n)), k = by(y, list(m));
    const auto q1 = by(x, list(n, shift)), k1 = by(y, list(m, shift));
    double relative = 0;
    for (std::size_t i = 0; i < x.size(); i += static_cast<std::size_t>(dim)) {
      relative = worse(relative, std::fabs(dot(q, k, i, dim) - dot(q1, k1, i, dim)));
    }
    // Four rotations, each of rows of norm 4 at most (dim entries below 1).
    report_.expect("relative", relative, 4 * 4 * allowed(4, 2000),
                   of_angles(text("q.k after both moved by ", shift, " positions")));
  }

  /// cos and sin of the angles, against 60-digit arithmetic.
  void large_positions() {
    const std::vector<double> thetas(std::begin(golden::kLongFrequencies),
                                     std::end(golden::kLongFrequencies));
    const std::size_t planes = thetas.size();
    for (std::size_t i = 0; i < std::size(golden::kLongPositions); ++i) {
      const std::int64_t n = golden::kLongPositions[i];
      if (n > options_.greatest_position) {
        report_.skipped.push_back(text("large_positions from ", n,
                                       " on: options.greatest_position ",
                                       options_.greatest_position));
        return;
      }
      if (static_cast<double>(n) * options_.angle_error > 0.25) {
        report_.skipped.push_back(
            text("large_positions from ", n, " on: options.angle_error allows any angle there"));
        return;
      }
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
      const double error = worst(got, wanted), limit = allowed(1, static_cast<double>(n));
      report_.expect("large_positions", error, limit,
                     of_angles(text("cos and sin at position ", n)));
      if (!(error <= limit)) return;  // those beyond say no more
    }
  }

  /// What a check of larger positions says, once angles were found to be of floats.
  std::string of_angles(const std::string& what) const {
    return float_angles_ ? what + kFloatAngles : what;
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
  static constexpr double kNorm = RotationDiagnosis<T>::kNorm;
  static constexpr Index kPlanes = 8;

  Kernel& kernel_;
  const RotationOptions& options_;
  Numbers numbers_{7};
  Report report_;
  bool float_angles_ = false;
};

}  // namespace detail

}  // namespace grape::inline v0::conformance
