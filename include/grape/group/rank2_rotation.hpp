// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <complex>
#include <limits>

#include "grape/core/error.hpp"
#include "grape/core/scalar.hpp"
#include "grape/generator/rank2.hpp"
#include "grape/math/rodrigues.hpp"

namespace grape::inline v0 {

namespace detail {

inline void check_size(const char* name, Index got, Index wanted) {
  if (got != wanted) fail(name, text("size ", got), text("d = ", wanted));
}

}  // namespace detail

/// exp(t L(a, b)) x by the formula of section 2.3, for any scalar that has arithmetic, sin, cos and
/// sqrt (Eigen::AutoDiffScalar above all): the statement that Rank2Rotation is tested against.
///
///   y = x + f1 (a <b,x> - b <a,x>) + f2 (gamma (a <b,x> + b <a,x>) - beta a <a,x> - alpha b <b,x>)
///
/// It is differentiable at s = 0 too. As the formula stands, it loses digits for nearly parallel
/// a, b and overflows where alpha beta does; Rank2Rotation does neither. Throws ArgumentError
/// unless a, b, x have one size d >= 2.
template <class S, int Dim>
Eigen::Matrix<S, Dim, 1> rank2_exp_times(const Eigen::Matrix<S, Dim, 1>& a,
                                         const Eigen::Matrix<S, Dim, 1>& b, const S& t,
                                         const Eigen::Matrix<S, Dim, 1>& x) {
  if (a.size() < 2) detail::fail("a", detail::text("size ", a.size()), "d >= 2 entries");
  detail::check_size("b", b.size(), a.size());
  detail::check_size("x", x.size(), a.size());
  const S alpha = a.dot(a), beta = b.dot(b), gamma = a.dot(b);
  const S ax = a.dot(x), bx = b.dot(x);
  const RodriguesFactors<S> f = rodrigues<S>(t, alpha * beta - gamma * gamma);
  const S on_a = f.f1 * bx + f.f2 * (gamma * bx - beta * ax);
  const S on_b = f.f2 * (gamma * ax - alpha * bx) - f.f1 * ax;
  Eigen::Matrix<S, Dim, 1> y = x;
  for (Index i = 0; i < y.size(); ++i) y[i] += a[i] * on_a + b[i] * on_b;
  return y;
}

/// A rotation in one plane of R^d, exp(t L) of a Rank2Generator, as an operator of O(d):
///
///   G = I + sin(phi) (u v^T - v u^T) - (1 - cos phi) (u u^T + v v^T),   phi = t s,
///
/// which is Rodrigues' formula in the orthonormal basis u, v of the plane: nothing cancels and no
/// scale of a, b enters. G turns v towards u by phi radians.
///
/// Invariants: G^T G = I and det G = 1 to a few epsilon; G(t) G(r) = G(t + r); G(t)^-1 = G(-t) =
/// G(t)^T; the relative law G(t)^T G(r) = G(r - t) (section 1). The angle is kept in double and
/// known to epsilon |phi|. A generator with s = 0 makes the identity.
template <Accumulator Scalar_, int Dim = Eigen::Dynamic>
class Rank2Rotation {
 public:
  using Scalar = Scalar_;
  using Generator = Rank2Generator<Scalar, Dim>;
  using Vector = typename Generator::Vector;
  using Matrix = typename Generator::Matrix;

  /// exp(t L); t = n omega in the paper's names. Throws ArgumentError if t or the angle t s is not
  /// finite.
  static Rank2Rotation exp(const Generator& generator, double t) {
    if (!detail::is_finite(t)) detail::fail("t", detail::text(t), "a finite number");
    const double angle = generator.angle(t);
    if (!detail::is_finite(angle)) {
      detail::fail("t", detail::text(t), "a finite angle t s");
    }
    return Rank2Rotation(generator.u(), generator.v(), angle);
  }

