// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <Eigen/Core>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "grape/core/error.hpp"
#include "grape/core/pairing.hpp"
#include "grape/core/scalar.hpp"
#include "grape/generator/canonical_planes.hpp"

namespace grape::inline v0 {

/// A rotation of R^d that turns coordinate pairs and leaves the other coordinates alone: the group
/// element of CanonicalPlanes, blockdiag R2(phi_m) in the basis of the planes.
///
///   R2(phi) = [[cos phi, -sin phi], [sin phi, cos phi]]
///
/// A value to look at and to compute with, in any scalar that has cos and sin (double, float,
/// Eigen::AutoDiffScalar); apply_rotation is the fast way to rotate tensors. Invariant: cos^2 +
/// sin^2 = 1 to rounding for every plane.
template <class S>
class BlockRotation {
 public:
  using Vector = Eigen::Matrix<S, Eigen::Dynamic, 1>;
  using Matrix = Eigen::Matrix<S, Eigen::Dynamic, Eigen::Dynamic>;

  /// The rotation by angles[m] radians in plane m; coordinates are counted from `first_coordinate`.
  /// Throws ArgumentError if that is negative or an angle is not finite.
  static BlockRotation from_angles(Pairing pairing, std::span<const S> angles,
                                   Index first_coordinate = 0) {
    using std::cos;
    using std::sin;
    if (first_coordinate < 0) {
      detail::fail("first_coordinate", detail::text(first_coordinate), "a coordinate >= 0");
    }
    BlockRotation out(pairing, first_coordinate);
    for (const S& angle : angles) {
      if (!detail::is_finite(static_cast<double>(detail::plain_value(angle)))) {
        detail::fail(detail::text("angles[", out.cos_.size(), "]"),
                     detail::text(detail::plain_value(angle)), "a finite number of radians");
      }
      out.cos_.push_back(cos(angle));
      out.sin_.push_back(sin(angle));
    }
    return out;
  }

  Index planes() const { return static_cast<Index>(cos_.size()); }
  Pairing pairing() const { return pairing_; }
  const S& cos(Index plane) const { return cos_[static_cast<std::size_t>(plane)]; }
  const S& sin(Index plane) const { return sin_[static_cast<std::size_t>(plane)]; }

  /// The rotated vector. Throws ArgumentError unless x holds every rotated coordinate.
  Vector operator*(const Vector& x) const {
    check_dim(x.size());
    Vector y = x;
    for (Index m = 0; m < planes(); ++m) {
      const auto [i, j] = coordinates(m);
      y[i] = x[i] * cos(m) - x[j] * sin(m);
      y[j] = x[i] * sin(m) + x[j] * cos(m);
    }
    return y;
  }

  /// Composition: angles add. Throws ArgumentError unless both turn the same planes.
  BlockRotation operator*(const BlockRotation& other) const {
    if (other.pairing_ != pairing_ || other.first_ != first_ || other.planes() != planes()) {
      detail::fail("other", other.described(), described());
    }
    BlockRotation out = *this;
    for (std::size_t m = 0; m < cos_.size(); ++m) {
      out.cos_[m] = cos_[m] * other.cos_[m] - sin_[m] * other.sin_[m];
      out.sin_[m] = sin_[m] * other.cos_[m] + cos_[m] * other.sin_[m];
    }
    return out;
  }

  BlockRotation inverse() const {
    BlockRotation out = *this;
    for (S& s : out.sin_) s = -s;
    return out;
  }

  /// The dense d x d matrix, for inspection. Throws ArgumentError if d is too small.
  Matrix matrix(Index d) const {
    check_dim(d);
    Matrix out = Matrix::Identity(d, d);
    for (Index m = 0; m < planes(); ++m) {
      const auto [i, j] = coordinates(m);
      out(i, i) = cos(m);
      out(i, j) = -sin(m);
      out(j, i) = sin(m);
      out(j, j) = cos(m);
    }
    return out;
  }

  /// exp(n L) of canonical planes at an integer position, exact as math/sincos.hpp has it. Throws
  /// ArgumentError unless `set` is one of the spectrum's parameter sets.
  template <class G, Pairing P>
  requires std::same_as<S, double>
  static BlockRotation exp(const CanonicalPlanes<G, P>& planes, std::int64_t n, Index set = 0) {
    const Index sets = planes.spectrum().sets(), count = planes.spectrum().planes();
    if (set < 0 || set >= sets) {
      detail::fail("set", detail::text(set), detail::text("an index in [0, ", sets, ")"));
    }
    BlockRotation out(P, planes.first_coordinate());
    for (Index m = 0; m < count; ++m) {
      const auto index = static_cast<std::size_t>(set * count + m);
      const CosSin<double> g = cos_sin(phase_at(planes.turns()[index], n));
      out.cos_.push_back(g.cos);
      out.sin_.push_back(g.sin);
    }
    return out;
  }

 private:
  BlockRotation(Pairing pairing, Index first) : pairing_(pairing), first_(first) {}

  std::string described() const {
    return detail::text(planes(), pairing_ == Pairing::half_split ? " half_split" : " interleaved",
                        " planes from coordinate ", first_);
  }

  std::pair<Index, Index> coordinates(Index plane) const {
    const PlaneCoordinates c = plane_coordinates(pairing_, plane, planes());
    return {first_ + c.first, first_ + c.second};
  }

  void check_dim(Index d) const {
    if (d < first_ + 2 * planes()) {
      detail::fail("dimension", detail::text(d), detail::text(">= ", first_ + 2 * planes()));
    }
  }

  Pairing pairing_;
  Index first_;
  std::vector<S> cos_, sin_;
};

}  // namespace grape::inline v0
