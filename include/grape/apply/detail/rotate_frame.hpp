// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <concepts>
#include <cstddef>
#include <vector>

#include "grape/apply/detail/convert.hpp"
#include "grape/apply/detail/product.hpp"
#include "grape/core/config.hpp"
#include "grape/core/executor.hpp"
#include "grape/core/scalar.hpp"
#include "grape/core/view.hpp"
#include "grape/encoder/rotation_action.hpp"

namespace grape::inline v0 {
namespace detail {
inline namespace GRAPE_ISA {

// The rotation in a frame F [d, r] of one row x: u = F^T x, w_m = (a R2(phi_m) - I) u_m for each
// plane, x + F w. A tile of rows makes two skinny matrix products of it.

/// Rows that are turned at once: enough for the products to run at speed, few enough to stay in the
/// nearest cache.
inline constexpr Index kFrameRows = kProductRows;

template <class A>
using RowMajor = Eigen::Matrix<A, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// What one parameter set turns its rows by.
template <class A>
struct FrameTurn {
  const A* frame;  ///< [r, d], the first 2 * turning columns of F
  Index dim;
  Index turning;  ///< planes
  A gain;         ///< multiplies cosines and sines
};

/// u [rows, 2 * turning] (columns one behind the other) <- (gain a R - I) u, or with R^T. `table`
/// holds a row [cos | sin], `step` apart, for each `heads` rows of u.
template <bool inverse, class A>
void turn_columns(A* u, Index rows, const FrameTurn<A>& turn, const A* table, Index step,
                  Index heads) {
  for (Index m = 0; m < turn.turning; ++m) {
    A* u0 = u + 2 * m * rows;
    A* u1 = u0 + rows;
    const A* c = table + m;
    for (Index i = 0; i < rows; c += step) {
      const A cosine = turn.gain * c[0] - 1;
      const A sine = (inverse ? -turn.gain : turn.gain) * c[turn.turning];
      for (const Index end = i + heads; i < end; ++i) {
        const A x0 = u0[i], x1 = u1[i];
        u0[i] = cosine * x0 - sine * x1;
        u1[i] = sine * x0 + cosine * x1;
      }
    }
  }
}

/// Turns `rows` rows of x (at most kFrameRows), `row_step` apart, in place; u holds 2 * turning *
/// rows numbers.
template <bool inverse, class A>
void turn_rows(A* x, Index row_step, Index rows, const FrameTurn<A>& turn, const A* table,
               Index step, Index heads, A* u) {
  const Index r = 2 * turn.turning;
  const Eigen::Map<const RowMajor<A>> frame(turn.frame, r, turn.dim);
  ProductTile<A> tile(x, rows, turn.dim, Eigen::OuterStride<>(row_step));
  using Columns =
      Eigen::Matrix<A, Eigen::Dynamic, Eigen::Dynamic, Eigen::ColMajor, kFrameRows, Eigen::Dynamic>;
  Eigen::Map<Columns> projected(u, rows, r);
  projected.noalias() = tile * frame.transpose();
  turn_columns<inverse>(u, rows, turn, table, step, heads);
  tile.noalias() += projected * frame;
}

/// Scratch of one task.
template <class A>
struct FrameScratch {
  std::vector<A> projected, rows;
};

/// Turns x(b, begin + [0, tokens), heads [first, first + heads)), whose rows are evenly spaced.
template <bool inverse, class T, class A>
void turn_tile(const TensorView<T>& x, Index b, Index begin, Index tokens, Index first, Index heads,
               const FrameTurn<A>& turn, const A* table, Index step, FrameScratch<A>& scratch) {
  const Index rows = tokens * heads;
  const Index row_step = heads > 1 ? x.stride(2) : x.stride(1);
  const auto wanted = static_cast<std::size_t>(rows * 2 * turn.turning);
  if (scratch.projected.size() < wanted) scratch.projected.resize(wanted);
  T* data = &x(b, begin, first, 0);
  if constexpr (std::same_as<T, A>) {
    if (x.stride(3) == 1) {
      turn_rows<inverse>(data, row_step, rows, turn, table, step, heads, scratch.projected.data());
      return;
    }
  }
  const Index d = turn.dim, stride = x.stride(3);
  if (static_cast<Index>(scratch.rows.size()) < rows * d) {
    scratch.rows.resize(static_cast<std::size_t>(rows * d));
  }
  A* gathered = scratch.rows.data();
  for (Index i = 0; i < rows; ++i) {
    for (Index k = 0; k < d; ++k) gathered[i * d + k] = widen(data[i * row_step + k * stride]);
  }
  turn_rows<inverse>(gathered, d, rows, turn, table, step, heads, scratch.projected.data());
  for (Index i = 0; i < rows; ++i) {
    for (Index k = 0; k < d; ++k) data[i * row_step + k * stride] = narrow<T>(gathered[i * d + k]);
  }
}

/// Turns tokens [begin, begin + count) of batch entry b in their frames; cosines and sines are
/// multiplied by `gain`.
template <bool inverse, class T, class A>
void rotate_frame_tokens(const RotationAction<A>& action, const TensorView<T>& x, Index b,
                         Index begin, Index count, A gain, FrameScratch<A>& scratch) {
  const Index sets = action.sets(), heads = x.heads() / sets;
  // Tokens of all heads, where their rows are evenly spaced; else many tokens of one head, or, of
  // few tokens, all heads of one token.
  const bool even = heads == 1 || x.stride(1) == heads * x.stride(2);
  const Index tile_heads = even || count < kFrameRows / 4 ? (std::min)(heads, kFrameRows) : 1;
  const bool whole = tile_heads == heads && even;
  const Index tile_tokens =
      whole ? std::max<Index>(1, kFrameRows / heads) : (tile_heads == 1 ? kFrameRows : 1);
  for (Index set = 0; set < sets; ++set) {
    const FrameTurn<A> turn{action.frame(set), action.frame_dim(), action.turning_planes(), gain};
    for (Index h = 0; h < heads; h += tile_heads) {
      const Index some = (std::min)(tile_heads, heads - h);
      for (Index t = 0; t < count; t += tile_tokens) {
        turn_tile<inverse>(x, b, begin + t, (std::min)(tile_tokens, count - t), set * heads + h,
                           some, turn, action.rows(b, begin + t) + set * 2 * turn.turning,
                           action.row_size(), scratch);
      }
    }
  }
}

}  // namespace GRAPE_ISA

/// Turns x in place in the frames of the action, after a call of before(b, begin, count) for each
/// run of tokens.
template <bool inverse, class T, class A, Executor E, class Before>
void rotate_frames(const RotationAction<A>& action, const TensorView<T>& x, A gain,
                   const E& executor, Before before) {
  constexpr Index kTask = 128;  // tokens of a task
  const Index tasks = (x.seq() + kTask - 1) / kTask;
  executor.run(x.batch() * tasks, [&](Index i) {
    const Index b = i / tasks, begin = (i - b * tasks) * kTask;
    const Index end = (std::min)(x.seq(), begin + kTask);
    FrameScratch<A> scratch;
    for (Index t = begin; t < end; t += kFrameRows) {
      const Index count = (std::min)(kFrameRows, end - t);
      before(b, t, count);
      if (action.turning_planes() != 0) {
        rotate_frame_tokens<inverse>(action, x, b, t, count, gain, scratch);
      }
    }
  });
}

}  // namespace detail
}  // namespace grape::inline v0
