// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "grape/core/error.hpp"
#include "grape/core/view.hpp"
#include "grape/encoder/bias_action.hpp"
#include "grape/encoder/detail/cumulative_row.hpp"
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
class CumulativeBias {
 public:
  /// From log forget gates [batch, seq, sets, 1] <= 0 of all keys; the queries are the tokens of
  /// `range` among them. Throws ArgumentError, and changes nothing, for other shapes, for a log
  /// gate that is above 0 or NaN, and for Future::symmetric, which a decay has not.
  template <Element T>
  void assign(std::span<const double> slopes, const TensorView<T>& log_forget,
              const QueryRange& range, Future future) {
    const auto sets = static_cast<Index>(slopes.size());
    const bool any_shut = check(sets, log_forget, range, future);
    const auto rows = static_cast<std::size_t>(log_forget.batch() * sets);
    const std::size_t size = rows * static_cast<std::size_t>(log_forget.seq());
    // What may run out of memory comes first, so that a failure leaves the bias as it was.
    slopes_.reserve(slopes.size());
    high_.reserve(size);
    low_.reserve(size);
    rows_.reserve(rows);
    shut_.reserve(any_shut ? size : 0);
    slopes_.assign(slopes.begin(), slopes.end());
    batch_ = log_forget.batch();
    keys_ = log_forget.seq();
    range_ = range;
    future_ = future;
    high_.resize(size);
    low_.resize(size);
    rows_.resize(rows);
    shut_.resize(any_shut ? size : 0);
    for (Index b = 0; b < batch_; ++b) {
      for (Index h = 0; h < heads(); ++h) assign_row(b, h, log_forget);
    }
  }

  Index batch() const { return batch_; }
  Index heads() const { return static_cast<Index>(slopes_.size()); }
  Index queries() const { return range_.count; }
  Index keys() const { return keys_; }
  BiasGradientSizes gradient_sizes() const {
    return {.slopes = heads(), .log_forget = batch() * keys() * heads(), .path = keys()};
  }

  void tile(const ScoreTile& where, A* out, Index row_stride) const {
    const Index row = where.batch * heads() + where.head;
    const double slope = slopes_[static_cast<std::size_t>(where.head)];
    const double* high = high_.data() + row * keys_;
    const double* low = low_.data() + row * keys_;
    for (Index r = 0; r < where.queries; ++r, out += row_stride) {
      const Index token = range_.start + where.query + r;
      const Index begin = first_key(row, token, where), end = last_key(token, where);
      std::fill_n(out, begin, -std::numeric_limits<A>::infinity());
      if (!rows_[static_cast<std::size_t>(row)].needs_low) {
        detail::cumulative_row(slope, high[token], high + where.key + begin, end - begin,
                               out + begin);
      } else {
        detail::cumulative_row(slope, high[token], low[token], high + where.key + begin,
                               low + where.key + begin, end - begin, out + begin);
      }
      const A after = future_ == Future::mask ? -std::numeric_limits<A>::infinity() : A(0);
      std::fill_n(out + end, where.keys - end, after);
    }
  }

  /// Accumulates, in double, d slope_h += sum over the tile of (U_i - U_j) d b(i, j), and the
  /// gradient of U in `path`: d U_i += beta_h sum_j d b(i, j), d U_j -= beta_h sum_i d b(i, j).
  void tile_vjp(const ScoreTile& where, const A* d_tile, Index row_stride, const double* /*before*/,
                const BiasGradients& gradients) const {
    const Index row = where.batch * heads() + where.head;
    const double slope = slopes_[static_cast<std::size_t>(where.head)];
    double d_slope = 0;
    for (Index r = 0; r < where.queries; ++r, d_tile += row_stride) {
      const Index token = range_.start + where.query + r;
      const Index begin = first_key(row, token, where), end = last_key(token, where);
      if (!gradients.path.empty()) {
        double* d_keys = gradients.path.data() + where.key;
        double sum = 0;
        for (Index c = begin; c < end; ++c) {
          const double d = slope * static_cast<double>(d_tile[c]);
          d_keys[c] -= d;
          sum += d;
        }
        gradients.path[static_cast<std::size_t>(token)] += sum;
      }
      if (gradients.slopes.empty()) continue;
      const CompensatedSum query = at(row, token);
      for (Index c = begin; c < end; ++c) {
        d_slope += difference(query, at(row, where.key + c)) * static_cast<double>(d_tile[c]);
      }
    }
    if (!gradients.slopes.empty())
      gradients.slopes[static_cast<std::size_t>(where.head)] += d_slope;
  }

  /// The gradient of the log gates from that of U: its suffix sums, since U_u holds the gates of
  /// all l <= u.
  void finish_vjp(Index batch, Index head, const BiasGradients& gradients) const {
    if (gradients.log_forget.empty()) return;
    double* out = gradients.log_forget.data() + batch * keys_ * heads() + head;
    suffix_sums(
        keys_, [&](Index t) { return gradients.path[static_cast<std::size_t>(t)]; },
        [&](Index t, double sum) { out[t * heads()] += sum; });
  }

 private:
  static constexpr double kShut = -0x1p60;

  struct Row {
    bool needs_low = false;
    bool has_shut = false;
  };

  template <class T>
  static double value(const T& x) {
    return static_cast<double>(static_cast<accumulation_t<T>>(x));
  }
  static bool is_minus_infinity(double x) {  // from the bits: holds under -ffast-math
    return std::bit_cast<std::uint64_t>(x) == 0xfff0000000000000u;
  }
  static bool is_shut(double x) { return is_minus_infinity(x) || x < kShut; }

