// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "grape/core/error.hpp"
#include "grape/core/view.hpp"
#include "grape/encoder/bias_action.hpp"
#include "grape/encoder/detail/add_row.hpp"
#include "grape/encoder/detail/gate_rows.hpp"
#include "grape/encoder/detail/gated_row.hpp"
#include "grape/encoder/detail/linear_row.hpp"
#include "grape/encoder/detail/position_list.hpp"
#include "grape/encoder/heads.hpp"
#include "grape/encoder/lift_source.hpp"

namespace grape::inline v0 {

/// The bias of a unipotent generator on a gated linear path (equation 4.6), over gates that are
/// computed already:
///
///   b_h(i, j) = (p_j - p_i) f_h (a_i + c_j)   where p_j <= p_i,
///
/// a and c the gates of query and key, f one factor a head, and after that what Future says. Five
/// roundings an entry. A NaN gate makes NaN of what it gates. Memory is O(seq).
///
/// heads() is the number of heads of the gates, the larger one where query heads share key heads;
/// BiasGradients::slopes is the gradient of f for each of them.
template <Accumulator A>
class GatedBias : public LiftSource {
 public:
  static constexpr bool uses_carry = false;

  struct Inputs {
    std::span<const double> factors;  ///< [P], P divides the heads
    const GateValues<A>& gates;
    const Positions& queries;
    const Positions& keys;
    Future future = Future::mask;
  };

  /// Throws ArgumentError, and changes nothing, for gates and positions that do not fit.
  void assign(const Inputs& in) {
    const auto& [factors, gates, queries, keys, future] = in;
    List::check("query_positions", queries);
    List::check("key_positions", keys);
    List::check_batches(queries, keys);
    detail::check_gates("query gates", gates.query, queries);
    detail::check_gates("key gates", gates.key, keys);
    const Index batch = detail::common_batch(gates), heads = detail::common_heads(gates);
    const Index positions_batch = (std::max)(queries.batch(), keys.batch());
    if (positions_batch != 1 && positions_batch != batch) {
      detail::fail("positions", detail::text("batch ", positions_batch),
                   detail::text("the gates' batch ", batch, ", or 1"));
    }
    detail::check_heads("gates", heads, static_cast<Index>(factors.size()));
    GatedBias made;
    made.factors_.assign(factors.begin(), factors.end());
    made.positions_.assign(queries);
    made.keys_.assign(keys);
    made.query_gates_.append(gates.query, queries.seq());
    made.key_gates_.append(gates.key, keys.seq());
    made.heads_ = heads;
    made.future_ = future;
    *this = std::move(made);
  }

  /// Throws ArgumentError unless append() can take these.
  void check_append(std::span<const double> factors, const GateValues<A>& gates,
                    const Positions& positions) const {
    detail::check_same_slopes(factors, factors_);
    List::check("positions", positions);
    detail::check_gates("query gates", gates.query, positions);
    detail::check_gates("key gates", gates.key, positions);
    detail::check_same_batch("gates", detail::common_batch(gates), common_batch());
    if (keys() > 0) detail::check_same_batch("positions", positions.batch(), keys_.batch());
    if (detail::common_heads(gates) != heads_ ||
        (gates.key && gates.key->heads() != key_gates_.heads)) {
      detail::fail("gates", detail::text(detail::common_heads(gates), " heads"),
                   detail::text("the ", heads_, " heads of the action"));
    }
  }
  /// Tokens at further positions: keys that are also the queries from now on.
  void append(const GateValues<A>& gates, const Positions& positions) {
    keys_.append(positions);
    positions_.assign(positions);
    key_gates_.append(gates.key, positions.seq());
    query_gates_.truncate(0);
    query_gates_.append(gates.query, positions.seq());
  }
  /// Keeps the first `keys` keys, and no query.
  void truncate(Index keys) {
    keys_.truncate(keys);
    key_gates_.truncate(keys);
    positions_.truncate(0);
    query_gates_.truncate(0);
  }

  Index batch() const { return (std::max)({positions_.batch(), keys_.batch(), common_batch()}); }
  Index heads() const { return heads_; }
  Index queries() const { return positions_.seq(); }
  Index keys() const { return keys_.seq(); }
  BiasGradientSizes gradient_sizes() const {
    return {.slopes = heads(),
            .query_gates = query_gates_.given ? batch() * queries() * heads() : 0,
            .key_gates = key_gates_.given ? batch() * keys() * heads() : 0};
  }

  void tile(const ScoreTile& where, A* out, Index row_stride) const {
    for_each_row(where, out, row_stride, [&](const Row& row, A* to) {
      for (Index c = 0; c < where.keys; ++c) to[c] = entry(row, where, c);
    });
  }