  /// The rotation that a dense matrix is: the inverse of matrix(). Throws ArgumentError unless g is
  /// square with d >= 2 and, to 64 d epsilon, a rotation of at most one plane.
  ///
  /// The columns of G - I span the plane, scaled by |2 sin(phi / 2)|; two of them, chosen by
  /// pivoting, are made orthonormal, and the angle is read from G in that basis.
  static Rank2Rotation from_matrix(const Matrix& g) {
    const Index d = g.rows();
    if (d < 2 || g.cols() != d) {
      detail::fail("g", detail::text("a ", d, " x ", g.cols(), " matrix"), "d x d with d >= 2");
    }
    const Matrix moved = g - Matrix::Identity(d, d);
    Vector u = Vector::Zero(d), v = Vector::Zero(d);
    Index first = 0, second = 0;
    double angle = 0;
    if (moved.colwise().squaredNorm().maxCoeff(&first) > Scalar(0)) {
      u = moved.col(first).normalized();
      Matrix rest = moved - u * (u.transpose() * moved);
      rest -= u * (u.transpose() * rest).eval();
      if (rest.colwise().squaredNorm().maxCoeff(&second) > Scalar(0)) {
        v = rest.col(second).normalized();
        const Vector gu = g * u, gv = g * v;
        angle = std::atan2(static_cast<double>(u.dot(gv) - v.dot(gu)),
                           static_cast<double>(u.dot(gu) + v.dot(gv)));
      }
    }
    const Rank2Rotation out(u, v, angle);
    const auto error = static_cast<double>((out.matrix() - g).cwiseAbs().maxCoeff());
    const double bound = 64 * static_cast<double>(d) * kEpsilon;
    if (!(error <= bound)) {
      detail::fail("g", detail::text("a matrix ", error, " away from such a rotation"),
                   "a rotation of one plane");
    }
    return out;
  }

  Index dim() const { return u_.size(); }
  const Vector& u() const { return u_; }
  const Vector& v() const { return v_; }
  /// phi in radians, as it was given: not reduced to one turn.
  double angle() const { return angle_; }

  /// The rotated vector, O(d). Throws ArgumentError unless x has d entries.
  Vector operator*(const Vector& x) const { return turned(x, sin_); }

  /// G^T x = G^-1 x, O(d).
  Vector inverse_times(const Vector& x) const { return turned(x, -sin_); }

  Rank2Rotation inverse() const { return Rank2Rotation(u_, v_, -angle_); }

  /// Composition in one plane: angles add; the planes' bases may differ, in orientation too. Throws
  /// ArgumentError if the sizes differ or if both rotations turn and their planes are not the same
  /// to 64 epsilon.
  Rank2Rotation operator*(const Rank2Rotation& other) const {
    detail::check_size("other", other.dim(), dim());
    if (other.angle_ == 0) return *this;
    if (angle_ == 0) return other;
    // The other basis in this one: an orthogonal 2 x 2 matrix if the planes are the same.
    const auto uu = static_cast<double>(u_.dot(other.u_)),
               uv = static_cast<double>(u_.dot(other.v_));
    const auto vu = static_cast<double>(v_.dot(other.u_)),
               vv = static_cast<double>(v_.dot(other.v_));
    const double orientation = uu * vv - uv * vu;  // product of the cosines of the planes' angles
    const Vector off_u = other.u_ - static_cast<Scalar>(uu) * u_ - static_cast<Scalar>(vu) * v_;
    const Vector off_v = other.v_ - static_cast<Scalar>(uv) * u_ - static_cast<Scalar>(vv) * v_;
    const auto off = static_cast<double>((std::max)(off_u.norm(), off_v.norm()));
    if (!(off <= 64 * kEpsilon)) {
      detail::fail("other", detail::text("a plane ", off, " away"), "a rotation of the same plane");
    }
    return Rank2Rotation(u_, v_, orientation > 0 ? angle_ + other.angle_ : angle_ - other.angle_);
  }

  /// The dense d x d matrix, for inspection.
  Matrix matrix() const {
    const auto s = static_cast<Scalar>(sin_), c = static_cast<Scalar>(versine_);
    const Vector on_u = s * v_ - c * u_, on_v = -s * u_ - c * v_;
    Matrix out = Matrix::Identity(dim(), dim());
    out += u_ * on_u.transpose() + v_ * on_v.transpose();
    return out;
  }

  /// The principal logarithm: L(a, b) with exp(1 L) = G, |phi| <= pi, in the gauge a = phi u, b =
  /// v.
  Generator log() const {
    const auto reduced = static_cast<Scalar>(std::remainder(angle_, 2 * kPi));
    return Generator(Vector(reduced * u_), v_);
  }

 private:
  static constexpr double kEpsilon = std::numeric_limits<Scalar>::epsilon();
  static constexpr double kPi = 3.14159265358979323846;

