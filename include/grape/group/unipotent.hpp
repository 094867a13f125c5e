// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

#include "grape/core/error.hpp"
#include "grape/generator/nilpotent.hpp"

namespace grape::inline v0 {

namespace detail {

inline void check_unipotent_size(std::string_view argument, Index got, Index wanted) {
  if (got != wanted) fail(argument, text("size ", got), text("n = ", wanted));
}

}  // namespace detail

/// The singular values of [[1, t], [0, 1]], t >= 0: sqrt(1 + t^2/2 +- t sqrt(1 + t^2/4)) (Lemma
/// J.4), written so that neither a tiny nor a huge t loses digits: t/2 + sqrt(1 + t^2/4) and its
/// reciprocal.
struct ShearSingularValues {
  double largest = 1;   ///< >= 1
  double smallest = 1;  ///< 1 / largest

  /// Those of a shear by |t|.
  static ShearSingularValues of(double t) {
    const double half = std::fabs(t) / 2;
    const double largest = half + std::hypot(1.0, half);
    return {largest, 1 / largest};
  }
};

/// A unipotent map of R^n, the group element of a Nilpotent generator (section 4, appendix J.3):
///
///   G = exp(s A) = I + s U V^T,   det G = 1,   (G - I)^2 = 0,   G^-1 = I - s U V^T.
///
/// All eigenvalues are 1. A query is acted on by G and a key by G^-T; with Nilpotent::bias(d, beta)
/// the product of [q; 1; 0] at s_i and [k; 0; 1] at s_j is then q . k + beta (s_j - s_i) (equations
/// 4.2 to 4.7). All of it in O(n r) but what makes dense matrices. S is float, double or
/// Eigen::AutoDiffScalar.
template <class S>
class Unipotent {
 public:
  using Generator = Nilpotent<S>;
  using Vector = typename Generator::Vector;
  using Matrix = typename Generator::Matrix;

  /// exp(s A). Throws ArgumentError if s is not finite.
  static Unipotent exp(const Generator& generator, const S& s) {
    if (!detail::is_finite(detail::plain_value(s))) {
      detail::fail("s", detail::text(detail::plain_value(s)), "a finite number");
    }
    return Unipotent(generator, s);
  }

  Index dim() const { return generator_.dim(); }
  /// A and s of G = exp(s A).
  const Generator& generator() const { return generator_; }
  const S& parameter() const { return s_; }
  /// log G = s A.
  Generator log() const { return generator_ * s_; }

  /// G x. Throws ArgumentError unless x has n entries.
  Vector operator*(const Vector& x) const {
    detail::check_unipotent_size("x", x.size(), dim());
    Vector out = generator_ * x;
    for (Index i = 0; i < dim(); ++i) out[i] = x[i] + s_ * out[i];
    return out;
  }

  /// G^-T x, what keys are acted on by. Throws ArgumentError unless x has n entries.
  Vector inverse_transpose_times(const Vector& x) const { return inverse_transpose() * x; }

  Unipotent inverse() const { return Unipotent(generator_, -s_); }
  Unipotent transpose() const { return Unipotent(generator_.transpose(), s_); }
  Unipotent inverse_transpose() const { return Unipotent(generator_.transpose(), -s_); }

  /// Composition: for one generator s adds; other generators must annihilate this one (A B = B A =
  /// 0, the paper's dictionary), and the result is exp(s A + t B). Throws ArgumentError where they
  /// do not, or if the sizes differ.
  Unipotent operator*(const Unipotent& other) const {
    if (generator_ == other.generator_) return Unipotent(generator_, s_ + other.s_);
    return Unipotent(log() + other.log(), S(1));
  }

  /// The dense n x n matrix, for inspection.
  Matrix matrix() const {
    Matrix out = generator_.matrix();
    for (Index j = 0; j < dim(); ++j) {
      for (Index i = 0; i < dim(); ++i) out(i, j) = S(i == j ? 1 : 0) + s_ * out(i, j);
    }
    return out;
  }

  /// All n singular values, from the largest to the smallest; their product is 1. Since V^T U = 0,
  /// each singular value sigma of A makes a shear of its own with t = |s| sigma (Lemma J.4), and
  /// the rest is 1.
  std::vector<double> singular_values() const {
    const auto n = static_cast<std::size_t>(dim());
    const std::vector<double> sigma = generator_.singular_values();
    std::vector<double> out(n, 1.0);
    // A^2 = 0 bounds the rank by n / 2; what exceeds it is rounding.
    for (std::size_t k = 0; k < (std::min)(sigma.size(), n / 2); ++k) {
      const ShearSingularValues pair = shear(sigma[k]);
      out[k] = pair.largest;
      out[n - 1 - k] = pair.smallest;
    }
    return out;
  }

  /// The largest over the smallest singular value, 1 + t^2/2 + t sqrt(1 + t^2/4) with t = |s| |A|.
  double condition_number() const {
    const double largest = shear(generator_.singular_values().front()).largest;
    return largest * largest;
  }

 private:
  Unipotent(Generator generator, S s) : generator_(std::move(generator)), s_(std::move(s)) {}

  ShearSingularValues shear(double sigma) const {
    return ShearSingularValues::of(detail::plain_value(s_) * sigma);
  }

  Generator generator_;
  S s_;
};

/// What unipotent_vjp returns, for y = exp(s U V^T) x and a loss with gradient w at y.
template <Accumulator Scalar>
struct UnipotentGradients {
  typename Nilpotent<Scalar>::Vector x;  ///< G^T w, [n]
  typename Nilpotent<Scalar>::Matrix u;  ///< s w (V^T x)^T, [n, r]
  typename Nilpotent<Scalar>::Matrix v;  ///< s x (U^T w)^T, [n, r]
  Scalar s;                              ///< <w, A x>
};

/// The gradients of y = x + s U (V^T x), in O(n r). Those of U and V are of that formula, as if the
/// entries were free: after a step, Nilpotent::nearest restores V^T U = 0. Throws ArgumentError
/// unless s is finite and x and w have n entries.
template <Accumulator Scalar>
UnipotentGradients<Scalar> unipotent_vjp(const Nilpotent<Scalar>& a, Scalar s,
                                         const typename Nilpotent<Scalar>::Vector& x,
                                         const typename Nilpotent<Scalar>::Vector& w) {
  detail::check_unipotent_size("x", x.size(), a.dim());
  detail::check_unipotent_size("w", w.size(), a.dim());
  if (!detail::is_finite(static_cast<double>(s))) {
    detail::fail("s", detail::text(s), "a finite number");
  }
  using Vector = typename Nilpotent<Scalar>::Vector;
  const Vector vx = a.v().transpose() * x, uw = a.u().transpose() * w;
  UnipotentGradients<Scalar> out;
  out.x = w + s * (a.v() * uw);
  out.u = s * w * vx.transpose();
  out.v = s * x * uw.transpose();
  out.s = uw.dot(vx);
  return out;
}

}  // namespace grape::inline v0
