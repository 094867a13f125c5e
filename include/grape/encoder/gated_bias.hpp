// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "grape/core/detail/late.hpp"
#include "grape/core/error.hpp"
#include "grape/core/view.hpp"
#include "grape/encoder/bias_action.hpp"
#include "grape/encoder/detail/add_row.hpp"
#include "grape/encoder/detail/gated_row.hpp"
#include "grape/encoder/detail/gated_tokens.hpp"
#include "grape/encoder/detail/linear_row.hpp"
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

  /// What the bias is prepared from; gates and positions of both sides, and what later keys get.
  struct Inputs {
    std::span<const double> factors;  ///< [P], P divides the heads
    const GateValues<A>& gates;       ///< of both sides
    const Positions& queries;         ///< of the queries
    const Positions& keys;            ///< of the keys
    Future future = Future::mask;     ///< what keys after the query get
  };

  /// Throws ArgumentError, and changes nothing, for gates and positions that do not fit.
  void assign(const Inputs& in) { assign(in.factors, in.gates, in.queries, in.keys, in.future); }
  /// The same with any list of factors, and with gates that may be computed where they are read.
  template <class Factors, class Gates>
  void assign(const Factors& factors, const Gates& gates, const Positions& queries,
              const Positions& keys, Future future) {
    tokens_.assign(factors, gates, queries, keys);
    future_ = future;
  }

  /// Throws ArgumentError unless append() can take these.
  template <class Factors, class Gates>
  void check_append(const Factors& factors, const Gates& gates, const Positions& positions) const {
    tokens_.check_append(factors, gates, positions);
  }
  /// Tokens at further positions: keys that are also the queries from now on.
  template <class Gates>
  void append(const Gates& gates, const Positions& positions) {
    tokens_.append(gates, positions);
  }
  /// Keeps the first `keys` keys, and no query.
  void truncate(Index keys) { tokens_.truncate(keys); }

  Index batch() const { return tokens_.batch(); }
  Index heads() const { return tokens_.heads(); }
  Index queries() const { return tokens_.queries().seq(); }
  Index keys() const { return tokens_.keys().seq(); }
  BiasGradientSizes gradient_sizes() const {
    return {.slopes = heads(),
            .query_gates = tokens_.gates_queries() ? batch() * queries() * heads() : 0,
            .key_gates = tokens_.gates_keys() ? batch() * keys() * heads() : 0};
  }

  void tile(const ScoreTile& where, A* out, Index row_stride) const {
    for_each_row(where, out, row_stride, [&](const Row& row, A* to) {
      for (Index c = 0; c < where.keys; ++c) to[c] = entry(row, where, c);
    });
  }

  void add_tile(const ScoreTile& where, A* scores, Index row_stride, double* /*carry*/) const {
    constexpr int W = detail::kRowWidth<A>;
    for_each_row(where, scores, row_stride, [&](const Row& row, A* to) {
      const std::int64_t distance = tokens_.keys().at(where.batch, where.key) - row.position;
      if (!tokens_.keys().consecutive() || distance <= -detail::kExactDistance ||
          distance >= detail::kExactDistance || where.keys >= detail::kExactDistance) {
        for (Index c = 0; c < where.keys; ++c) to[c] += entry(row, where, c);
        return;
      }
      const auto base = static_cast<std::int32_t>(distance);
      if (future_ == Future::symmetric) {
        const detail::GatedValue<A, true> value{row.factor, row.query, row.keys, {base}};
        detail::add_row<W>(where.keys, where.keys, A(0), value, to);
      } else {
        const detail::GatedValue<A, false> value{row.factor, row.query, row.keys, {base}};
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
        tokens_.queries().bounds(where.batch, where.query, where.queries);
    const auto [first_key, last_key] = tokens_.keys().bounds(where.batch, where.key, where.keys);
    if (first_key > last_query && future_ != Future::symmetric) return after();
    const A* query = tokens_.query_gates(where.batch, where.head) + where.query;
    const A* key = tokens_.key_gates(where.batch, where.head) + where.key;
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
    const A f = tokens_.factor(where.head), gate = weakest_query + weakest_key;
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
        const Index at = (where.batch * keys() + where.key + c) * heads() + where.head;
        gradients.key_gates[static_cast<std::size_t>(at)] += static_cast<double>(row.factor) * x;
      }
      if (!gradients.query_gates.empty()) {
        const Index at = (where.batch * queries() + query) * heads() + where.head;
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
    std::vector<detail::late_t<LiftTerm, A>> terms;
    if (tokens_.gates_queries()) {
      terms.push_back({LiftFactor::gate, LiftFactor::path});
      terms.push_back({LiftFactor::path, LiftFactor::one});
    }
    if (tokens_.gates_keys()) {
      terms.push_back({LiftFactor::head, LiftFactor::path});
      terms.push_back({LiftFactor::path, LiftFactor::gate});
    }
    return terms;
  }
  Index lift_key_heads() const override { return tokens_.key_heads(); }
  double lift_slope(Index /*term*/, Index head) const override {
    return static_cast<double>(tokens_.factor(head));
  }
  void lift_factors(const LiftSlice& where, double* out) const override {
    if (where.side == LiftSide::query) {
      const double f = lift_slope(0, where.head);
      for_each_lifted(where, [&](Index, double p, double gate) {
        if (tokens_.gates_queries()) {
          *out++ = f * gate;
          *out++ = -f * p * gate;
        }
        if (tokens_.gates_keys()) {
          *out++ = f;
          *out++ = -f * p;
        }
      });
    } else {
      for_each_lifted(where, [&](Index, double p, double gate) {
        if (tokens_.gates_queries()) {
          *out++ = p;
          *out++ = 1;
        }
        if (tokens_.gates_keys()) {
          *out++ = p * gate;
          *out++ = gate;
        }
      });
    }
  }
  void lift_factors_vjp(const LiftSlice& where, const double* d,
                        const BiasGradients& gradients) const override {
    const Index count =
        static_cast<Index>(tokens_.gates_queries()) + static_cast<Index>(tokens_.gates_keys());
    const double* of_keys = d + (tokens_.gates_queries() ? 2 : 0);
    if (where.side == LiftSide::query) {
      const double f = lift_slope(0, where.head);
      double d_factor = 0;
      for_each_lifted(where, [&](Index t, double p, double gate) {
        const Index at = 2 * count * t;
        if (tokens_.gates_queries()) {
          const double of_gate = d[at] - p * d[at + 1];
          d_factor += gate * of_gate;
          if (!gradients.query_gates.empty()) {
            const Index to = (where.batch * queries() + t) * heads() + where.head;
            gradients.query_gates[static_cast<std::size_t>(to)] += f * of_gate;
          }
        }
        if (tokens_.gates_keys()) d_factor += of_keys[at] - p * of_keys[at + 1];
      });
      if (gradients.slopes.empty()) return;
      gradients.slopes[static_cast<std::size_t>(where.head)] += d_factor;
    } else if (!gradients.key_gates.empty()) {
      // Heads that share a key gate share its gradient: the first of them gets it.
      const Index head = where.head * (heads() / tokens_.key_heads());
      for_each_lifted(where, [&](Index t, double p, double) {
        const Index at = 2 * count * t, to = (where.batch * keys() + t) * heads() + head;
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
    const std::int64_t centre = where.centred ? tokens_.keys().middle(where.batch) : 0;
    const auto& list = query ? tokens_.queries() : tokens_.keys();
    const A* gates = query ? tokens_.query_gates(where.batch, where.head)
                           : tokens_.own_key_gates(where.batch, where.head);
    for (Index t = 0; t < list.seq(); ++t) {
      visit(t, static_cast<double>(list.at(where.batch, t) - centre),
            static_cast<double>(gates[t]));
    }
  }

  /// One row of a tile; keys begins at its first column.
  struct Row {
    A factor, query;
    std::int64_t position;
    const A* keys;
  };

  A after() const { return future_ == Future::mask ? -std::numeric_limits<A>::infinity() : A(0); }

  /// p_j - p_i where the gates act, and else 0.
  std::int64_t signed_distance(const Row& row, const ScoreTile& where, Index c) const {
    const std::int64_t n = tokens_.keys().at(where.batch, where.key + c) - row.position;
    return n <= 0 ? n : future_ == Future::symmetric ? -n : 0;
  }
  A entry(const Row& row, const ScoreTile& where, Index c) const {
    const std::int64_t n = tokens_.keys().at(where.batch, where.key + c) - row.position;
    if (n > 0 && future_ != Future::symmetric) return after();
    return row.factor * static_cast<A>(n > 0 ? -n : n) * (row.query + row.keys[c]);
  }

  template <class P, class Visit>
  void for_each_row(const ScoreTile& where, P* tile, Index row_stride, Visit&& visit) const {
    if (where.keys == 0) return;
    Row row{};
    row.factor = tokens_.factor(where.head);
    row.keys = tokens_.key_gates(where.batch, where.head) + where.key;
    const A* query = tokens_.query_gates(where.batch, where.head) + where.query;
    for (Index r = 0; r < where.queries; ++r, tile += row_stride) {
      row.query = query[r];
      row.position = tokens_.queries().at(where.batch, where.query + r);
      visit(row, tile);
    }
  }

  detail::GatedTokens<A> tokens_;
  Future future_ = Future::mask;
};

}  // namespace grape::inline v0
