// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "grape/core/detail/late.hpp"
#include "grape/core/error.hpp"
#include "grape/core/scalar.hpp"
#include "grape/generator/generator.hpp"
#include "grape/generator/plane_frame.hpp"
#include "grape/generator/rank2.hpp"
#include "grape/math/frame.hpp"
#include "grape/math/skew_schur.hpp"
#include "grape/spectrum/spectrum.hpp"

namespace grape::inline v0 {

/// m planes that may overlap: column i of a and of b [d, m] and theta_i [m] are one of them.
struct OverlappingPlanes {
  FrameMatrix a;          ///< [d, m]
  FrameMatrix b;          ///< [d, m]
  Eigen::VectorXd theta;  ///< [m], radians a position
};

/// The non-commuting mixture of appendix D,
///
///   L = sum_i theta_i (a_i b_i^T - b_i a_i^T) = P S P^T,   P = [a_1 b_1 .. a_m b_m],
///
/// compressed to R = min(2 m, d) directions: P = Q R_P (Householder QR), then the real Schur form
/// of the R x R skew matrix R_P S R_P^T gives an orthonormal frame, whose columns span every a_i
/// and b_i, and floor(R / 2) frequencies. exp(n L) then costs O(R d) a token, and nothing is d x d.
/// Planes may coincide, be parallel, be zero or turn equally fast; frequencies that are 0 to
/// rounding are 0.
///
/// Parameters are shared by all heads or come in P sets. Their gradient is vjp() of what
/// apply_rotation_plane_vjp gives.
template <Element Scalar_>
class CompactPlanes {
 public:
  using Scalar = Scalar_;
  using Kind = SkewGenerator;
  /// What a mixture is made of: OverlappingPlanes.
  using Planes = detail::late_t<OverlappingPlanes, Scalar>;

  /// One mixture for all heads.
  explicit CompactPlanes(OverlappingPlanes planes)
      : CompactPlanes(std::vector<Planes>{std::move(planes)}) {}

  /// One mixture for each parameter set. Throws ArgumentError unless all have the same d >= 2 and
  /// m >= 1, entries are finite and so are the frequencies that they make (below 2^63).
  explicit CompactPlanes(std::vector<Planes> sets)
      : parameters_(std::move(sets)), planes_(compressed(parameters_)) {}

  Index sets() const { return static_cast<Index>(parameters_.size()); }
  /// The planes as they were given.
  const OverlappingPlanes& parameters(Index set = 0) const {
    return parameters_[static_cast<std::size_t>(set)];
  }
  const PlaneFrame<accumulation_t<Scalar>>& plane_frame() const { return planes_; }
  const Spectrum& spectrum() const { return planes_.spectrum(); }
  /// Itself: it has no attention factor.
  const CompactPlanes& unscaled() const { return *this; }

  /// The gradient for a set's a, b and theta from that set's d_planes [R, d], the gradient that
  /// apply_rotation_plane_vjp made: with Z its transpose, [d, R],
  ///
  ///   d a_i = theta_i Z F^T b_i,   d b_i = -theta_i Z F^T a_i,   d theta_i = a_i^T Z F^T b_i.
  ///
  /// Throws ArgumentError for a set or a size that does not fit.
  OverlappingPlanes vjp(std::span<const double> d_planes, Index set = 0) const {
    const auto z = detail::set_gradient(planes_, "d_planes", d_planes, set);
    const Matrix& f = planes_.frame(set);
    const Matrix &a = parameters(set).a, &b = parameters(set).b;
    const Vector& theta = parameters(set).theta;
    const Matrix on_a = z * (f.transpose() * b), on_b = z * (f.transpose() * a);
    OverlappingPlanes out{on_a, on_b, Vector(a.cols())};
    for (Index i = 0; i < a.cols(); ++i) {
      out.theta[i] = a.col(i).dot(on_a.col(i));
      for (Index k = 0; k < a.rows(); ++k) {
        out.a(k, i) *= theta[i];
        out.b(k, i) *= -theta[i];
      }
    }
    return out;
  }

 private:
  using Matrix = detail::late_t<FrameMatrix, Scalar>;
  using Vector = detail::late_t<Eigen::VectorXd, Scalar>;

