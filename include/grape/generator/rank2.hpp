// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <Eigen/Core>
#include <cmath>
#include <limits>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "grape/core/detail/late.hpp"
#include "grape/core/error.hpp"
#include "grape/core/scalar.hpp"
#include "grape/generator/generator.hpp"
#include "grape/generator/plane_frame.hpp"
#include "grape/math/frame.hpp"
#include "grape/spectrum/spectrum.hpp"

namespace grape::inline v0 {

namespace detail {

/// A number as high + low, |low| <= ulp(high) / 2: twice the digits of a double.
struct DoubleDouble {
  double high = 0, low = 0;
};

/// a.b of doubles as if computed in twice the precision (Ogita, Rump, Oishi: Dot2). Every product
/// is an fma, so that no compiler contracts it with the sum and spoils the error terms.
template <class A, class B>
DoubleDouble dot_twofold(const A& a, const B& b) {
  double sum = 0, error = 0;
  for (Index i = 0; i < a.size(); ++i) {
    const double product = std::fma(a[i], b[i], 0.0);
    const double next = sum + product, part = next - sum;
    error += std::fma(a[i], b[i], -product) + ((sum - (next - part)) + (product - part));
    sum = next;
  }
  const double high = sum + error;
  return {high, error - (high - sum)};
}

/// Power of two e with the largest magnitude of v in [2^(e-1), 2^e); 0 for v = 0.
template <class V>
int binary_exponent(const V& v) {
  int exponent = 0;
  std::frexp(static_cast<double>(v.cwiseAbs().maxCoeff()), &exponent);
  return exponent;
}

template <class V>
void check_finite(const char* name, const V& v) {
  for (Index i = 0; i < v.size(); ++i) {
    if (!is_finite(static_cast<double>(v[i]))) {
      fail(text(name, "[", i, "]"), text(static_cast<double>(v[i])), "a finite number");
    }
  }
}

}  // namespace detail

/// The generator of rotations in one plane (section 2, equation 2.1):
///
///   L(a, b) = a b^T - b a^T in so(d),   alpha = |a|^2, beta = |b|^2, gamma = a.b,
///   s = sqrt(alpha beta - gamma^2) = |a| |b| sin(angle),   L^2 = -s^2 P,
///
/// P the orthogonal projection on span{a, b}; eigenvalues +-i s and d - 2 zeros. exp(t L) turns b
/// towards a by t s radians: L(e1, e2) generates R2(-t).
///
/// Kept beside a and b, and what everything is computed from: the orthonormal basis u, v with
///
///   a = |a| u,   b = b_u u + b_v v,  b_v >= 0,   L = s (u v^T - v u^T),
///
/// s and v to a few epsilon however nearly parallel a and b are (dot products in twofold precision)
/// and whatever their lengths (both are scaled by powers of two first). If a = 0, u is along b; if
/// s = 0 there is no plane, and v = 0.
///
/// Shapes: a, b are [d], d >= 2. Scalar is float or double; numbers that belong to the generator as
/// a whole (alpha, s, ...) are double, so that angles t s keep their digits at far positions.
/// Throws ArgumentError if the sizes differ, d < 2 or an entry is not finite.
template <Accumulator Scalar_, int Dim = Eigen::Dynamic>
class Rank2Generator {
  static_assert(Dim == Eigen::Dynamic || Dim >= 2, "a plane needs d >= 2 dimensions");

 public:
  using Scalar = Scalar_;
  using Kind = SkewGenerator;
  using Vector = Eigen::Matrix<Scalar, Dim, 1>;
  using Matrix = Eigen::Matrix<Scalar, Dim, Dim>;

  struct Gauged;

  /// L(a, b).
  Rank2Generator(const Vector& a, const Vector& b) : a_(a), b_(b) {
    if (a.size() < 2) {
      detail::fail("a", detail::text("size ", a.size()), "d >= 2 entries");
    }
    if (b.size() != a.size()) {
      detail::fail("b", detail::text("size ", b.size()), detail::text("the size of a, ", a.size()));
    }
    detail::check_finite("a", a);
    detail::check_finite("b", b);
    make_basis();
    if (s() < 0x1p63) planes_ = std::make_shared<const PlaneFrame<Scalar>>(make_planes());
  }

