// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "grape/core/error.hpp"
#include "grape/encoder/bias_action.hpp"
#include "grape/encoder/detail/linear_row.hpp"
#include "grape/generator/unipotent.hpp"
#include "grape/path/linear.hpp"

namespace grape::inline v0 {

/// The bias of a unipotent generator on the linear path, ALiBi (equation 4.7):
///
///   b_h(i, j) = (p_j - p_i) beta_h   where p_j <= p_i,
///
/// and after that what Future says. Position differences are taken in integers, so that far
/// positions lose nothing; one entry has one rounding of the difference and one of the product.
template <Accumulator A>
class LinearBias {
 public:
  /// Throws ArgumentError for positions on several axes or real ones, for batches that differ
  /// (unless one of them is 1), and for positions of 2^62 and more in magnitude.
  void assign(std::span<const double> slopes, const Positions& queries, const Positions& keys,
              Future future) {
    check("query_positions", queries);
    check("key_positions", keys);
    if (queries.batch() != keys.batch() && queries.batch() != 1 && keys.batch() != 1) {
      detail::fail("key_positions", detail::text("batch ", keys.batch()),
                   detail::text("the query positions' batch ", queries.batch(), ", or 1"));
    }
    slopes_.assign(slopes.begin(), slopes.end());
    queries_.assign(queries);
    keys_.assign(keys);
    future_ = future;
  }

  Index batch() const { return std::max(queries_.batch, keys_.batch); }
  Index heads() const { return static_cast<Index>(slopes_.size()); }
  Index queries() const { return queries_.seq; }
  Index keys() const { return keys_.seq; }
  BiasGradientSizes gradient_sizes() const { return {.slopes = heads()}; }

  void tile(const ScoreTile& where, A* out, Index row_stride) const {
    const auto slope = static_cast<A>(slopes_[static_cast<std::size_t>(where.head)]);
    const std::int64_t* keys = keys_.row(where.batch) + where.key;
    for (Index r = 0; r < where.queries; ++r, out += row_stride) {
      const std::int64_t query = queries_.row(where.batch)[where.query + r];
      if (!keys_.consecutive) {
        detail::linear_row(slope, query, keys, where.keys, out);
      } else {
        detail::linear_row(slope, keys_.start(where.batch) + where.key - query, where.keys, out);
      }
      finish_row(query, keys, where.keys, out);
    }
  }

  /// d slope_h += sum over the tile of (p_j - p_i) d b(i, j), in double.
  void tile_vjp(const ScoreTile& where, const A* d_tile, Index row_stride, const double* /*before*/,
                const BiasGradients& gradients) const {
    if (gradients.slopes.empty()) return;
    const std::int64_t* keys = keys_.row(where.batch) + where.key;
    double sum = 0;
    for (Index r = 0; r < where.queries; ++r, d_tile += row_stride) {
      const std::int64_t query = queries_.row(where.batch)[where.query + r];
      for (Index c = 0; c < where.keys; ++c) {
        std::int64_t distance = keys[c] - query;
        if (distance > 0) distance = future_ == Future::symmetric ? -distance : 0;
        if (distance != 0) sum += static_cast<double>(distance) * static_cast<double>(d_tile[c]);
      }
    }
    gradients.slopes[static_cast<std::size_t>(where.head)] += sum;
  }

 private:
  struct List {
    Index batch = 1;
    Index seq = 0;
    bool consecutive = true;
    std::vector<std::int64_t> values;

    void assign(const Positions& positions) {
      values.reserve(static_cast<std::size_t>(positions.batch() * positions.seq()));
      batch = positions.batch();
      seq = positions.seq();
      consecutive = positions.kind() == Positions::Kind::range;
      values.clear();
      for (Index b = 0; b < batch; ++b) {
        for (Index t = 0; t < seq; ++t) values.push_back(positions.integer(b, t));
      }
    }
    const std::int64_t* row(Index b) const { return values.data() + (batch == 1 ? 0 : b * seq); }
    std::int64_t start(Index b) const { return row(b)[0]; }
  };

  /// What keys after the query get.
  void finish_row(std::int64_t query, const std::int64_t* keys, Index count, A* out) const {
    if (count == 0) return;
    if (keys_.consecutive) {
      const auto first =
          static_cast<Index>(std::clamp<std::int64_t>(query - keys[0] + 1, 0, count));
      replace_future(out + first, count - first);
    } else {
      for (Index c = 0; c < count; ++c) {
        if (keys[c] > query) replace_future(out + c, 1);
      }
    }
  }

  void replace_future(A* out, Index count) const {
    switch (future_) {
      case Future::mask:
        std::fill_n(out, count, -std::numeric_limits<A>::infinity());
        break;
      case Future::zero:
        std::fill_n(out, count, A(0));
        break;
      case Future::symmetric:
        std::transform(out, out + count, out, std::negate<A>());
        break;
    }
  }

  static void check(std::string_view argument, const Positions& positions) {
    if (positions.kind() == Positions::Kind::reals || positions.axis_count() != 1) {
      detail::fail(argument, "real or multi-axis positions", "one integer position a token");
    }
    constexpr std::int64_t kEnd = std::int64_t{1} << 62;  // differences fit into 64 bits
    const auto inside = [](std::int64_t n) { return n < kEnd && n > -kEnd; };
    // Of a range the first and the last position bound the others.
    const bool range = positions.kind() == Positions::Kind::range;
    const Index step = range ? std::max<Index>(positions.seq() - 1, 1) : 1;
    for (Index b = 0; b < positions.batch(); ++b) {
      for (Index t = 0; t < positions.seq(); t += step) {
        if (!inside(positions.integer(b, t))) {
          detail::fail(argument, detail::text(positions.integer(b, t)),
                       "positions below 2^62 in magnitude");
        }
      }
    }
  }

  std::vector<double> slopes_;
  List queries_, keys_;
  Future future_ = Future::mask;
};

/// Prepares `action` for the slopes at the positions, reusing its storage where no copy shares it.
template <Element S, Accumulator A>
void prepare(const UnipotentGenerator<S>& generator, LinearPath, const Positions& queries,
             const Positions& keys, Future future, BiasAction<A>& action) {
  if (auto* source = action.template unshared<LinearBias<A>>()) {
    source->assign(generator.slopes(), queries, keys, future);
    return;
  }
  LinearBias<A> source;
  source.assign(generator.slopes(), queries, keys, future);
  action = BiasAction<A>(std::move(source));
}

template <Element S, Accumulator A>
void prepare(const UnipotentGenerator<S>& generator, LinearPath path, const Positions& queries,
             const Positions& keys, BiasAction<A>& action) {
  prepare(generator, path, queries, keys, Future::mask, action);
}

}  // namespace grape::inline v0
