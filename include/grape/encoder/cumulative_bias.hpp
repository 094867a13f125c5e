// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "grape/core/error.hpp"
#include "grape/core/view.hpp"
#include "grape/encoder/bias_action.hpp"
#include "grape/encoder/detail/add_row.hpp"
#include "grape/encoder/detail/cumulative_row.hpp"
#include "grape/encoder/detail/gate_sums.hpp"
#include "grape/generator/unipotent.hpp"
#include "grape/math/prefix_sum.hpp"
#include "grape/path/cumulative.hpp"

namespace grape::inline v0 {

/// The bias of a unipotent generator on the cumulative path, FoX (appendix C):
///
///   b_h(i, j) = beta_h sum_{l = j+1..i} log f_l = beta_h (U_i - U_j)   for tokens j <= i,
///
/// U the inclusive prefix sums of the log forget gates, and after that -infinity (Future::mask) or
/// 0 (Future::zero). Sums are kept in two doubles and subtracted before they are rounded, so that
/// an entry has one rounding to A wherever it stands (see CompensatedSum; the second double is left
/// out of the work for sequences whose weakest gate does not need it). Memory is O(seq).
///
/// A gate that is shut, a log gate of -infinity or below -2^60, hides every token before it: their
/// bias is -infinity whatever the slope.
template <Accumulator A>
class CumulativeBias : public LiftSource {
 public:
  static constexpr bool uses_carry = false;

  /// From log forget gates [batch, seq, sets, 1] <= 0 of all keys; the queries are the tokens of
  /// `range` among them. Throws ArgumentError, and changes nothing, for other shapes, for a log
  /// gate that is above 0 or NaN, and for Future::symmetric, which a decay has not.
  template <Element T>
  void assign(std::span<const double> slopes, const TensorView<T>& log_forget,
              const QueryRange& range, Future future) {
    if (future == Future::symmetric) {
      detail::fail("future", "Future::symmetric",
                   "Future::mask or Future::zero: forget gates decay forwards alone");
    }
    const auto sets = static_cast<Index>(slopes.size());
    const bool any_shut = detail::GateSums::check(sets, log_forget);
    detail::check_query_range(range, log_forget.seq());
    // What may run out of memory comes first, so that a failure leaves the bias as it was.
    slopes_.reserve(slopes.size());
    sums_.assign(log_forget, any_shut);
    slopes_.assign(slopes.begin(), slopes.end());
    range_ = range;
    future_ = future;
  }

  /// Throws ArgumentError unless append() can take these.
  template <Element T>
  void check_append(std::span<const double> slopes, const TensorView<T>& log_forget) const {
    detail::check_same_slopes(slopes, slopes_);
    detail::GateSums::check(heads(), log_forget);
    detail::check_same_batch("log_forget", log_forget.batch(), batch());
  }
  /// The gates of tokens that follow those so far; they become the queries.
  template <Element T>
  void append(const TensorView<T>& log_forget) {
    const Index before = keys();
    sums_.append(log_forget, detail::GateSums::check(heads(), log_forget));
    range_ = {before, log_forget.seq()};
  }
  /// Keeps the first `keys` tokens, and no query.
  void truncate(Index keys) {
    sums_.truncate(keys);
    range_ = {keys, 0};
  }

  Index batch() const { return sums_.batch(); }
  Index heads() const { return static_cast<Index>(slopes_.size()); }
  Index queries() const { return range_.count; }
  Index keys() const { return sums_.keys(); }
  BiasGradientSizes gradient_sizes() const {
    return {.slopes = heads(), .log_forget = batch() * keys() * heads(), .path = keys()};
  }

  void tile(const ScoreTile& where, A* out, Index row_stride) const {
    for_each_row(where, out, row_stride, [&](const Row& row, A* to) {
      std::fill_n(to, row.begin, -std::numeric_limits<A>::infinity());
      const Index count = row.end - row.begin;
      if (row.low == nullptr) {
        detail::cumulative_row(row.slope, row.query.high, row.high, count, to + row.begin);
      } else {
        detail::cumulative_row(row.slope, row.query.high, row.query.low, row.high, row.low, count,
                               to + row.begin);
      }
      const A after = future_ == Future::mask ? -std::numeric_limits<A>::infinity() : A(0);
      std::fill_n(to + row.end, where.keys - row.end, after);
    });
  }

  void add_tile(const ScoreTile& where, A* scores, Index row_stride, double* /*carry*/) const {
    constexpr A kHidden = -std::numeric_limits<A>::infinity();
    constexpr int W = detail::kRowWidth<double>;
    const A after = future_ == Future::mask ? kHidden : A(0);
    for_each_row(where, scores, row_stride, [&](const Row& row, A* to) {
      detail::add_to_row(kHidden, row.begin, to);
      const Index seen = row.end - row.begin, count = where.keys - row.begin;
      if (row.low == nullptr) {
        const detail::CumulativeValue<A> value{row.slope, row.query.high, row.high};
        detail::add_row<W>(seen, count, after, value, to + row.begin);
      } else {
        const detail::CompensatedValue<A> value{row.slope, row.query.high, row.query.low, row.high,
                                                row.low};
        detail::add_row<W>(seen, count, after, value, to + row.begin);
      }
    });
  }