  /// The constraint b = J a of section 2.4, J a = (-a1, a0, -a3, a2, ...): gamma = 0 and
  /// alpha = beta = s, so that |a| = 1 turns by t. The last coordinate of an odd d is no part of
  /// J's planes and must be 0, or a and b differ in length. Throws ArgumentError if it is not.
  static Rank2Generator with_constraint(const Vector& a) {
    if (a.size() % 2 == 1 && a[a.size() - 1] != Scalar(0)) {
      detail::fail("a", detail::text("last entry ", a[a.size() - 1], " of ", a.size()),
                   "0 there, or an even size");
    }
    Vector b = Vector::Zero(a.size());
    for (Index i = 0; i + 1 < a.size(); i += 2) {
      b[i] = -a[i + 1];
      b[i + 1] = a[i];
    }
    return Rank2Generator(a, b);
  }

  /// The gauge of section 2: L(a, b) = scale L(u, v) with orthonormal u, v, scale = s. Throws
  /// ArgumentError where a and b are parallel, since they span no plane then.
  static Gauged gauge(const Vector& a, const Vector& b) {
    const Rank2Generator l(a, b);
    if (l.mantissa_ == 0) {
      detail::fail("b", "a vector parallel to a", "two vectors that span a plane");
    }
    return {Rank2Generator(l.u_, l.v_), l.s()};
  }

  Index dim() const { return a_.size(); }
  const Vector& a() const { return a_; }
  const Vector& b() const { return b_; }
  /// The orthonormal basis of the plane.
  const Vector& u() const { return u_; }
  const Vector& v() const { return v_; }

  /// |a|^2, |b|^2, a.b: infinite or 0 only where the number itself leaves the range of double.
  double alpha() const { return std::ldexp(alpha_, 2 * exponent_a_); }
  double beta() const { return std::ldexp(beta_, 2 * exponent_b_); }
  double gamma() const { return std::ldexp(gamma_, exponent_a_ + exponent_b_); }
  /// Radians per unit of t, >= 0.
  double s() const { return std::ldexp(mantissa_, exponent_a_ + exponent_b_); }
  /// t s, without overflow where s alone has it.
  double angle(double t) const { return std::ldexp(t * mantissa_, exponent_a_ + exponent_b_); }

  /// Coordinates in the basis: a = a_u u, b = b_u u + b_v v.
  double a_u() const { return std::ldexp(a_u_, exponent_a_); }
  /// b_u, b along u.
  double b_u() const { return std::ldexp(b_u_, exponent_b_); }
  /// b_v >= 0, b along v.
  double b_v() const { return std::ldexp(b_v_, exponent_b_); }

  /// L x in O(d). Throws ArgumentError unless x has d entries.
  Vector operator*(const Vector& x) const {
    if (x.size() != dim()) {
      detail::fail("x", detail::text("size ", x.size()), detail::text("d = ", dim()));
    }
    const auto speed = static_cast<Scalar>(s());
    return speed * (u_ * v_.dot(x) - v_ * u_.dot(x));
  }

  /// The plane as a frame of two columns, v and u, and its speed s, which is how it acts on
  /// tensors. Without a plane (s = 0) the frame still spans a and b. Throws ArgumentError if s is
  /// 2^63 or more.
  const PlaneFrame<Scalar>& plane_frame() const {
    if (!planes_) {
      detail::fail("s", detail::text(s(), " radians per unit"), "a speed below 2^63");
    }
    return *planes_;
  }

  /// Itself: it has no attention factor.
  const Rank2Generator& unscaled() const { return *this; }

  /// The dense d x d matrix L, for inspection.
  Matrix matrix() const {
    const Vector turned = static_cast<Scalar>(s()) * u_;
    const Matrix outer = turned * v_.transpose();
    return outer - outer.transpose();
  }

 private:
  using Wide = Eigen::Matrix<double, Dim, 1>;

  /// u and v are rounded to Scalar.
  static constexpr double kFrameTolerance = 64 * std::numeric_limits<Scalar>::epsilon();

  static Wide scaled(const Vector& x, int exponent) {
    Wide out(x.size());
    for (Index i = 0; i < x.size(); ++i) {
      out[i] = std::ldexp(static_cast<double>(x[i]), -exponent);
    }
    return out;
  }