  static void check(const OverlappingPlanes& p, const OverlappingPlanes& first, std::size_t set) {
    const auto name = [&](const char* field) { return detail::text("planes[", set, "].", field); };
    if (p.a.rows() < 2 || p.a.cols() < 1) {
      detail::fail(name("a"), detail::text("a ", p.a.rows(), " x ", p.a.cols(), " matrix"),
                   "[d, m] with d >= 2 and m >= 1");
    }
    for (const auto& [field, matrix] : {std::pair{"a", &p.a}, std::pair{"b", &p.b}}) {
      if (matrix->rows() != first.a.rows() || matrix->cols() != first.a.cols()) {
        detail::fail(
            name(field), detail::text("a ", matrix->rows(), " x ", matrix->cols(), " matrix"),
            detail::text("the shape of planes[0].a, ", first.a.rows(), " x ", first.a.cols()));
      }
      const Vector entries = static_cast<const Matrix*>(matrix)->reshaped();
      detail::check_finite(name(field).c_str(), entries);
    }
    if (p.theta.size() != first.a.cols()) {
      detail::fail(name("theta"), detail::text(p.theta.size(), " entries"),
                   detail::text("one for each of the ", first.a.cols(), " planes"));
    }
    detail::check_finite(name("theta").c_str(), p.theta);
  }

  static PlaneFrame<accumulation_t<Scalar>> compressed(const std::vector<Planes>& sets) {
    if (sets.empty()) detail::fail("planes", "an empty list", "one mixture, or one a set");
    std::vector<Matrix> frames;
    std::vector<double> frequencies;
    for (std::size_t set = 0; set < sets.size(); ++set) {
      check(sets[set], sets.front(), set);
      append_compressed(sets[set], set, frames, frequencies);
    }
    const auto spectrum =
        Spectrum::per_head(std::move(frequencies), static_cast<Index>(sets.size()));
    // What a product of two Householder products is off by, with room.
    const double tolerance =
        64 * static_cast<double>(sets.front().a.rows()) * std::numeric_limits<double>::epsilon();
    return PlaneFrame<accumulation_t<Scalar>>(std::move(frames), spectrum, tolerance);
  }

  static void append_compressed(const OverlappingPlanes& p, std::size_t set,
                                std::vector<Matrix>& frames, std::vector<double>& frequencies) {
    const Matrix &a = p.a, &b = p.b;
    const Index d = a.rows(), m = a.cols(), directions = (std::min)(2 * m, d);
    // Every vector near unit length; what that takes off it goes to its plane's speed.
    Matrix columns(d, 2 * m);
    Vector speed(m);
    for (Index i = 0; i < m; ++i) {
      const int ea = detail::binary_exponent(a.col(i)), eb = detail::binary_exponent(b.col(i));
      for (Index k = 0; k < d; ++k) {
        columns(k, 2 * i) = std::ldexp(a(k, i), -ea);
        columns(k, 2 * i + 1) = std::ldexp(b(k, i), -eb);
      }
      speed[i] = std::ldexp(p.theta[i], ea + eb);
      if (!(std::fabs(speed[i]) < 0x1p62)) {
        detail::fail(detail::text("planes[", set, "].theta[", i, "]"), detail::text(p.theta[i]),
                     "|theta| |a| |b| below 2^62");
      }
    }
    const Eigen::HouseholderQR<Matrix> qr(columns);
    const Matrix q = qr.householderQ() * Matrix::Identity(d, directions);
    const Matrix r = qr.matrixQR().topRows(directions).template triangularView<Eigen::Upper>();
    Matrix skew = Matrix::Zero(directions, directions);
    double scale = 0;
    for (Index i = 0; i < m; ++i) {
      const auto r_a = r.col(2 * i), r_b = r.col(2 * i + 1);
      skew.noalias() += speed[i] * (r_a * r_b.transpose());
      skew.noalias() -= speed[i] * (r_b * r_a.transpose());
      scale += std::fabs(speed[i]) * r_a.norm() * r_b.norm();
    }
    const auto schur = skew_schur<Matrix>(skew);
    const Matrix& planes = schur.planes;
    frames.emplace_back(q * planes);
    const double rounding = 4 * std::numeric_limits<double>::epsilon() * scale;
    for (const double theta : schur.frequencies) {
      frequencies.push_back(theta > rounding ? theta : 0.0);
    }
  }

  std::vector<Planes> parameters_;
  PlaneFrame<accumulation_t<Scalar>> planes_;
};

}  // namespace grape::inline v0