  void add_tile(const ScoreTile& where, A* scores, Index row_stride, double* /*carry*/) const {
    constexpr int W = detail::kRowWidth<A>;
    for_each_row(where, scores, row_stride, [&](const Row& row, A* to) {
      const std::int64_t distance = keys_.at(where.batch, where.key) - row.position;
      if (!keys_.consecutive() || distance <= -detail::kExactDistance ||
          distance >= detail::kExactDistance || where.keys >= detail::kExactDistance) {
        for (Index c = 0; c < where.keys; ++c) to[c] += entry(row, where, c);
        return;
      }
      const auto base = static_cast<std::int32_t>(distance);
      if (future_ == Future::symmetric) {
        const detail::GatedValue<A, true> value{row.factor, row.query, row.keys, base};
        detail::add_row<W>(where.keys, where.keys, A(0), value, to);
      } else {
        const detail::GatedValue<A, false> value{row.factor, row.query, row.keys, base};
        const auto seen = static_cast<Index>(std::clamp<std::int64_t>(1 - distance, 0, where.keys));
        detail::add_row<W>(seen, where.keys, after(), value, to);
      }
    });
  }

  /// What the weakest gates at the least distance give; infinity where a factor or a gate is below
  /// 0 or no number.
  A upper_bound(const ScoreTile& where) const {
    if (where.queries == 0 || where.keys == 0) return -std::numeric_limits<A>::infinity();
    const auto [first_query, last_query] =
        positions_.bounds(where.batch, where.query, where.queries);
    const auto [first_key, last_key] = keys_.bounds(where.batch, where.key, where.keys);
    if (first_key > last_query && future_ != Future::symmetric) return after();
    const A* query = query_gates_.row(where.batch, where.head, heads_) + where.query;
    const A* key = key_gates_.row(where.batch, where.head, heads_) + where.key;
    A weakest_query = query[0], weakest_key = key[0];
    double sum = 0;
    for (Index r = 0; r < where.queries; ++r) {
      weakest_query = (std::min)(weakest_query, query[r]);
      sum += static_cast<double>(query[r]);
    }
    for (Index c = 0; c < where.keys; ++c) {
      weakest_key = (std::min)(weakest_key, key[c]);
      sum += static_cast<double>(key[c]);
    }
    const A f = factor(where.head), gate = weakest_query + weakest_key;
    if (!detail::is_finite(sum) || f < 0 || gate < 0) return std::numeric_limits<A>::infinity();
    if (last_key > first_query) {
      if (future_ != Future::symmetric || first_key <= last_query) return A(0);
      return f * static_cast<A>(last_query - first_key) * gate;
    }
    return f * static_cast<A>(last_key - first_query) * gate;
  }

  /// Accumulates, in double: d f_h += sum n (a + c) d, d a_i += f sum_j n d, d c_j += f sum_i n d,
  /// n being p_j - p_i.
  void tile_vjp(const ScoreTile& where, const A* d_tile, Index row_stride, const double* /*before*/,
                const BiasGradients& gradients) const {
    double d_factor = 0;
    Index query = where.query;
    for_each_row(where, d_tile, row_stride, [&](const Row& row, const A* d) {
      double d_query = 0;
      for (Index c = 0; c < where.keys; ++c) {
        const std::int64_t n = signed_distance(row, where, c);
        if (n == 0) continue;
        const double x = static_cast<double>(n) * static_cast<double>(d[c]);
        d_factor += x * (static_cast<double>(row.query) + static_cast<double>(row.keys[c]));
        d_query += x;
        if (gradients.key_gates.empty()) continue;
        const Index at = (where.batch * keys() + where.key + c) * heads_ + where.head;
        gradients.key_gates[static_cast<std::size_t>(at)] += static_cast<double>(row.factor) * x;
      }
      if (!gradients.query_gates.empty()) {
        const Index at = (where.batch * queries() + query) * heads_ + where.head;
        gradients.query_gates[static_cast<std::size_t>(at)] +=
            static_cast<double>(row.factor) * d_query;
      }
      ++query;
    });
    if (gradients.slopes.empty()) return;
    gradients.slopes[static_cast<std::size_t>(where.head)] += d_factor;
  }

