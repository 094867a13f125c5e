// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <Eigen/Core>
#include <algorithm>

#include "grape/core/scalar.hpp"

namespace grape::inline v0 {
namespace detail {

/// Where Eigen finds OpenMP it shares a matrix product among threads of its own, unless its result
/// is known to have few rows when it is compiled. Actions leave threads to their executor, and
/// their results must not depend on how many there are.
inline constexpr Index kProductRows = 32;

/// A row-major result of at most kProductRows rows.
template <class A>
using ProductTile = Eigen::Map<
    Eigen::Matrix<A, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor, kProductRows, Eigen::Dynamic>,
    Eigen::Unaligned, Eigen::OuterStride<>>;

/// to += sign a b on the calling thread; `to` is a row-major matrix.
template <class M, class Left, class Right>
void add_product(M& to, double sign, const Left& a, const Right& b) {
  static_assert(M::IsRowMajor);
  for (Index i = 0; i < to.rows(); i += kProductRows) {
    const Index rows = (std::min)(kProductRows, to.rows() - i);
    ProductTile<typename M::Scalar> tile(to.data() + i * to.outerStride(), rows, to.cols(),
                                         Eigen::OuterStride<>(to.outerStride()));
    tile.noalias() += sign * a.middleRows(i, rows) * b;
  }
}

}  // namespace detail
}  // namespace grape::inline v0
