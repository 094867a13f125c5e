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

#include "grape/encoder/bias_action.hpp"
#include "grape/encoder/detail/linear_row.hpp"
#include "grape/encoder/detail/position_list.hpp"
#include "grape/encoder/lift_source.hpp"
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
class LinearBias : public LiftSource {
 public:
  static constexpr bool uses_carry = false;

  /// Throws ArgumentError for positions on several axes or real ones, for batches that differ
  /// (unless one of them is 1), and for positions of 2^62 and more in magnitude.
  void assign(std::span<const double> slopes, const Positions& queries, const Positions& keys,
              Future future) {
    List::check("query_positions", queries);
    List::check("key_positions", keys);
    List::check_batches(queries, keys);
    slopes_.reserve(slopes.size());
    queries_.reserve(queries);
    keys_.reserve(keys);
    slopes_.assign(slopes.begin(), slopes.end());
    queries_.assign(queries);
    keys_.assign(keys);
    future_ = future;
  }

  /// Throws ArgumentError unless append() can take these.
  void check_append(std::span<const double> slopes, const Positions& positions) const {
    detail::check_same_slopes(slopes, slopes_);
    List::check("positions", positions);
    if (keys() > 0) detail::check_same_batch("positions", positions.batch(), keys_.batch());
  }
  /// Tokens at further positions, keys that are also the queries from now on.
  void append(const Positions& positions) {
    queries_.reserve(positions);
    keys_.append(positions);
    queries_.assign(positions);
  }
  /// Keeps the first `keys` keys, and no query.
  void truncate(Index keys) {
    keys_.truncate(keys);
    queries_.truncate(0);
  }

  Index batch() const { return (std::max)(queries_.batch(), keys_.batch()); }
  Index heads() const { return static_cast<Index>(slopes_.size()); }
  Index queries() const { return queries_.seq(); }
  Index keys() const { return keys_.seq(); }
  BiasGradientSizes gradient_sizes() const { return {.slopes = heads()}; }

  void tile(const ScoreTile& where, A* out, Index row_stride) const {
    const A slope = this->slope(where.head);
    for (Index r = 0; r < where.queries; ++r, out += row_stride) {
      const std::int64_t query = queries_.at(where.batch, where.query + r);
      if (keys_.consecutive()) {
        const std::int64_t distance = keys_.at(where.batch, where.key) - query;
        detail::linear_row(slope, distance, where.keys, out);
        const Index seen = seen_of(distance, where.keys);
        replace_future(out + seen, where.keys - seen);
      } else {
        const std::int64_t* keys = keys_.row(where.batch) + where.key;
        detail::linear_row(slope, query, keys, where.keys, out);
        for (Index c = 0; c < where.keys; ++c) {
          if (keys[c] > query) replace_future(out + c, 1);
        }
      }
    }
  }

  void add_tile(const ScoreTile& where, A* scores, Index row_stride, double* /*carry*/) const {
    const A slope = this->slope(where.head);
    const A after_slope = future_ == Future::symmetric ? -slope : A(0);
    const A after = future_ == Future::mask ? kHidden : A(0);
    for (Index r = 0; r < where.queries; ++r, scores += row_stride) {
      const std::int64_t query = queries_.at(where.batch, where.query + r);
      if (keys_.consecutive()) {
        const std::int64_t distance = keys_.at(where.batch, where.key) - query;
        detail::add_linear_row(slope, distance, seen_of(distance, where.keys), where.keys,
                               future_ == Future::symmetric, after, scores);
      } else {
        detail::add_linear_row(slope, after_slope, after, query, keys_.row(where.batch) + where.key,
                               where.keys, scores);
      }
    }
  }

  /// What the least or the greatest distance in the tile has; a product of rounded numbers never
  /// passes that of larger ones.
  A upper_bound(const ScoreTile& where) const {
    if (where.queries == 0 || where.keys == 0) return kHidden;
    const auto [first_query, last_query] = queries_.bounds(where.batch, where.query, where.queries);
    const auto [first_key, last_key] = keys_.bounds(where.batch, where.key, where.keys);
    const std::int64_t low = first_key - last_query, high = last_key - first_query;
    const A slope = this->slope(where.head);
    A bound = kHidden;
    if (low <= 0) {
      bound = slope * static_cast<A>(slope >= 0 ? std::min<std::int64_t>(high, 0) : low);
    }
    if (high > 0 && future_ == Future::zero) bound = (std::max)(bound, A(0));
    if (high > 0 && future_ == Future::symmetric) {
      const std::int64_t after = slope >= 0 ? std::max<std::int64_t>(low, 0) : high;
      bound = (std::max)(bound, -slope * static_cast<A>(after));
    }
    return bound;
  }