  void make_basis() {
    exponent_a_ = detail::binary_exponent(a_);
    exponent_b_ = detail::binary_exponent(b_);
    const Wide a = scaled(a_, exponent_a_), b = scaled(b_, exponent_b_);
    const detail::DoubleDouble alpha = detail::dot_twofold(a, a), gamma = detail::dot_twofold(a, b);
    alpha_ = alpha.high;
    beta_ = detail::dot_twofold(b, b).high;
    gamma_ = gamma.high;
    a_u_ = std::sqrt(alpha_);
    u_ = v_ = Vector::Zero(a_.size());
    if (alpha_ == 0) {
      b_u_ = std::sqrt(beta_);
      if (b_u_ > 0) u_ = (b / b_u_).template cast<Scalar>();
      return;
    }
    u_ = (a / a_u_).template cast<Scalar>();
    b_u_ = gamma_ / a_u_;
    // c = b - q a with q = gamma / alpha as high + low; an fma rounds what is left, not what
    // cancels.
    const double high = gamma.high / alpha.high;
    const double rest = std::fma(-high, alpha.high, gamma.high) + gamma.low - high * alpha.low;
    const double low = rest / alpha.high;
    Wide c(a.size());
    for (Index i = 0; i < a.size(); ++i) c[i] = std::fma(-low, a[i], std::fma(-high, a[i], b[i]));
    // c may be tiny beside b: scale once more before it is squared.
    const int exponent = detail::binary_exponent(c);
    for (Index i = 0; i < c.size(); ++i) c[i] = std::ldexp(c[i], -exponent);
    // What the quotient's error left along a is no longer small beside c.
    c -= a * (a.dot(c) / alpha_);
    const double norm = c.norm();
    // Below the digits of the twofold quotient there is no plane, only rounding.
    b_v_ = std::ldexp(norm, exponent);
    if (!(b_v_ > kNoPlane * std::sqrt(beta_))) {
      b_v_ = 0;
      return;
    }
    v_ = (c / norm).template cast<Scalar>();
    mantissa_ = a_u_ * b_v_;
  }

  PlaneFrame<Scalar> make_planes() const {
    using Frame = detail::late_t<FrameMatrix, Scalar>;
    Frame f(dim(), 2);
    f.col(1) = u_.template cast<double>();
    if (mantissa_ != 0) {
      f.col(0) = v_.template cast<double>();
    } else {
      if (a_u_ == 0 && b_u_ == 0) f.col(1) = Wide::Unit(dim(), 0);
      f.col(0) = frame::completed<Frame>(Frame(f.col(1))).col(1);
    }
    return PlaneFrame<Scalar>({std::move(f)}, Spectrum({s()}), kFrameTolerance);
  }

  /// sin(angle) that two different directions of doubles cannot fall below unless they differ in
  /// entries that are tiny beside the others: 2^-90.
  static constexpr double kNoPlane = 0x1p-90;

  Vector a_, b_, u_, v_;
  int exponent_a_ = 0, exponent_b_ = 0;
  // Of a / 2^exponent_a and b / 2^exponent_b; s = mantissa * 2^(exponent_a + exponent_b).
  double alpha_ = 0, beta_ = 0, gamma_ = 0, a_u_ = 0, b_u_ = 0, b_v_ = 0, mantissa_ = 0;
  std::shared_ptr<const PlaneFrame<Scalar>> planes_;  // none where s is too large for one
};

/// L(a, b) as scale times a generator of unit speed.
template <Accumulator Scalar_, int Dim>
struct Rank2Generator<Scalar_, Dim>::Gauged {
  Rank2Generator generator;  ///< orthonormal a and b
  double scale;              ///< radians per unit of t, > 0
};

/// What a scalar loss changes by with a and b.
template <Accumulator Scalar, int Dim = Eigen::Dynamic>
struct Rank2PlaneGradients {
  Eigen::Matrix<Scalar, Dim, 1> a;  ///< [d]
  Eigen::Matrix<Scalar, Dim, 1> b;  ///< [d]
};

/// The gradient for a and b of L(a, b) from d_planes [2, d], what apply_rotation_plane_vjp made of
/// the generator's rotation: with Z its transpose and F the frame,  d a = Z F^T b,  d b = -Z F^T a.
/// Throws ArgumentError unless d_planes has 2 d entries.
template <Accumulator Scalar, int Dim>
Rank2PlaneGradients<Scalar, Dim> rank2_plane_vjp(const Rank2Generator<Scalar, Dim>& generator,
                                                 std::span<const double> d_planes) {
  const PlaneFrame<Scalar>& planes = generator.plane_frame();
  using Frame = detail::late_t<FrameMatrix, Scalar>;
  const Frame& f = planes.frame(0);
  const Eigen::Map<const Frame> z = detail::set_gradient(planes, "d_planes", d_planes, 0);
  const Frame d_a = z * (f.transpose() * generator.b().template cast<double>());
  const Frame d_b = z * (f.transpose() * generator.a().template cast<double>());
  return {d_a.col(0).template cast<Scalar>(), (-d_b.col(0)).template cast<Scalar>()};
}

}  // namespace grape::inline v0