  Rank2Rotation(const Vector& u, const Vector& v, double angle)
      : u_(u), v_(v), angle_(angle), sin_(std::sin(angle)) {
    const double half = std::sin(angle / 2);
    versine_ = 2 * half * half;
  }

  Vector turned(const Vector& x, double sine) const {
    detail::check_size("x", x.size(), dim());
    const Scalar s = static_cast<Scalar>(sine), c = static_cast<Scalar>(versine_);
    const Scalar xu = u_.dot(x), xv = v_.dot(x);
    return x + (s * xv - c * xu) * u_ - (s * xu + c * xv) * v_;
  }

  Vector u_, v_;
  double angle_, sin_, versine_;  // versine = 1 - cos
};

/// What a scalar loss changes by with x, a, b and t.
template <Accumulator Scalar, int Dim = Eigen::Dynamic>
struct Rank2Gradients {
  Eigen::Matrix<Scalar, Dim, 1> x;  ///< [d]
  Eigen::Matrix<Scalar, Dim, 1> a;  ///< [d]
  Eigen::Matrix<Scalar, Dim, 1> b;  ///< [d]
  double t;  ///< with t = n omega: n t is the gradient of omega, omega t that of n
};

/// VJP of y = exp(t L(a, b)) x: from w = d loss / dy the gradients for x, a, b and t (appendix I),
/// in O(d). Returns them; accumulates nothing. Throws ArgumentError as Rank2Rotation does.
///
/// With Z = t L:   d loss / da = K b,   d loss / db = -K a,
///
///   K = t int_0^1 (w_r x_r^T - x_r w_r^T) dr,   x_r = exp(r Z) x,   w_r = exp((1 - r) Z)^T w.
///
/// In the basis u, v, vectors of the plane are complex numbers p + i q and exp(r Z) multiplies by
/// e^{-i r phi}, so that the integrals are sinc(phi / 2): smooth at s = 0, no division by s.
template <Accumulator Scalar, int Dim>
Rank2Gradients<Scalar, Dim> rank2_rotation_vjp(const Rank2Generator<Scalar, Dim>& generator,
                                               double t, const Eigen::Matrix<Scalar, Dim, 1>& x,
                                               const Eigen::Matrix<Scalar, Dim, 1>& w) {
  using Vector = Eigen::Matrix<Scalar, Dim, 1>;
  using Complex = std::complex<double>;
  const auto rotation = Rank2Rotation<Scalar, Dim>::exp(generator, t);
  detail::check_size("x", x.size(), generator.dim());
  detail::check_size("w", w.size(), generator.dim());
  const Vector &u = generator.u(), &v = generator.v();
  const auto plane = [&](const Vector& z) {
    return Complex(static_cast<double>(u.dot(z)), static_cast<double>(v.dot(z)));
  };
  const auto off_plane = [&](const Vector& z, const Complex& p) {
    return Vector(z - static_cast<Scalar>(p.real()) * u - static_cast<Scalar>(p.imag()) * v);
  };
  const Complex px = plane(x), pw = plane(w);
  const double phi = rotation.angle();
  // The means over r of x_r and w_r in the plane, and u^T K v / t, which no mean is needed for.
  const Complex half = sinc(phi / 2) * Complex(std::cos(phi / 2), std::sin(phi / 2));
  const Complex mean_x = px * std::conj(half), mean_w = pw * half;
  const double twist = std::imag(std::conj(pw) * px * std::polar(1.0, -phi));

  // K z for z = z_u u + z_v v, t = 1.
  const Vector x_off = off_plane(x, px), w_off = off_plane(w, pw);
  const auto k_times = [&](double z_u, double z_v) {
    const auto on_w = static_cast<Scalar>(z_u * mean_x.real() + z_v * mean_x.imag());
    const auto on_x = static_cast<Scalar>(z_u * mean_w.real() + z_v * mean_w.imag());
    return Vector(on_w * w_off - on_x * x_off + static_cast<Scalar>(z_v * twist) * u -
                  static_cast<Scalar>(z_u * twist) * v);
  };
  Rank2Gradients<Scalar, Dim> out;
  out.x = rotation.inverse_times(w);
  out.a = k_times(t * generator.b_u(), t * generator.b_v());
  out.b = k_times(-t * generator.a_u(), 0.0);
  out.t = generator.s() * twist;
  return out;
}

}  // namespace grape::inline v0
