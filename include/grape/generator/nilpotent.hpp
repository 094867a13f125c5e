// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <Eigen/Core>
#include <Eigen/QR>
#include <Eigen/SVD>
#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>
#include <utility>
#include <vector>

#include "grape/core/detail/late.hpp"
#include "grape/core/error.hpp"
#include "grape/core/scalar.hpp"
#include "grape/generator/generator.hpp"
#include "grape/math/scaled_columns.hpp"

namespace grape::inline v0 {

namespace detail {

/// The machine epsilon of the numbers that a scalar stands for.
template <class S>
constexpr double plain_epsilon() {
  return std::numeric_limits<S>::digits == std::numeric_limits<float>::digits
             ? static_cast<double>(std::numeric_limits<float>::epsilon())
             : std::numeric_limits<double>::epsilon();
}

}  // namespace detail

/// A nilpotent generator of index 2 and low rank in gl(n) (sections 4.1, 4.4 and 4.7):
///
///   A = U V^T,   V^T U = 0,   hence A^2 = 0 and exp(s A) = I + s A.
///
/// Shapes: U and V are [n, r]; vectors make rank 1. S is float, double or Eigen::AutoDiffScalar.
/// A value to look at and to compute with; what adds biases to tensors is UnipotentGenerator, whose
/// head of slope beta is Nilpotent::bias(d, beta). Sums of generators that annihilate each other
/// are generators again (the paper's dictionary).
///
/// Invariant: |v_i . u_j| <= 4 n epsilon |v_i| |u_j| for all columns, at any scale: what rounding
/// leaves of orthogonal columns.
template <class S>
class Nilpotent {
 public:
  using Scalar = S;
  using Kind = NilpotentGenerator;
  using Vector = Eigen::Matrix<S, Eigen::Dynamic, 1>;
  using Matrix = Eigen::Matrix<S, Eigen::Dynamic, Eigen::Dynamic>;

  /// Throws ArgumentError if the shapes differ, n < 2, r < 1, an entry is not finite or V^T U is
  /// not 0 (nearest() makes it so).
  Nilpotent(Matrix u, Matrix v) : Nilpotent(std::move(u), std::move(v), "v") {}

  /// The bias of an attention head in gl(d + 2), -slope e_{d+2} e_{d+1}^T (equation 4.7). Throws
  /// ArgumentError if d < 0 or the slope is not finite.
  static Nilpotent bias(Index d, const S& slope) {
    if (d < 0) detail::fail("d", detail::text(d), "a value >= 0");
    Matrix u = Matrix::Zero(d + 2, 1), v = Matrix::Zero(d + 2, 1);
    u(d + 1, 0) = -slope;
    v(d, 0) = S(1);
    return Nilpotent(std::move(u), std::move(v));
  }

  /// The translation of equation 4.1, [[0, w], [0, 0]] in gl(d + 1), w of d entries. Throws
  /// ArgumentError if w is empty or an entry is not finite.
  static Nilpotent translation(const Vector& w) {
    Matrix u = Matrix::Zero(w.size() + 1, 1), v = Matrix::Zero(w.size() + 1, 1);
    u.col(0).head(w.size()) = w;
    v(w.size(), 0) = S(1);
    return Nilpotent(std::move(u), std::move(v));
  }

  /// The generator of V and of U without its part in the span of V: the nearest U that V allows,
  /// for U and V that learning has moved. Throws ArgumentError as the constructor does.
  static Nilpotent nearest(const Matrix& u, const Matrix& v) requires Accumulator<S> {
    check_shapes(u, v, "v");
    const detail::ScaledColumns<Wide> scaled(v);
    const Eigen::ColPivHouseholderQR<Wide> qr(scaled.columns);
    const Wide q = Wide(qr.householderQ()).leftCols(static_cast<Eigen::Index>(qr.rank()));
    Wide wide = u.template cast<double>();
    for (int pass = 0; pass < 2; ++pass) wide -= q * (q.transpose() * wide).eval();
    return Nilpotent(Matrix(wide.template cast<S>()), v);
  }

  /// n, the size of the space.
  Index dim() const { return u_.rows(); }
  /// r, the number of columns; the rank of A is at most that.
  Index columns() const { return u_.cols(); }
  const Matrix& u() const { return u_; }
  const Matrix& v() const { return v_; }

  /// A x in O(n r). Throws ArgumentError unless x has n entries.
  Vector operator*(const Vector& x) const {
    if (x.size() != dim()) {
      detail::fail("x", detail::text("size ", x.size()), detail::text("n = ", dim()));
    }
    Vector out = Vector::Zero(dim());
    for (Index k = 0; k < columns(); ++k) {
      const S along = v_.col(k).dot(x);
      for (Index i = 0; i < dim(); ++i) out[i] += u_(i, k) * along;
    }
    return out;
  }

  /// c A.
  Nilpotent operator*(const S& c) const { return Nilpotent(Matrix(u_ * c), v_); }
  Nilpotent transpose() const { return Nilpotent(v_, u_); }