  /// d slope_h += sum over the tile of (p_j - p_i) d b(i, j), in double.
  void tile_vjp(const ScoreTile& where, const A* d_tile, Index row_stride, const double* /*before*/,
                const BiasGradients& gradients) const {
    if (gradients.slopes.empty()) return;
    double sum = 0;
    for (Index r = 0; r < where.queries; ++r, d_tile += row_stride) {
      const std::int64_t query = queries_.at(where.batch, where.query + r);
      for (Index c = 0; c < where.keys; ++c) {
        std::int64_t distance = keys_.at(where.batch, where.key + c) - query;
        if (distance > 0) distance = future_ == Future::symmetric ? -distance : 0;
        if (distance != 0) sum += static_cast<double>(distance) * static_cast<double>(d_tile[c]);
      }
    }
    gradients.slopes[static_cast<std::size_t>(where.head)] += sum;
  }

  // b = beta p_j + (-beta p_i) 1: slopes stay with the queries, so that keys of any heads do.
  std::vector<LiftTerm> lift_terms() const override {
    if (future_ == Future::symmetric) {
      detail::fail("bias", "Future::symmetric", "a causal bias: |i - j| is no sum of products");
    }
    return {{LiftFactor::head, LiftFactor::path}, {LiftFactor::path, LiftFactor::one}};
  }
  Index lift_key_heads() const override { return 1; }
  double lift_slope(Index /*term*/, Index head) const override {
    return static_cast<double>(slope(head));
  }
  void lift_factors(const LiftSlice& where, double* out) const override {
    const double slope = lift_slope(0, where.head);
    for_each_lifted(where, [&](Index t, double position) {
      out[2 * t] = where.side == LiftSide::query ? slope : position;
      out[2 * t + 1] = where.side == LiftSide::query ? -slope * position : 1;
    });
  }
  void lift_factors_vjp(const LiftSlice& where, const double* d,
                        const BiasGradients& gradients) const override {
    if (gradients.slopes.empty() || where.side == LiftSide::key) return;
    double sum = 0;
    for_each_lifted(where, [&](Index t, double p) { sum += d[2 * t] - d[2 * t + 1] * p; });
    gradients.slopes[static_cast<std::size_t>(where.head)] += sum;
  }

 private:
  /// Visits the tokens of a side with their positions, subtracted from the centre in integers.
  template <class Visit>
  void for_each_lifted(const LiftSlice& where, Visit&& visit) const {
    const std::int64_t centre = where.centred ? keys_.middle(where.batch) : 0;
    const List& list = where.side == LiftSide::query ? queries_ : keys_;
    for (Index t = 0; t < list.seq(); ++t) {
      visit(t, static_cast<double>(list.at(where.batch, t) - centre));
    }
  }

  using List = detail::PositionList;
  static constexpr A kHidden = -std::numeric_limits<A>::infinity();

  A slope(Index head) const { return static_cast<A>(slopes_[static_cast<std::size_t>(head)]); }

  /// How many of `count` keys are not after the query, the first `distance` after it.
  static Index seen_of(std::int64_t distance, Index count) {
    return static_cast<Index>(std::clamp<std::int64_t>(1 - distance, 0, count));
  }

  void replace_future(A* out, Index count) const {
    switch (future_) {
      case Future::mask:
        std::fill_n(out, count, kHidden);
        break;
      case Future::zero:
        std::fill_n(out, count, A(0));
        break;
      case Future::symmetric:
        std::transform(out, out + count, out, std::negate<A>());
        break;
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
  detail::assign_source<LinearBias<A>>(action, generator.slopes(), queries, keys, future);
}

/// The same with Future::mask.
template <Element S, Accumulator A>
void prepare(const UnipotentGenerator<S>& generator, LinearPath path, const Positions& queries,
             const Positions& keys, BiasAction<A>& action) {
  prepare(generator, path, queries, keys, Future::mask, action);
}

/// Appends tokens at the positions to those of `action`, an empty one or one of this encoder; they
/// become its queries.
template <Element S, Accumulator A>
void append(const UnipotentGenerator<S>& generator, LinearPath path, const Positions& positions,
            BiasAction<A>& action) {
  const auto* source = detail::appended_source<LinearBias<A>>(action);
  if (source == nullptr) return prepare(generator, path, positions, positions, action);
  source->check_append(generator.slopes(), positions);
  action.template own<LinearBias<A>>()->append(positions);
}

}  // namespace grape::inline v0