  CompensatedSum at(Index row, Index token) const {
    const auto i = static_cast<std::size_t>(row * keys_ + token);
    return {high_[i], low_[i]};
  }

  /// The first column of a tile's row that the token sees: behind its last shut gate.
  Index first_key(Index row, Index token, const ScoreTile& where) const {
    if (!rows_[static_cast<std::size_t>(row)].has_shut) return 0;
    const Index first = shut_[static_cast<std::size_t>(row * keys_ + token)];
    return std::min(std::clamp<Index>(first - where.key, 0, where.keys), last_key(token, where));
  }
  /// The end of the columns that are not after the token.
  static Index last_key(Index token, const ScoreTile& where) {
    return std::clamp<Index>(token - where.key + 1, 0, where.keys);
  }

  /// Whether any gate is shut, if all is well.
  template <Element T>
  static bool check(Index sets, const TensorView<T>& log_forget, const QueryRange& range,
                    Future future) {
    if (future == Future::symmetric) {
      detail::fail("future", "Future::symmetric",
                   "Future::mask or Future::zero: forget gates decay forwards alone");
    }
    if (log_forget.dim() != 1) {
      detail::fail("log_forget dim", detail::text(log_forget.dim()),
                   "1, one log gate a token and head");
    }
    if (log_forget.heads() != sets) {
      detail::fail("log_forget heads", detail::text(log_forget.heads()),
                   detail::text("the ", sets, " heads of the generator"));
    }
    detail::check_query_range(range, log_forget.seq());
    bool any_shut = false;
    for (Index b = 0; b < log_forget.batch(); ++b) {
      for (Index t = 0; t < log_forget.seq(); ++t) {
        for (Index h = 0; h < sets; ++h) {
          const double x = value(log_forget(b, t, h, 0));
          const bool finite = detail::is_finite(x);
          if (finite ? x > 0 : !is_minus_infinity(x)) {
            detail::fail(detail::text("log_forget(", b, ", ", t, ", ", h, ")"), detail::text(x),
                         "the logarithm of a gate in [0, 1], a value <= 0");
          }
          any_shut = any_shut || is_shut(x);
        }
      }
    }
    return any_shut;
  }

  template <Element T>
  void assign_row(Index b, Index h, const TensorView<T>& log_forget) {
    const Index index = b * heads() + h;
    double weakest = std::numeric_limits<double>::max();
    Row& row = rows_[static_cast<std::size_t>(index)];
    row = {};
    const CompensatedSum total = prefix_sums(
        keys_,
        [&](Index t) {
          const double x = value(log_forget(b, t, h, 0));
          if (is_shut(x)) {
            row.has_shut = true;
            return 0.0;
          }
          if (x < 0) weakest = std::min(weakest, -x);
          return x;
        },
        high_.data() + index * keys_, low_.data() + index * keys_);
    // Differences of the high parts are off by 2^-52 |U|, which must be small beside the smallest.
    constexpr double kEnough = std::is_same_v<A, float> ? 0x1p-24 : 0x1p10;
    row.needs_low = weakest < -total.high * kEnough;
    if (!row.has_shut) return;
    Index first = 0;
    for (Index t = 0; t < keys_; ++t) {
      if (is_shut(value(log_forget(b, t, h, 0)))) first = t;
      shut_[static_cast<std::size_t>(index * keys_ + t)] = first;
    }
  }

  std::vector<double> slopes_;
  std::vector<double> high_, low_;  // [batch, sets, keys]
  std::vector<Row> rows_;           // [batch, sets]
  std::vector<Index> shut_;         // [batch, sets, keys], the last shut gate so far; may be empty
  QueryRange range_;
  Index batch_ = 1;
  Index keys_ = 0;
  Future future_ = Future::mask;
};

/// Prepares `action` for the slopes and log forget gates, reusing its storage where no copy shares
/// it. The queries are the tokens of `range` among the keys, all of them where it is left out.
template <Element S, Element T, Accumulator A>
void prepare(const UnipotentGenerator<S>& generator, CumulativePath,
             const TensorView<T>& log_forget, const QueryRange& range, Future future,
             BiasAction<A>& action) {
  if (auto* source = action.template unshared<CumulativeBias<A>>()) {
    source->assign(generator.slopes(), log_forget, range, future);
    return;
  }
  CumulativeBias<A> source;
  source.assign(generator.slopes(), log_forget, range, future);
  action = BiasAction<A>(std::move(source));
}

template <Element S, Element T, Accumulator A>
void prepare(const UnipotentGenerator<S>& generator, CumulativePath path,
             const TensorView<T>& log_forget, const QueryRange& range, BiasAction<A>& action) {
  prepare(generator, path, log_forget, range, Future::mask, action);
}

template <Element S, Element T, Accumulator A>
void prepare(const UnipotentGenerator<S>& generator, CumulativePath path,
             const TensorView<T>& log_forget, Future future, BiasAction<A>& action) {
  prepare(generator, path, log_forget, QueryRange{0, log_forget.seq()}, future, action);
}

template <Element S, Element T, Accumulator A>
void prepare(const UnipotentGenerator<S>& generator, CumulativePath path,
             const TensorView<T>& log_forget, BiasAction<A>& action) {
  prepare(generator, path, log_forget, Future::mask, action);
}

}  // namespace grape::inline v0