  /// A + B where A B = B A = 0, as biases of one dictionary have it. Throws ArgumentError unless
  /// that holds, or if the sizes differ.
  Nilpotent operator+(const Nilpotent& other) const {
    if (other.dim() != dim()) {
      detail::fail("other", detail::text("size ", other.dim()), detail::text("n = ", dim()));
    }
    Matrix u(dim(), columns() + other.columns()), v = u;
    u << u_, other.u_;
    v << v_, other.v_;
    return Nilpotent(std::move(u), std::move(v), "other");
  }

  bool operator==(const Nilpotent& other) const { return same(u_, other.u_) && same(v_, other.v_); }

  /// The dense n x n matrix, for inspection.
  Matrix matrix() const {
    Matrix out = Matrix::Zero(dim(), dim());
    for (Index j = 0; j < dim(); ++j) {
      for (Index i = 0; i < dim(); ++i) {
        for (Index k = 0; k < columns(); ++k) out(i, j) += u_(i, k) * v_(j, k);
      }
    }
    return out;
  }

  /// The min(r, n) largest singular values of A, from the largest to the smallest, without forming
  /// A: those of R_U R_V^T, where U = Q_U R_U and V = Q_V R_V; |u| |v| for rank 1. Columns may be
  /// of any lengths.
  std::vector<double> singular_values() const {
    detail::ScaledColumns<Wide> u(u_), v(v_);
    const auto exponent = [&](Index k) {
      const auto i = static_cast<std::size_t>(k);
      return static_cast<int>(u.exponents[i] + v.exponents[i]);
    };
    int most = (std::numeric_limits<int>::min)();
    for (Index k = 0; k < columns(); ++k) most = (std::max)(most, exponent(k));
    for (Index k = 0; k < columns(); ++k) u.columns.col(k) *= std::ldexp(1.0, exponent(k) - most);
    if (columns() == 1) return {std::ldexp(u.columns.norm() * v.columns.norm(), most)};
    const Wide core = triangle(u.columns) * triangle(v.columns).transpose();
    const Eigen::JacobiSVD<Wide> svd(core);
    std::vector<double> out;
    for (const double sigma : svd.singularValues()) out.push_back(std::ldexp(sigma, most));
    return out;
  }

 private:
  using Wide = detail::late_t<Eigen::MatrixXd, S>;

  Nilpotent(Matrix u, Matrix v, std::string_view blamed) : u_(std::move(u)), v_(std::move(v)) {
    check_shapes(u_, v_, blamed);
    const detail::ScaledColumns<Wide> su(u_), sv(v_);
    const double epsilon = 4 * static_cast<double>(dim()) * detail::plain_epsilon<S>();
    for (Index i = 0; i < columns(); ++i) {
      for (Index j = 0; j < columns(); ++j) {
        const double got = sv.columns.col(i).dot(su.columns.col(j));
        const double size = sv.columns.col(i).norm() * su.columns.col(j).norm();
        if (std::fabs(got) <= epsilon * size) continue;
        detail::fail(detail::text(blamed, " (V^T U)(", i, ", ", j, ")"),
                     detail::text("a cosine of ", got / size),
                     detail::text("0 to ", epsilon, ": A = U V^T with A^2 = 0"));
      }
    }
  }

  static void check_shapes(const Matrix& u, const Matrix& v, std::string_view blamed) {
    if (u.rows() < 2) detail::fail("u", detail::text(u.rows(), " rows"), "n >= 2 of them");
    if (u.cols() < 1) detail::fail("u", "no columns", "one column or more");
    if (v.rows() != u.rows() || v.cols() != u.cols()) {
      detail::fail(blamed, detail::text(v.rows(), " x ", v.cols()),
                   detail::text("the shape of u, ", u.rows(), " x ", u.cols()));
    }
    check_finite("u", u);
    check_finite(blamed, v);
  }

  static void check_finite(std::string_view argument, const Matrix& m) {
    for (Index k = 0; k < m.cols(); ++k) {
      for (Index i = 0; i < m.rows(); ++i) {
        const double x = detail::plain_value(m(i, k));
        if (!detail::is_finite(x)) {
          detail::fail(detail::text(argument, "(", i, ", ", k, ")"), detail::text(x),
                       "a finite number");
        }
      }
    }
  }

  static bool same(const Matrix& a, const Matrix& b) {
    if (a.rows() != b.rows() || a.cols() != b.cols()) return false;
    for (Index k = 0; k < a.cols(); ++k) {
      for (Index i = 0; i < a.rows(); ++i) {
        if (!(a(i, k) == b(i, k))) return false;
      }
    }
    return true;
  }

  /// R of the QR decomposition, [min(n, r), r].
  static Wide triangle(const Wide& m) {
    const Eigen::HouseholderQR<Wide> qr(m);
    const Index rows = (std::min)(m.rows(), m.cols());
    return Wide(qr.matrixQR().topRows(rows).template triangularView<Eigen::Upper>());
  }

  Matrix u_, v_;
};

}  // namespace grape::inline v0
