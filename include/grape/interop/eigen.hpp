// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <type_traits>

#include "grape/core/error.hpp"
#include "grape/core/scalar.hpp"
#include "grape/core/view.hpp"
#include "grape/interop/axes.hpp"

/// Views of Eigen's tensors (Tensor, TensorFixedSize, TensorMap) and column-major matrices;
/// row-major ones have matrix_view in core/view.hpp. Includes no Eigen header: the caller has the
/// tensor's.

namespace grape::inline v0 {

/// What a view of an Eigen tensor needs.
template <class X>
concept EigenTensor = requires(X& x) {
  requires std::is_pointer_v<decltype(x.data())>;
  { x.rank() } -> std::convertible_to<Index>;
  { x.dimension(0) } -> std::convertible_to<Index>;
  { std::remove_cvref_t<X>::Layout } -> std::convertible_to<int>;
};

/// What a view of a column-major matrix needs: Eigen's matrices, maps and references offer it.
template <class M>
concept ColumnMajorMatrix = requires(M& m) {
  m.data();
  { m.rows() } -> std::convertible_to<Index>;
  { m.cols() } -> std::convertible_to<Index>;
  { m.outerStride() } -> std::convertible_to<Index>;
  { m.innerStride() } -> std::convertible_to<Index>;
  requires !bool(std::remove_cvref_t<M>::IsRowMajor);
};

namespace detail {

/// An axis as whichever integer a tensor's dimension() takes: they differ.
struct AxisNumber {
  int axis;
  template <std::integral Int>
  operator Int() const {  // NOLINT(google-explicit-constructor)
    return static_cast<Int>(axis);
  }
};

template <EigenTensor X, class Axes>
Arranged arrange_eigen(X& x, const Axes& axes) {
  constexpr bool kRowMajor = static_cast<int>(std::remove_cvref_t<X>::Layout) == 1;
  const auto rank = static_cast<int>(x.rank());
  const auto extent = [&](int r) { return static_cast<Index>(x.dimension(AxisNumber{r})); };
  return arrange("tensor", rank, axes, extent, [&](int r) {
    Index stride = 1;
    for (int a = kRowMajor ? r + 1 : 0; a < (kRowMajor ? rank : r); ++a) stride *= extent(a);
    return stride;
  });
}

template <EigenTensor X, class Axes>
auto eigen_view(X& tensor, const Axes& axes) {
  return view_by(axes, tensor.data(), arrange_eigen(tensor, axes));
}

}  // namespace detail

/// The elements of an Eigen tensor as a view: tensor_view(t), tensor_view(t, TensorAxes::bhld()).
/// Eigen's tensors are column-major unless told otherwise: there the last index is the slowest, and
/// a tensor declared (dim, heads, seq, batch) with TensorAxes::reversed() is what a row-major
/// [batch, seq, heads, dim] is. The view must not outlive the tensor. Throws ArgumentError for axes
/// that do not fit its rank.
template <EigenTensor X>
auto tensor_view(X& tensor, const TensorAxes& axes = {}) {
  return detail::eigen_view(tensor, axes);
}

/// The same as a view of scores [batch, heads, queries, keys].
template <EigenTensor X>
auto score_view(X& tensor, const ScoreAxes& axes = {}) {
  return detail::eigen_view(tensor, axes);
}

/// A column-major matrix [heads * dim, seq] (one column a token) as a view with batch 1. Throws
/// ArgumentError unless `heads` divides its rows. The view must not outlive the matrix.
template <ColumnMajorMatrix M>
auto column_view(M& matrix, Index heads) {
  using T = std::remove_pointer_t<decltype(matrix.data())>;
  const Index rows = matrix.rows(), cols = matrix.cols();
  if (heads <= 0 || rows % heads != 0) {
    detail::fail("heads", detail::text(heads), detail::text("a divisor of the ", rows, " rows"));
  }
  const Index dim = rows / heads, inner = matrix.innerStride(), outer = matrix.outerStride();
  // Of one batch entry no stride is ever used.
  return TensorView<T>(matrix.data(), {1, cols, heads, dim}, {outer, outer, dim * inner, inner});
}

}  // namespace grape::inline v0