  /// The entry of the closest pair of tokens, or with a slope below 0 of the farthest.
  A upper_bound(const ScoreTile& where) const {
    constexpr A kHidden = -std::numeric_limits<A>::infinity();
    const A after = future_ == Future::mask ? kHidden : A(0);
    if (where.queries == 0 || where.keys == 0) return kHidden;
    const Index first = range_.start + where.query, last = first + where.queries - 1;
    const Index key = where.key, last_key = where.key + where.keys - 1;
    if (last < key) return after;
    const double slope = slopes_[static_cast<std::size_t>(where.head)];
    const bool some_after = last_key > first;
    if (slope >= 0) {
      // Shut gates only ever hide more from later queries.
      if (!some_after && sums_.first_seen(where.batch, where.head, first) > last_key) {
        return kHidden;
      }
      return some_after ? A(0) : static_cast<A>(slope * below(where, first, last_key, -1));
    }
    return static_cast<A>(slope * below(where, last, key, 1));
  }

  /// Accumulates, in double, d slope_h += sum over the tile of (U_i - U_j) d b(i, j), and the
  /// gradient of U in `path`: d U_i += beta_h sum_j d b(i, j), d U_j -= beta_h sum_i d b(i, j).
  void tile_vjp(const ScoreTile& where, const A* d_tile, Index row_stride, const double* /*before*/,
                const BiasGradients& gradients) const {
    double d_slope = 0;
    Index token = range_.start + where.query;
    for_each_row(where, d_tile, row_stride, [&](const Row& row, const A* d) {
      if (!gradients.path.empty()) {
        double* d_keys = gradients.path.data() + where.key;
        double sum = 0;
        for (Index c = row.begin; c < row.end; ++c) {
          const double x = row.slope * static_cast<double>(d[c]);
          d_keys[c] -= x;
          sum += x;
        }
        gradients.path[static_cast<std::size_t>(token)] += sum;
      }
      ++token;
      if (gradients.slopes.empty()) return;
      for (Index c = row.begin; c < row.end; ++c) {
        const CompensatedSum key = sums_.at(where.batch, where.head, where.key + c);
        d_slope += difference(row.query, key) * static_cast<double>(d[c]);
      }
    });
    if (gradients.slopes.empty()) return;
    gradients.slopes[static_cast<std::size_t>(where.head)] += d_slope;
  }

  /// The gradient of the log gates from that of U: its suffix sums, since U_u holds the gates of
  /// all l <= u.
  void finish_vjp(Index batch, Index head, const BiasGradients& gradients) const {
    if (gradients.log_forget.empty()) return;
    double* out = gradients.log_forget.data() + batch * keys() * heads() + head;
    suffix_sums(
        keys(), [&](Index t) { return gradients.path[static_cast<std::size_t>(t)]; },
        [&](Index t, double sum) { out[t * heads()] += sum; });
  }

  // b = beta (-U_j) + (beta U_i) 1.
  std::vector<LiftTerm> lift_terms() const override {
    for (Index b = 0; b < batch() && keys() > 0; ++b) {
      for (Index h = 0; h < heads(); ++h) {
        if (sums_.first_seen(b, h, keys() - 1) == 0) continue;
        detail::fail("bias", "log forget gates that are shut, below -2^60",
                     "gates that hide no token: a sum of products cannot");
      }
    }
    return {{LiftFactor::head, LiftFactor::path}, {LiftFactor::path, LiftFactor::one}};
  }
  Index lift_key_heads() const override { return heads(); }
  double lift_slope(Index /*term*/, Index head) const override {
    return slopes_[static_cast<std::size_t>(head)];
  }
  void lift_factors(const LiftSlice& where, double* out) const override {
    const double slope = lift_slope(0, where.head);
    for_each_lifted(where, [&](Index t, Index /*token*/, double sum) {
      out[2 * t] = where.side == LiftSide::query ? slope : -sum;
      out[2 * t + 1] = where.side == LiftSide::query ? slope * sum : 1;
    });
  }
  /// The centre has no gradient: that of the queries and that of the keys cancel.
  void lift_factors_vjp(const LiftSlice& where, const double* d,
                        const BiasGradients& gradients) const override {
    const bool query = where.side == LiftSide::query;
    const double slope = lift_slope(0, where.head);
    double d_slope = 0;
    for_each_lifted(where, [&](Index t, Index token, double sum) {
      if (query) d_slope += d[2 * t] + d[2 * t + 1] * sum;
      if (gradients.path.empty()) return;
      gradients.path[static_cast<std::size_t>(token)] += query ? slope * d[2 * t + 1] : -d[2 * t];
    });
    if (!gradients.slopes.empty())
      gradients.slopes[static_cast<std::size_t>(where.head)] += d_slope;
  }

