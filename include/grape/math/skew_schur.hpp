// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <Eigen/Core>
#include <Eigen/Householder>
#include <Eigen/SVD>
#include <cmath>
#include <type_traits>

#include "grape/core/error.hpp"
#include "grape/core/scalar.hpp"

namespace grape::inline v0 {

/// The real Schur form of a skew matrix S [r, r]:
///
///   S = T (sum_m theta_m J_m) T^T,   J_m: e_2m -> e_2m+1, e_2m+1 -> -e_2m,
///
/// T [r, r] orthogonal, M = floor(r / 2) frequencies theta_0 >= theta_1 >= .. >= 0. Columns 2m and
/// 2m + 1 of T span plane m, which exp(t S) turns from the first to the second by t theta_m; the
/// last column of an odd r stands still.
struct SkewSchur {
  Eigen::MatrixXd planes;       ///< T
  Eigen::VectorXd frequencies;  ///< [M]
};

/// The decomposition of the skew part of `s` (its strictly lower triangle is read). Orthogonality
/// and |S - T (..) T^T| are a few r epsilon (of |S|) whatever the frequencies are: repeated, zero
/// or far apart. O(r^3). Throws ArgumentError unless s is square with finite entries.
///
/// A Householder similarity makes S tridiagonal; even and odd coordinates then only map to each
/// other, by a bidiagonal matrix, whose singular vectors are the planes and whose singular values
/// are the frequencies (Ward and Gray 1978). An SVD knows no exceptional cases. (A template so that
/// it is compiled where it is called.)
template <class M = Eigen::MatrixXd>
SkewSchur skew_schur(const std::type_identity_t<M>& s) {
  const Index r = s.rows();
  if (s.cols() != r) {
    detail::fail("s", detail::text("a ", r, " x ", s.cols(), " matrix"), "a square matrix");
  }
  double largest = 0;
  for (Index j = 0; j < r; ++j) {
    for (Index i = j + 1; i < r; ++i) {
      if (!detail::is_finite(s(i, j))) {
        detail::fail(detail::text("s(", i, ", ", j, ")"), detail::text(s(i, j)), "a finite number");
      }
      largest = (std::max)(largest, std::fabs(s(i, j)));
    }
  }
  using Vector = Eigen::Matrix<typename M::Scalar, Eigen::Dynamic, 1>;
  SkewSchur out{M::Identity(r, r), Vector::Zero(r / 2)};
  if (largest == 0) return out;
  int exponent = 0;
  std::frexp(largest, &exponent);
  M scaled = M::Zero(r, r);
  for (Index j = 0; j < r; ++j) {
    for (Index i = j + 1; i < r; ++i) {
      scaled(i, j) = std::ldexp(s(i, j), -exponent);
      scaled(j, i) = -scaled(i, j);
    }
  }
  M q = M::Identity(r, r);
  Vector below(r - 1), space(r);
  for (Index k = 0; k + 1 < r; ++k) {
    const Index rest = r - k - 1;
    Vector essential(rest - 1);
    double tau = 0;
    scaled.col(k).tail(rest).makeHouseholder(essential, tau, below[k]);
    auto corner = scaled.bottomRightCorner(rest, rest);
    corner.applyHouseholderOnTheLeft(essential, tau, space.data());
    corner.applyHouseholderOnTheRight(essential, tau, space.data());
    q.rightCols(rest).applyHouseholderOnTheRight(essential, tau, space.data());
  }

  const Index odd = r / 2, even = r - odd;
  M map = M::Zero(odd, even);  // even -> odd coordinates
  for (Index k = 0; k < odd; ++k) {
    map(k, k) = below[2 * k];
    if (k + 1 < even) map(k, k + 1) = -below[2 * k + 1];
  }
  const Eigen::JacobiSVD<M, Eigen::FullPivHouseholderQRPreconditioner> svd(
      map, Eigen::ComputeFullU | Eigen::ComputeFullV);
  M even_columns(r, even), odd_columns(r, odd);
  for (Index k = 0; k < even; ++k) even_columns.col(k) = q.col(2 * k);
  for (Index k = 0; k < odd; ++k) odd_columns.col(k) = q.col(2 * k + 1);
  M& planes = out.planes;
  Vector& frequencies = out.frequencies;
  const M from = even_columns * svd.matrixV(), to = odd_columns * svd.matrixU();
  for (Index m = 0; m < odd; ++m) {
    planes.col(2 * m) = from.col(m);
    planes.col(2 * m + 1) = to.col(m);
    frequencies[m] = std::ldexp(svd.singularValues()[m], exponent);
  }
  if (even > odd) planes.col(r - 1) = from.col(odd);
  return out;
}

}  // namespace grape::inline v0
