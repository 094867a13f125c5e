// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <Eigen/Core>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <memory>
#include <utility>

#include "grape/core/error.hpp"
#include "grape/core/scalar.hpp"
#include "grape/generator/plane_frame.hpp"
#include "grape/math/frame.hpp"
#include "grape/math/sincos.hpp"

namespace grape::inline v0 {

/// A rotation of R^d in the planes of a frame, exp(n L) of any skew generator in the form of
/// PlaneFrame, as an operator of O(r d):
///
///   G = I + F (R(phi) - I) F^T,   R(phi) = blockdiag R2(phi_m),   F [d, r] orthonormal, r = 2 M.
///
/// Invariants: G^T G = I and det G = 1 to a few epsilon; in one frame rotations commute, G(phi)
/// G(psi) = G(phi + psi), and so G(n)^-1 = G(-n) = G(n)^T and the relative law G(n)^T G(l) =
/// G(l - n) holds (section 1) whether or not the planes that made the generator commute. An
/// attention factor is no part of it. Copies share the frame. S is double, and a template parameter
/// so that what is not called is not compiled.
template <std::same_as<double> S>
class BasicFrameRotation {
 public:
  using Vector = Eigen::Matrix<S, Eigen::Dynamic, 1>;
  using Matrix = Eigen::Matrix<S, Eigen::Dynamic, Eigen::Dynamic>;

  /// The rotation by angles[m] radians in the plane of columns 2m and 2m + 1. Throws ArgumentError
  /// unless the frame is [d, 2 M], orthonormal to 1e-6, and there are M finite angles.
  static BasicFrameRotation from_angles(Matrix frame, const Vector& angles) {
    detail::check_frame_shape("frame", frame);
    const double error = frame::orthonormality_error<Matrix>(frame);
    if (!(error <= 1e-6)) {
      detail::fail("frame", detail::text("columns with |F^T F - I| = ", error),
                   "orthonormal columns, to 1e-6");
    }
    if (2 * angles.size() != frame.cols()) {
      detail::fail("angles", detail::text(angles.size(), " entries"),
                   detail::text("one for each two of the ", frame.cols(), " columns"));
    }
    BasicFrameRotation out(std::make_shared<const Matrix>(std::move(frame)), angles.size());
    for (Index m = 0; m < angles.size(); ++m) {
      if (!detail::is_finite(angles[m])) {
        detail::fail(detail::text("angles[", m, "]"), detail::text(angles[m]), "a finite angle");
      }
      out.cos_[m] = std::cos(angles[m]);
      out.sin_[m] = std::sin(angles[m]);
    }
    return out;
  }

  /// exp(n L) at an integer position, its angles exact as math/sincos.hpp has them. Throws
  /// ArgumentError unless `set` is one of the generator's.
  template <FrameGenerator G>
  static BasicFrameRotation exp(const G& generator, std::int64_t n, Index set = 0) {
    return exp_of(generator, set, [n](Turn turn, double) { return phase_at(turn, n); });
  }

  /// exp(x L) at a real position. Throws ArgumentError also unless |x| < 2^63.
  template <FrameGenerator G>
  static BasicFrameRotation exp_real(const G& generator, double x, Index set = 0) {
    if (!(std::fabs(x) < 0x1p63)) detail::fail("x", detail::text(x), "|x| < 2^63");
    return exp_of(generator, set,
                  [x](Turn turn, double theta) { return phase_at(turn, theta, x); });
  }

  Index dim() const { return frame_->rows(); }
  Index planes() const { return cos_.size(); }
  const Matrix& frame() const { return *frame_; }
  double cos(Index plane) const { return cos_[plane]; }
  double sin(Index plane) const { return sin_[plane]; }

  /// The rotated vector, O(r d). Throws ArgumentError unless x has d entries.
  Vector operator*(const Vector& x) const { return turned(x, 1); }

  /// G^T x = G^-1 x, O(r d).
  Vector inverse_times(const Vector& x) const { return turned(x, -1); }

  BasicFrameRotation inverse() const {
    BasicFrameRotation out = *this;
    out.sin_ = -sin_;
    return out;
  }

  /// Composition in one frame: angles add. Throws ArgumentError unless both have the same frame.
  BasicFrameRotation operator*(const BasicFrameRotation& other) const {
    const bool same_shape = other.dim() == dim() && other.planes() == planes();
    if (other.frame_ != frame_ && !(same_shape && other.frame() == frame())) {
      detail::fail("other", "a rotation in another frame", "one in the same frame");
    }
    BasicFrameRotation out = *this;
    out.cos_ = cos_.cwiseProduct(other.cos_) - sin_.cwiseProduct(other.sin_);
    out.sin_ = sin_.cwiseProduct(other.cos_) + cos_.cwiseProduct(other.sin_);
    return out;
  }

  /// The dense d x d matrix, for inspection.
  Matrix matrix() const {
    Matrix out = Matrix::Identity(dim(), dim());
    out.noalias() += frame() * moved(frame().transpose(), 1);
    return out;
  }

 private:
  BasicFrameRotation(std::shared_ptr<const Matrix> frame, Index planes)
      : frame_(std::move(frame)), cos_(planes), sin_(planes) {}

  template <class G, class PhaseOf>
  static BasicFrameRotation exp_of(const G& generator, Index set, PhaseOf phase_of) {
    const auto& planes = generator.plane_frame();
    if (set < 0 || set >= planes.sets()) {
      detail::fail("set", detail::text(set), detail::text("an index in [0, ", planes.sets(), ")"));
    }
    const Index count = planes.spectrum().planes();
    BasicFrameRotation out(std::make_shared<const Matrix>(planes.frame(set).leftCols(2 * count)),
                           count);
    for (Index m = 0; m < count; ++m) {
      const Turn turn = planes.turns()[static_cast<std::size_t>(set * count + m)];
      const CosSin<double> g = cos_sin(phase_of(turn, planes.spectrum()(set, m)));
      out.cos_[m] = g.cos;
      out.sin_[m] = g.sin;
    }
    return out;
  }

  /// (R - I) u, or (R^T - I) u for a sign of -1; 1 - cos as sin^2 / (1 + cos) where cos is near 1.
  Matrix moved(const Matrix& u, double sign) const {
    Matrix out(u.rows(), u.cols());
    for (Index m = 0; m < planes(); ++m) {
      const double s = sign * sin_[m], c = cos_[m];
      const double fallen = c > 0 ? -s * s / (1 + c) : c - 1;
      out.row(2 * m) = fallen * u.row(2 * m) - s * u.row(2 * m + 1);
      out.row(2 * m + 1) = s * u.row(2 * m) + fallen * u.row(2 * m + 1);
    }
    return out;
  }

  Vector turned(const Vector& x, double sign) const {
    if (x.size() != dim()) {
      detail::fail("x", detail::text("size ", x.size()), detail::text("d = ", dim()));
    }
    return x + frame() * moved(frame().transpose() * x, sign).col(0);
  }

  std::shared_ptr<const Matrix> frame_;
  Vector cos_, sin_;
};

/// The rotation in the planes of a frame, as everybody names it.
using FrameRotation = BasicFrameRotation<double>;

}  // namespace grape::inline v0
