// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <string_view>
#include <utility>

#include "grape/core/error.hpp"
#include "grape/core/scalar.hpp"
#include "grape/core/view.hpp"

namespace grape::inline v0 {

/// Which axis of somebody else's tensor is which index of a TensorView. -1: the tensor has no such
/// axis, and the view has extent 1 there. Each axis of the tensor must be named once.
struct TensorAxes {
  int batch = 0;
  int seq = 1;
  int heads = 2;
  int dim = 3;

  /// [batch, seq, heads, dim]
  static constexpr TensorAxes blhd() { return {}; }
  /// [batch, heads, seq, dim]
  static constexpr TensorAxes bhld() { return {0, 2, 1, 3}; }
  /// [seq, heads, dim], one sequence
  static constexpr TensorAxes lhd() { return {-1, 0, 1, 2}; }
  /// [heads, seq, dim], one sequence
  static constexpr TensorAxes hld() { return {-1, 1, 0, 2}; }
  /// [batch, seq, heads], one number per token and head
  static constexpr TensorAxes blh() { return {0, 1, 2, -1}; }
  /// The axes counted from the last one on: what [batch, seq, heads, dim] is to a library that
  /// writes the fastest index first.
  static constexpr TensorAxes reversed() { return {3, 2, 1, 0}; }
};

/// The same for a ScoreView.
struct ScoreAxes {
  int batch = 0;
  int heads = 1;
  int queries = 2;
  int keys = 3;

  /// [batch, heads, queries, keys]
  static constexpr ScoreAxes bhqk() { return {}; }
  /// [heads, queries, keys], one sequence
  static constexpr ScoreAxes hqk() { return {-1, 0, 1, 2}; }
  /// The axes counted from the last one on.
  static constexpr ScoreAxes reversed() { return {3, 2, 1, 0}; }
};

namespace detail {

constexpr std::array<int, 4> axis_list(const TensorAxes& a) {
  return {a.batch, a.seq, a.heads, a.dim};
}
constexpr std::array<int, 4> axis_list(const ScoreAxes& a) {
  return {a.batch, a.heads, a.queries, a.keys};
}

struct Arranged {
  std::array<Index, 4> extents{1, 1, 1, 1};
  std::array<Index, 4> strides{1, 1, 1, 1};
};

template <class Int>
Index checked_index(std::string_view argument, std::string_view what, int axis, Int value) {
  if (!std::in_range<Index>(value)) {
    fail(text(argument, " ", what, " ", axis), text(value), "a value that fits into Index");
  }
  return static_cast<Index>(value);
}

/// A tensor's extents and strides in the order of a view. The stride of an axis that has at most
/// one index, and every stride of a tensor without elements, is arbitrary in other libraries, even
/// negative or beyond Index, and is not looked at.
template <class Axes, class Extent, class Stride>
Arranged arrange(std::string_view argument, int rank, const Axes& axes, const Extent& extent,
                 const Stride& stride) {
  const std::array<int, 4> list = axis_list(axes);
  int named = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    bool fits = list[i] >= -1 && list[i] < rank;
    for (std::size_t j = 0; j < i; ++j) fits = fits && (list[i] == -1 || list[i] != list[j]);
    if (!fits) {
      fail(text(argument, " axes"), text("axis ", list[i]),
           text("each of the tensor's ", rank, " axes once, or -1"));
    }
    named += list[i] >= 0 ? 1 : 0;
  }
  if (named != rank) {
    fail(text(argument, " axes"), text(named, " axes"), text("one for each of the ", rank));
  }
  Arranged out;
  bool empty = false;
  for (std::size_t i = 0; i < 4; ++i) {
    if (list[i] < 0) continue;
    out.extents[i] = checked_index(argument, "extent", list[i], extent(list[i]));
    empty = empty || out.extents[i] == 0;
  }
  for (std::size_t i = 0; i < 4; ++i) {
    if (list[i] < 0 || out.extents[i] <= 1 || empty) continue;
    out.strides[i] = checked_index(argument, "stride", list[i], stride(list[i]));
  }
  return out;
}

/// The view whose indices the axes name.
template <class T>
TensorView<T> view_by(const TensorAxes& /*axes*/, T* data, const Arranged& shape) {
  return TensorView<T>(data, shape.extents, shape.strides);
}
template <class T>
ScoreView<T> view_by(const ScoreAxes& /*axes*/, T* data, const Arranged& shape) {
  return ScoreView<T>(data, shape.extents, shape.strides);
}

}  // namespace detail
}  // namespace grape::inline v0