  // b = f a_i p_j + (-f p_i a_i) 1 + f (p_j c_j) + (-f p_i) c_j, the terms of absent gates left
  // out.
  std::vector<LiftTerm> lift_terms() const override {
    if (future_ == Future::symmetric) {
      detail::fail("bias", "Future::symmetric", "a causal bias: |i - j| is no sum of products");
    }
    std::vector<LiftTerm> terms;
    if (query_gates_.given) {
      terms.push_back({LiftFactor::gate, LiftFactor::path});
      terms.push_back({LiftFactor::path, LiftFactor::one});
    }
    if (key_gates_.given) {
      terms.push_back({LiftFactor::head, LiftFactor::path});
      terms.push_back({LiftFactor::path, LiftFactor::gate});
    }
    return terms;
  }
  Index lift_key_heads() const override { return key_gates_.heads; }
  double lift_slope(Index /*term*/, Index head) const override {
    return static_cast<double>(factor(head));
  }
  void lift_factors(const LiftSlice& where, double* out) const override {
    if (where.side == LiftSide::query) {
      const double f = lift_slope(0, where.head);
      for_each_lifted(where, [&](Index, double p, double gate) {
        if (query_gates_.given) {
          *out++ = f * gate;
          *out++ = -f * p * gate;
        }
        if (key_gates_.given) {
          *out++ = f;
          *out++ = -f * p;
        }
      });
    } else {
      for_each_lifted(where, [&](Index, double p, double gate) {
        if (query_gates_.given) {
          *out++ = p;
          *out++ = 1;
        }
        if (key_gates_.given) {
          *out++ = p * gate;
          *out++ = gate;
        }
      });
    }
  }
  void lift_factors_vjp(const LiftSlice& where, const double* d,
                        const BiasGradients& gradients) const override {
    const Index count =
        static_cast<Index>(query_gates_.given) + static_cast<Index>(key_gates_.given);
    const double* of_keys = d + (query_gates_.given ? 2 : 0);
    if (where.side == LiftSide::query) {
      const double f = lift_slope(0, where.head);
      double d_factor = 0;
      for_each_lifted(where, [&](Index t, double p, double gate) {
        const Index at = 2 * count * t;
        if (query_gates_.given) {
          const double of_gate = d[at] - p * d[at + 1];
          d_factor += gate * of_gate;
          if (!gradients.query_gates.empty()) {
            const Index to = (where.batch * queries() + t) * heads_ + where.head;
            gradients.query_gates[static_cast<std::size_t>(to)] += f * of_gate;
          }
        }
        if (key_gates_.given) d_factor += of_keys[at] - p * of_keys[at + 1];
      });
      if (gradients.slopes.empty()) return;
      gradients.slopes[static_cast<std::size_t>(where.head)] += d_factor;
    } else if (!gradients.key_gates.empty()) {
      // Heads that share a key gate share its gradient: the first of them gets it.
      const Index head = where.head * (heads_ / key_gates_.heads);
      for_each_lifted(where, [&](Index t, double p, double) {
        const Index at = 2 * count * t, to = (where.batch * keys() + t) * heads_ + head;
        gradients.key_gates[static_cast<std::size_t>(to)] += p * of_keys[at] + of_keys[at + 1];
      });
    }
  }

 private:
  /// Visits the tokens of a side with their positions, subtracted from the centre in integers, and
  /// gates.
  template <class Visit>
  void for_each_lifted(const LiftSlice& where, Visit&& visit) const {
    const bool query = where.side == LiftSide::query;
    const std::int64_t centre = where.centred ? keys_.middle(where.batch) : 0;
    const List& list = query ? positions_ : keys_;
    const A* gates = query ? query_gates_.row(where.batch, where.head, heads_)
                           : key_gates_.row(where.batch, where.head, key_gates_.heads);
    for (Index t = 0; t < list.seq(); ++t) {
      visit(t, static_cast<double>(list.at(where.batch, t) - centre),
            static_cast<double>(gates[t]));
    }
  }

  using List = detail::PositionList;
  using Gates = detail::GateRows<A>;

  /// One row of a tile; keys begins at its first column.
  struct Row {
    A factor, query;
    std::int64_t position;
    const A* keys;
  };

  Index common_batch() const { return (std::max)(query_gates_.batch, key_gates_.batch); }

  A factor(Index head) const {
    const Index set = parameter_set(head, heads_, static_cast<Index>(factors_.size()));
    return static_cast<A>(factors_[static_cast<std::size_t>(set)]);
  }
  A after() const { return future_ == Future::mask ? -std::numeric_limits<A>::infinity() : A(0); }

  /// p_j - p_i where the gates act, and else 0.
  std::int64_t signed_distance(const Row& row, const ScoreTile& where, Index c) const {
    const std::int64_t n = keys_.at(where.batch, where.key + c) - row.position;
    return n <= 0 ? n : future_ == Future::symmetric ? -n : 0;
  }
  A entry(const Row& row, const ScoreTile& where, Index c) const {
    const std::int64_t n = keys_.at(where.batch, where.key + c) - row.position;
    if (n > 0 && future_ != Future::symmetric) return after();
    return row.factor * static_cast<A>(n > 0 ? -n : n) * (row.query + row.keys[c]);
  }

  template <class P, class Visit>
  void for_each_row(const ScoreTile& where, P* tile, Index row_stride, Visit&& visit) const {
    if (where.keys == 0) return;
    Row row{};
    row.factor = factor(where.head);
    row.keys = key_gates_.row(where.batch, where.head, heads_) + where.key;
    const A* query = query_gates_.row(where.batch, where.head, heads_) + where.query;
    for (Index r = 0; r < where.queries; ++r, tile += row_stride) {
      row.query = query[r];
      row.position = positions_.at(where.batch, where.query + r);
      visit(row, tile);
    }
  }

  std::vector<double> factors_;
  List positions_, keys_;
  Gates query_gates_, key_gates_;
  Index heads_ = 1;
  Future future_ = Future::mask;
};

}  // namespace grape::inline v0
