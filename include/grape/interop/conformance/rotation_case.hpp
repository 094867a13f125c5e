// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "grape/core/pairing.hpp"
#include "grape/core/scalar.hpp"
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
  /// The last position that the kernel must be right for, >= 32: the length of its table minus 1,
  /// or of the context. Checks ask for it, and for none beyond it. At most 2^31 - 1 is tried.
  std::int64_t greatest_position = 2147483647;
  /// What is allowed, in roundings of T (half an epsilon) times the norm of the pair, > 0 ...
  double roundings = 8;
  /// ... and beside that times the angle: how exact the angles n theta are, relatively, in [0,
  /// 0.01]. 2^-52 is a product of doubles. Engines that hold n and theta in float and multiply
  /// there have 2^-22: their angles are off by 0.03 at position 131072, and no check is made where
  /// they could be off by more than 1/4.
  double angle_error = 0x1p-52;
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

}  // namespace detail

}  // namespace grape::inline v0::conformance