 private:
  /// Visits the tokens of a side with U - centre.
  template <class Visit>
  void for_each_lifted(const LiftSlice& where, Visit&& visit) const {
    const bool query = where.side == LiftSide::query;
    CompensatedSum centre;
    if (where.centred && keys() > 0) {
      centre.high = sums_.at(where.batch, where.head, keys() - 1).high / 2;
    }
    const Index first = query ? range_.start : 0, count = query ? range_.count : keys();
    for (Index t = 0; t < count; ++t) {
      visit(t, first + t, difference(sums_.at(where.batch, where.head, first + t), centre));
    }
  }

  /// One row of a tile: columns [begin, end) are seen, those before are behind a shut gate, those
  /// from `end` on after the query. high and low (null where it is not needed) begin at `begin`.
  struct Row {
    double slope;
    CompensatedSum query;
    Index begin, end;
    const double *high, *low;
  };

  template <class P, class Visit>
  void for_each_row(const ScoreTile& where, P* tile, Index row_stride, Visit&& visit) const {
    const Index b = where.batch, h = where.head;
    const bool needs_low = sums_.needs_low<A>(b, h);
    Row row{};
    row.slope = slopes_[static_cast<std::size_t>(h)];
    for (Index r = 0; r < where.queries; ++r, tile += row_stride) {
      const Index token = range_.start + where.query + r;
      const Index first = sums_.first_seen(b, h, token);
      row.query = sums_.at(b, h, token);
      row.end = std::clamp<Index>(token - where.key + 1, 0, where.keys);
      row.begin = std::clamp<Index>(first - where.key, 0, row.end);
      row.high = sums_.high(b, h) + where.key + row.begin;
      row.low = needs_low ? sums_.low(b, h) + where.key + row.begin : nullptr;
      visit(row, tile);
    }
  }

  /// U_i - U_j <= 0, moved by more than the roundings of any entry: upwards for sign = -1 (towards
  /// 0), downwards for 1. Beyond its own size a sum is off by 2^-105 |U| a token.
  double below(const ScoreTile& where, Index i, Index j, int sign) const {
    const CompensatedSum query = sums_.at(where.batch, where.head, i);
    const double d = difference(query, sums_.at(where.batch, where.head, j));
    return (std::min)(0.0, d * (1 + sign * 0x1p-48) + sign * 0x1p-64 * query.high);
  }

  std::vector<double> slopes_;
  detail::GateSums sums_;
  QueryRange range_;
  Future future_ = Future::mask;
};

/// Prepares `action` for the slopes and log forget gates, reusing its storage where no copy shares
/// it. The queries are the tokens of `range` among the keys, all of them where it is left out.
template <Element S, Element T, Accumulator A>
void prepare(const UnipotentGenerator<S>& generator, CumulativePath,
             const TensorView<T>& log_forget, const QueryRange& range, Future future,
             BiasAction<A>& action) {
  detail::assign_source<CumulativeBias<A>>(action, generator.slopes(), log_forget, range, future);
}

/// The same with Future::mask.
template <Element S, Element T, Accumulator A>
void prepare(const UnipotentGenerator<S>& generator, CumulativePath path,
             const TensorView<T>& log_forget, const QueryRange& range, BiasAction<A>& action) {
  prepare(generator, path, log_forget, range, Future::mask, action);
}

/// The same for all tokens.
template <Element S, Element T, Accumulator A>
void prepare(const UnipotentGenerator<S>& generator, CumulativePath path,
             const TensorView<T>& log_forget, Future future, BiasAction<A>& action) {
  prepare(generator, path, log_forget, QueryRange{0, log_forget.seq()}, future, action);
}

/// The same for all tokens, with Future::mask.
template <Element S, Element T, Accumulator A>
void prepare(const UnipotentGenerator<S>& generator, CumulativePath path,
             const TensorView<T>& log_forget, BiasAction<A>& action) {
  prepare(generator, path, log_forget, Future::mask, action);
}

/// Appends the tokens of the log forget gates to those of `action`, an empty one or one of this
/// encoder; they become its queries.
template <Element S, Element T, Accumulator A>
void append(const UnipotentGenerator<S>& generator, CumulativePath path,
            const TensorView<T>& log_forget, BiasAction<A>& action) {
  const auto* source = detail::appended_source<CumulativeBias<A>>(action);
  if (source == nullptr) return prepare(generator, path, log_forget, action);
  source->check_append(generator.slopes(), log_forget);
  action.template own<CumulativeBias<A>>()->append(log_forget);
}

}  // namespace grape::inline v0
