// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <span>

#include "grape/core/config.hpp"
#include "grape/core/scalar.hpp"
#include "grape/encoder/bias_source.hpp"
#include "grape/encoder/detail/edge_panel.hpp"
#include "grape/encoder/detail/edge_probes.hpp"

namespace grape::inline v0 {
namespace detail {
inline namespace GRAPE_ISA {

/// The edges psi(t, l) = slope g(<q_t, k_l>) of one batch entry and head, and their sums: query i
/// is token start + i, and of its row only the edges up to its own token exist.
template <class A, class Link>
struct EdgeRows {
  const EdgeProbes<A>& probes;
  const Link& link;
  double slope;
  Index row;    ///< of the probes
  Index start;  ///< the token of query 0
  bool masked;  ///< -infinity behind a query's token

  /// Adds the tile's bias where `write`, and its edges to carry, which holds the sums of those
  /// behind the tile.
  template <bool write>
  void add(const ScoreTile& where, A* scores, Index row_stride, double* carry) const {
    constexpr Index R = kEdgeRows;
    Index r = 0;
    for (; r + R <= where.queries; r += R) {
      add_rows<R, write>(where, r, scores + r * row_stride, row_stride, carry + r);
    }
    for (; r < where.queries; ++r) {
      add_rows<1, write>(where, r, scores + r * row_stride, row_stride, carry + r);
    }
  }

  /// The gradient of the slope; adds that of the probes to `path`, unless it is empty. before[r] is
  /// the sum of the gradient of row r before the tile.
  double vjp(const ScoreTile& where, const A* d_tile, Index row_stride, const double* before,
             std::span<double> path) const {
    constexpr Index R = kEdgeRows;
    double d_slope = 0;
    Index r = 0;
    for (; r + R <= where.queries; r += R) {
      d_slope += rows_vjp<R>(where, r, d_tile + r * row_stride, row_stride, before + r, path);
    }
    for (; r < where.queries; ++r) {
      d_slope += rows_vjp<1>(where, r, d_tile + r * row_stride, row_stride, before + r, path);
    }
    return d_slope;
  }

 private:
  static constexpr Index kPanel = kEdgePanel;

  template <Index R, bool write>
  void add_rows(const ScoreTile& where, Index first_row, A* scores, Index row_stride,
                double* carry) const {
    const Index first = where.query + first_row, token = start + first;  // of the first row
    if (write && masked) {
      for (Index r = 0; r < R; ++r) {
        A* out = scores + r * row_stride;
        const Index from = std::clamp<Index>(token + r + 1 - where.key, 0, where.keys);
        for (Index c = from; c < where.keys; ++c) out[c] -= std::numeric_limits<A>::infinity();
      }
    }
    const Index end = (std::min)(where.key + where.keys, token + R);
    for (Index at = (end - 1) / kPanel * kPanel; at + kPanel > where.key && end > where.key;
         at -= kPanel) {
      alignas(64) A edges[static_cast<std::size_t>(R * kPanel)];
      edge_products<R>(probes.query(row, first), probes.width(), probes.panel(row, at / kPanel),
                       probes.width(), edges);
      edge_link(link, static_cast<A>(slope), edges, R * kPanel);
      const Index begin = (std::max)(at, where.key), stop = (std::min)(at + kPanel, end);
      const bool whole = begin == at && stop == at + kPanel && token >= stop - 1;
      for (Index r = 0; r < R; ++r) {
        const A* x = edges + r * kPanel;
        A* out = scores + r * row_stride;
        if (write && whole) {
          add_edge_suffix(x, out + (at - where.key), carry[r]);
          continue;
        }
        double sum = carry[r];
        for (Index l = (std::min)(stop, token + r + 1); l-- > begin;) {
          if constexpr (write) out[l - where.key] += static_cast<A>(sum);
          sum += static_cast<double>(x[l - at]);
        }
        carry[r] = sum;
      }
    }
  }

  template <Index R>
  double rows_vjp(const ScoreTile& where, Index first_row, const A* d_tile, Index row_stride,
                  const double* before, std::span<double> path) const {
    const Index first = where.query + first_row, token = start + first, width = probes.width();
    const Index end = (std::min)(where.key + where.keys, token + R);
    constexpr auto kRows = static_cast<std::size_t>(R), kEntries = kRows * kPanel;
    double sum[kRows], d_slope = 0;
    std::copy_n(before, R, sum);
    for (Index at = where.key / kPanel * kPanel; at < end; at += kPanel) {
      alignas(64) A g[kEntries], d_g[kEntries];
      alignas(64) double d_x[kEntries] = {};
      const A* panel = probes.panel(row, at / kPanel);
      edge_products<R>(probes.query(row, first), width, panel, width, g);
      edge_link_derivative(link, g, d_g, R * kPanel);
      for (Index r = 0; r < R; ++r) {
        const Index stop = (std::min)({at + kPanel, end, token + r + 1});
        const A* d = d_tile + r * row_stride;
        for (Index c = (std::max)(at, where.key) - at; c < stop - at; ++c) {
          d_slope += sum[r] * static_cast<double>(g[r * kPanel + c]);
          d_x[r * kPanel + c] = sum[r] * slope * static_cast<double>(d_g[r * kPanel + c]);
          sum[r] += static_cast<double>(d[at + c - where.key]);
        }
      }
      for (Index r = 0; r < R && !path.empty(); ++r) {
        edge_products_vjp(d_x + r * kPanel, probes.query(row, first + r), panel, width,
                          probes.d_query(path, first + r), probes.d_panel(path, at / kPanel));
      }
    }
    return d_slope;
  }
};

}  // namespace GRAPE_ISA
}  // namespace detail
}  // namespace grape::inline v0
