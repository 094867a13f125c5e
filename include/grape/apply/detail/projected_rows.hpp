// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <cstddef>
#include <type_traits>
#include <utility>
#include <vector>

#include "grape/apply/detail/convert.hpp"
#include "grape/apply/detail/product.hpp"
#include "grape/core/detail/late.hpp"
#include "grape/core/executor.hpp"
#include "grape/core/scalar.hpp"
#include "grape/core/view.hpp"
#include "grape/encoder/rotation_action.hpp"

namespace grape::inline v0 {
namespace detail {

using RowMatrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// Where a row stands.
struct RowToken {
  Index batch, token;
};

/// Rows of `out` and `d_out` (tokens and heads of one parameter set) as doubles, and their
/// coordinates in the frame: u = F^T out, v = F^T d_out. M is RowMatrix: a parameter, so that
/// Eigen's products are compiled where a gradient is called, not wherever this header is included.
template <class M>
struct ProjectedRows {
  Index count = 0;
  std::vector<RowToken> tokens;  // of each row
  M out, d_out;                  // [rows, d]
  M u, v;                        // [rows, columns], columns even: an odd frame gets one of zeros
};

/// The planes of one set at one token: cosines and sines with the attention factor.
template <class A>
struct PlaneTable {
  const A* cosines;
  const A* sines;
  Index turning;
  double cos(Index m) const { return m < turning ? static_cast<double>(cosines[m]) : 1.0; }
  double sin(Index m) const { return m < turning ? static_cast<double>(sines[m]) : 0.0; }
};

template <class A>
PlaneTable<A> plane_table(const RotationAction<A>& action, const RowToken& at, Index set) {
  const Index turning = action.turning_planes();
  const A* row = action.rows(at.batch, at.token) + set * 2 * turning;
  return {row, row + turning, turning};
}

/// The frame of a set as doubles, [columns, d], columns rounded up to an even number by zeros.
template <class A, class M = RowMatrix>
M wide_frame(const RotationAction<A>& action, Index set) {
  const Index columns = action.frame_columns(), d = action.frame_dim();
  M out = M::Zero(columns + columns % 2, d);
  for (Index k = 0; k < columns; ++k) {
    for (Index i = 0; i < d; ++i) {
      out(k, i) = static_cast<double>(action.frame(set)[k * d + i]);
    }
  }
  return out;
}

/// Calls visit(rows) for all rows of tokens [begin, end) of batch * seq and of the set's heads.
template <class T, class A, class M, class Visit>
void for_projected_rows(const RotationAction<A>& action, const M& frame, Index set,
                        const TensorView<const T>& out, const TensorView<const T>& d_out,
                        Index begin, Index end, Visit visit) {
  constexpr Index kRows = kProductRows;
  const Index heads = out.heads() / action.sets(), d = action.frame_dim();
  ProjectedRows<M> rows;
  rows.tokens.resize(static_cast<std::size_t>(kRows));
  rows.out.resize(kRows, d);
  rows.d_out.resize(kRows, d);
  const auto flush = [&] {
    rows.u.setZero(rows.count, frame.rows());
    rows.v.setZero(rows.count, frame.rows());
    add_product(rows.u, 1, rows.out.topRows(rows.count), frame.transpose());
    add_product(rows.v, 1, rows.d_out.topRows(rows.count), frame.transpose());
    visit(std::as_const(rows));
    rows.count = 0;
  };
  for (Index i = begin; i < end; ++i) {
    const Index b = i / out.seq(), t = i % out.seq();
    for (Index h = set * heads; h < (set + 1) * heads; ++h) {
      rows.tokens[static_cast<std::size_t>(rows.count)] = {b, t};
      for (Index k = 0; k < d; ++k) {
        rows.out(rows.count, k) = static_cast<double>(widen(out(b, t, h, k)));
        rows.d_out(rows.count, k) = static_cast<double>(widen(d_out(b, t, h, k)));
      }
      if (++rows.count == kRows) flush();
    }
  }
  if (rows.count != 0) flush();
}

/// Sums over rows: `direct` [columns, d] of products with whole rows, `within` [columns, columns]
/// of products within the frame, which stands for within^T F^T.
template <class M>
struct FrameSums {
  M direct, within;
};

/// d_frame [frequency sets, columns, d] += what add(set, rows, sums) gathers over all rows. Partial
/// sums over fixed runs of tokens, added in order: the same bits on any executor.
template <class T, class A, Executor E, class Add>
void accumulate_frame_sums(const RotationAction<A>& action, const TensorView<const T>& out,
                           const TensorView<const T>& d_out, double* d_frame, const E& executor,
                           Add add) {
  const Index sets = action.sets(), columns = action.frame_columns(), d = action.frame_dim();
  const Index tokens = out.batch() * out.seq();
  const Index parts = (std::min)(std::max<Index>(1, 16 / sets), tokens);
  using Sum = late_t<RowMatrix, A>;
  std::vector<Sum> partial(static_cast<std::size_t>(sets * parts));
  executor.run(sets * parts, [&](Index task) {
    const Index set = task / parts, part = task % parts;
    const auto frame = wide_frame(action, set);
    using M = std::remove_cvref_t<decltype(frame)>;
    FrameSums<M> sums{M::Zero(frame.rows(), d), M::Zero(frame.rows(), frame.rows())};
    for_projected_rows<T>(action, frame, set, out, d_out, tokens * part / parts,
                          tokens * (part + 1) / parts,
                          [&](const auto& rows) { add(set, rows, sums); });
    add_product(sums.direct, 1, sums.within.transpose(), frame);
    partial[static_cast<std::size_t>(task)] = std::move(sums.direct);
  });
  for (Index task = 0; task < sets * parts; ++task) {
    const Sum& sum = partial[static_cast<std::size_t>(task)];
    double* to = d_frame + action.frequency_set(task / parts) * columns * d;
    for (Index i = 0; i < columns * d; ++i) to[i] += sum.data()[i];
  }
}

}  // namespace detail
}  // namespace grape::inline v0
