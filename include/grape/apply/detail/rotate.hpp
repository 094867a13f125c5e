// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "grape/apply/detail/convert.hpp"
#include "grape/core/config.hpp"
#include "grape/core/pairing.hpp"
#include "grape/core/scalar.hpp"

namespace grape::inline v0 {
namespace detail {
inline namespace GRAPE_ISA {

/// What every head of a call shares.
struct PlaneLayout {
  Index first;    ///< first rotated coordinate
  Index planes;   ///< M: half_split pairs m with m + M
  Index turning;  ///< planes to turn, the first ones
};

// The rotation of one plane (RoFormer eq. 34): [y0; y1] = [[c, -s], [s, c]] [x0; x1]. The inverse
// has -s.

template <bool inverse, class A>
GRAPE_INLINE void rotate_plane(A x0, A x1, A c, A s, A& y0, A& y1) {
  if constexpr (inverse) s = -s;
  y0 = x0 * c - x1 * s;
  y1 = x0 * s + x1 * c;
}

/// One head, dense, in its accumulation scalar. y may be x.
template <Pairing pairing, bool inverse, class A>
GRAPE_INLINE void rotate_dense(const A* x, A* y, const A* GRAPE_RESTRICT c,
                               const A* GRAPE_RESTRICT s, Index turning, Index planes) {
  if constexpr (pairing == Pairing::half_split) {
    GRAPE_INDEPENDENT
    for (Index m = 0; m < turning; ++m) {
      const A x0 = x[m], x1 = x[m + planes];
      rotate_plane<inverse>(x0, x1, c[m], s[m], y[m], y[m + planes]);
    }
  } else {
    GRAPE_INDEPENDENT
    for (Index m = 0; m < turning; ++m) {
      const A x0 = x[2 * m], x1 = x[2 * m + 1];
      rotate_plane<inverse>(x0, x1, c[m], s[m], y[2 * m], y[2 * m + 1]);
    }
  }
}

/// One head of any element type and stride, through a small buffer in the accumulation scalar.
template <Pairing pairing, bool inverse, class T, class A = accumulation_t<T>>
GRAPE_INLINE void rotate_strided(const T* x, Index x_stride, T* y, Index y_stride, const A* c,
                                 const A* s, Index turning, Index planes) {
  constexpr Index kChunk = 64;
  alignas(64) A pairs[2 * kChunk];
  for (Index m = 0; m < turning; m += kChunk) {
    const Index count = turning - m < kChunk ? turning - m : kChunk;
    if constexpr (pairing == Pairing::half_split) {
      load(x + m * x_stride, x_stride, count, pairs);
      load(x + (m + planes) * x_stride, x_stride, count, pairs + kChunk);
      rotate_dense<pairing, inverse>(pairs, pairs, c + m, s + m, count, kChunk);
      store(pairs, y_stride, count, y + m * y_stride);
      store(pairs + kChunk, y_stride, count, y + (m + planes) * y_stride);
    } else {
      load(x + 2 * m * x_stride, x_stride, 2 * count, pairs);
      rotate_dense<pairing, inverse>(pairs, pairs, c + m, s + m, count, kChunk);
      store(pairs, y_stride, 2 * count, y + 2 * m * y_stride);
    }
  }
}

/// A run of `count` heads (or tokens), each `x_step` after the other, with the row of cosines and
/// sines for each at c + i * c_step.
template <Pairing pairing, bool inverse, class T, class A = accumulation_t<T>>
void rotate_run(const T* x, Index x_step, Index x_stride, T* y, Index y_step, Index y_stride,
                const A* c, Index c_step, const PlaneLayout& layout, Index count) {
  x += layout.first * x_stride;
  y += layout.first * y_stride;
  const Index turning = layout.turning, planes = layout.planes;
  for (Index i = 0; i < count; ++i, x += x_step, y += y_step, c += c_step) {
    if constexpr (std::same_as<T, A>) {
      if (x_stride == 1 && y_stride == 1) {
        rotate_dense<pairing, inverse>(x, y, c, c + turning, turning, planes);
        continue;
      }
    }
    rotate_strided<pairing, inverse>(x, x_stride, y, y_stride, c, c + turning, turning, planes);
  }
}

}  // namespace GRAPE_ISA
}  // namespace detail
}  // namespace grape::inline v0
