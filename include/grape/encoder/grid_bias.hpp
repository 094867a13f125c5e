// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "grape/core/error.hpp"
#include "grape/encoder/bias_action.hpp"
#include "grape/generator/unipotent.hpp"
#include "grape/path/grid.hpp"

namespace grape::inline v0 {

/// The bias of a unipotent generator on a grid (appendix G), b_h(i, j) = beta_h m(i, j) for every
/// query and key, m the offset of GridPath. Positions are integers on any number of axes, or real
/// ones on one; differences are taken in double, exact for integers below 2^53, and an entry is
/// rounded to A once.
template <Accumulator A>
class GridBias {
 public:
  /// Throws ArgumentError for another number of axes than the path has weights, or than the keys
  /// have, and for batches that differ (unless one of them is 1).
  void assign(std::span<const double> slopes, const GridPath& path, const Positions& queries,
              const Positions& keys) {
    const auto weights = static_cast<Index>(path.weights().size());
    if (path.kind() != GridPath::Kind::radial && queries.axis_count() != weights) {
      detail::fail("query_positions", detail::text(queries.axis_count(), " axes"),
                   detail::text("the ", weights, " axes of the path's weights"));
    }
    if (keys.axis_count() != queries.axis_count()) {
      detail::fail("key_positions", detail::text(keys.axis_count(), " axes"),
                   detail::text("the query positions' ", queries.axis_count(), " axes"));
    }
    if (queries.batch() != keys.batch() && queries.batch() != 1 && keys.batch() != 1) {
      detail::fail("key_positions", detail::text("batch ", keys.batch()),
                   detail::text("the query positions' batch ", queries.batch(), ", or 1"));
    }
    std::vector<double> copied_slopes(slopes.begin(), slopes.end());
    List copied_queries(queries), copied_keys(keys);
    GridPath copied_path = path;
    slopes_ = std::move(copied_slopes);
    path_ = std::move(copied_path);
    queries_ = std::move(copied_queries);
    keys_ = std::move(copied_keys);
  }

  Index batch() const { return (std::max)(queries_.batch, keys_.batch); }
  Index heads() const { return static_cast<Index>(slopes_.size()); }
  Index queries() const { return queries_.seq; }
  Index keys() const { return keys_.seq; }
  BiasGradientSizes gradient_sizes() const { return {.slopes = heads()}; }

  void tile(const ScoreTile& where, A* out, Index row_stride) const {
    const double slope = slopes_[static_cast<std::size_t>(where.head)];
    for (Index r = 0; r < where.queries; ++r, out += row_stride) {
      for (Index c = 0; c < where.keys; ++c) {
        out[c] = static_cast<A>(slope * offset(where.batch, where.query + r, where.key + c));
      }
    }
  }

  /// 0 where neither slope nor weights can raise a score; infinity elsewhere.
  A upper_bound(const ScoreTile& where) const {
    const auto weights = path_.weights();
    const bool falls = path_.kind() != GridPath::Kind::weighted &&
                       slopes_[static_cast<std::size_t>(where.head)] >= 0 &&
                       std::all_of(weights.begin(), weights.end(), [](double w) { return w >= 0; });
    return falls ? A(0) : std::numeric_limits<A>::infinity();
  }

  /// d slope_h += sum over the tile of m(i, j) d b(i, j), in double.
  void tile_vjp(const ScoreTile& where, const A* d_tile, Index row_stride, const double* /*before*/,
                const BiasGradients& gradients) const {
    if (gradients.slopes.empty()) return;
    double sum = 0;
    for (Index r = 0; r < where.queries; ++r, d_tile += row_stride) {
      for (Index c = 0; c < where.keys; ++c) {
        sum += offset(where.batch, where.query + r, where.key + c) * static_cast<double>(d_tile[c]);
      }
    }
    gradients.slopes[static_cast<std::size_t>(where.head)] += sum;
  }

 private:
  /// Positions [batch, seq, axes].
  struct List {
    Index batch = 1, seq = 0, axes = 1;
    std::vector<double> values;

    List() = default;
    explicit List(const Positions& positions)
        : batch(positions.batch()), seq(positions.seq()), axes(positions.axis_count()) {
      values.reserve(static_cast<std::size_t>(batch * seq * axes));
      for (Index b = 0; b < batch; ++b) {
        for (Index t = 0; t < seq; ++t) {
          for (Index a = 0; a < axes; ++a) values.push_back(positions.value(b, t, a));
        }
      }
    }
    const double* at(Index b, Index t) const {
      return values.data() + ((batch == 1 ? 0 : b) * seq + t) * axes;
    }
  };

  double offset(Index b, Index query, Index key) const {
    const double *from = queries_.at(b, query), *to = keys_.at(b, key);
    const double* weights = path_.weights().data();
    double sum = 0;
    for (Index a = 0; a < queries_.axes; ++a) {
      const double d = to[a] - from[a];
      switch (path_.kind()) {
        case GridPath::Kind::weighted:
          sum += weights[a] * d;
          break;
        case GridPath::Kind::distances:
          sum -= weights[a] * std::fabs(d);
          break;
        case GridPath::Kind::radial:
          sum = std::hypot(sum, d);  // no square of a far position overflows
          break;
      }
    }
    return path_.kind() == GridPath::Kind::radial ? -sum : sum;
  }

  std::vector<double> slopes_;
  GridPath path_ = GridPath::radial();
  List queries_, keys_;
};

/// Prepares `action` for the slopes at positions on a grid: at(query_positions, key_positions).
template <Element S, Accumulator A>
void prepare(const UnipotentGenerator<S>& generator, const GridPath& path, const Positions& queries,
             const Positions& keys, BiasAction<A>& action) {
  GridBias<A> source;
  source.assign(generator.slopes(), path, queries, keys);
  action = BiasAction<A>(std::move(source));
}

}  // namespace grape::inline v0
