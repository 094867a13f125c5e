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
#include "grape/encoder/detail/widened.hpp"
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
  static constexpr bool uses_carry = false;

  /// Throws ArgumentError for another number of axes than the path has weights, or than the keys
  /// have, and for batches that differ (unless one of them is 1).
  void assign(std::span<const double> slopes, const GridPath& path, const Positions& queries,
              const Positions& keys) {
    check_axes("query_positions", path, queries);
    if (keys.axis_count() != queries.axis_count()) {
      detail::fail("key_positions", detail::text(keys.axis_count(), " axes"),
                   detail::text("the query positions' ", queries.axis_count(), " axes"));
    }
    if (queries.batch() != keys.batch() && queries.batch() != 1 && keys.batch() != 1) {
      detail::fail("key_positions", detail::text("batch ", keys.batch()),
                   detail::text("the query positions' batch ", queries.batch(), ", or 1"));
    }
    slopes_.reserve(slopes.size());
    queries_.reserve(queries);
    keys_.reserve(keys);
    if (!(path == path_)) path_ = GridPath(path);
    slopes_.assign(slopes.begin(), slopes.end());
    queries_.assign(queries);
    keys_.assign(keys);
  }

  /// Throws ArgumentError unless append() can take these.
  void check_append(std::span<const double> slopes, const GridPath& path,
                    const Positions& positions) const {
    detail::check_same_slopes(slopes, slopes_);
    if (!(path == path_)) {
      detail::fail("path", "another kind or other weights", "the path of the action");
    }
    check_axes("positions", path, positions);
    if (keys() == 0) return;
    if (positions.axis_count() != keys_.axes) {
      detail::fail("positions", detail::text(positions.axis_count(), " axes"),
                   detail::text("the ", keys_.axes, " axes of the action"));
    }
    detail::check_same_batch("positions", positions.batch(), keys_.batch);
  }
  /// Tokens at further positions, keys that are also the queries from now on.
  void append(const Positions& positions) {
    queries_.reserve(positions);
    keys_.append(positions);
    queries_.assign(positions);
  }
  /// Keeps the first `keys` keys, and no query.
  void truncate(Index keys) {
    keys_.seq = keys;
    queries_.seq = 0;
  }

  Index batch() const { return (std::max)(queries_.batch, keys_.batch); }
  Index heads() const { return static_cast<Index>(slopes_.size()); }
  Index queries() const { return queries_.seq; }
  Index keys() const { return keys_.seq; }
  BiasGradientSizes gradient_sizes() const { return {.slopes = heads()}; }

  void tile(const ScoreTile& where, A* out, Index row_stride) const {
    const double slope = slopes_[static_cast<std::size_t>(where.head)];
    for_each_offset(where, [&](Index r, Index c, double offset) {
      out[r * row_stride + c] = static_cast<A>(slope * offset);
    });
  }

  void add_tile(const ScoreTile& where, A* scores, Index row_stride, double* /*carry*/) const {
    const double slope = slopes_[static_cast<std::size_t>(where.head)];
    for_each_offset(where, [&](Index r, Index c, double offset) {
      scores[r * row_stride + c] += static_cast<A>(slope * offset);
    });
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
    for_each_offset(where, [&](Index r, Index c, double offset) {
      sum += offset * static_cast<double>(d_tile[r * row_stride + c]);
    });
    gradients.slopes[static_cast<std::size_t>(where.head)] += sum;
  }

 private:
  /// Positions [batch, capacity, axes], of which the first `seq` of each batch entry count.
  struct List {
    Index batch = 1, seq = 0, axes = 1, capacity = 0;
    std::vector<double> values;

    const double* at(Index b, Index t) const {
      return values.data() + ((batch == 1 ? 0 : b) * capacity + t) * axes;
    }
    static std::size_t entries(const Positions& p) {
      return static_cast<std::size_t>(p.batch() * p.seq() * p.axis_count());
    }
    /// Makes room, so that assign() cannot fail.
    void reserve(const Positions& positions) { values.reserve(entries(positions)); }
    void assign(const Positions& positions) {
      batch = positions.batch();
      seq = 0;
      axes = positions.axis_count();
      capacity = positions.seq();
      values.resize(entries(positions));
      write(positions);
    }
    /// At a cost that does not depend on the tokens so far, taken over many calls.
    void append(const Positions& more) {
      if (seq == 0) return assign(more);
      const Index wider = detail::grown_stride(capacity, seq, seq + more.seq());
      if (wider != capacity) {
        values = detail::widened(values, batch, seq * axes, capacity * axes, wider * axes);
        capacity = wider;
      }
      write(more);
    }

   private:
    void write(const Positions& more) {
      for (Index b = 0; b < batch; ++b) {
        double* out = values.data() + (b * capacity + seq) * axes;
        for (Index t = 0; t < more.seq(); ++t) {
          for (Index a = 0; a < axes; ++a) *out++ = more.value(b, t, a);
        }
      }
      seq += more.seq();
    }
  };

  static void check_axes(std::string_view argument, const GridPath& path,
                         const Positions& positions) {
    const auto weights = static_cast<Index>(path.weights().size());
    if (path.kind() != GridPath::Kind::radial && positions.axis_count() != weights) {
      detail::fail(argument, detail::text(positions.axis_count(), " axes"),
                   detail::text("the ", weights, " axes of the path's weights"));
    }
  }

  template <class Visit>
  void for_each_offset(const ScoreTile& where, Visit&& visit) const {
    for (Index r = 0; r < where.queries; ++r) {
      for (Index c = 0; c < where.keys; ++c) {
        visit(r, c, offset(where.batch, where.query + r, where.key + c));
      }
    }
  }

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

/// Prepares `action` for the slopes at positions on a grid, at(query_positions, key_positions),
/// reusing its storage where no copy shares it.
template <Element S, Accumulator A>
void prepare(const UnipotentGenerator<S>& generator, const GridPath& path, const Positions& queries,
             const Positions& keys, BiasAction<A>& action) {
  detail::assign_source<GridBias<A>>(action, generator.slopes(), path, queries, keys);
}

/// Appends tokens at the positions to those of `action`, an empty one or one of this encoder; they
/// become its queries.
template <Element S, Accumulator A>
void append(const UnipotentGenerator<S>& generator, const GridPath& path,
            const Positions& positions, BiasAction<A>& action) {
  const auto* source = detail::appended_source<GridBias<A>>(action);
  if (source == nullptr) return prepare(generator, path, positions, positions, action);
  source->check_append(generator.slopes(), path, positions);
  action.template own<GridBias<A>>()->append(positions);
}

}  // namespace grape::inline v0
