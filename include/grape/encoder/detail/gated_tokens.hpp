// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "grape/core/error.hpp"
#include "grape/core/scalar.hpp"
#include "grape/encoder/bias_action.hpp"
#include "grape/encoder/detail/gate_rows.hpp"
#include "grape/encoder/detail/position_list.hpp"
#include "grape/encoder/heads.hpp"

namespace grape::inline v0 {
namespace detail {

/// What a gated bias knows of its tokens: where queries and keys stand, their gates, and one factor
/// a parameter head; and how they grow at the end.
template <Accumulator A>
class GatedTokens {
 public:
  /// P factors, a list of P = size() numbers, P a divisor of the gates' heads; `gates` has members
  /// `query` and `key` (see GateRows). Throws ArgumentError, and changes nothing, for gates and
  /// positions that do not fit.
  template <class Factors, class Gates>
  void assign(const Factors& factors, const Gates& gates, const Positions& queries,
              const Positions& keys) {
    PositionList::check("query_positions", queries);
    PositionList::check("key_positions", keys);
    PositionList::check_batches(queries, keys);
    check_gates("query gates", gates.query, queries);
    check_gates("key gates", gates.key, keys);
    const Index batch = common_batch(gates), heads = common_heads(gates);
    check_batch(queries, batch);
    check_batch(keys, batch);
    check_heads("gates", heads, static_cast<Index>(factors.size()));
    for (std::size_t p = 0; p < factors.size(); ++p) {
      if (is_finite_as<A>(factors[p])) continue;
      fail(text("factors[", p, "]"), text(factors[p]), "a finite factor of the gates");
    }
    factors_.reserve(factors.size());
    queries_.reserve(queries);
    keys_.reserve(keys);
    query_gates_.reserve(gates.query, queries.seq());
    key_gates_.reserve(gates.key, keys.seq());
    factors_.resize(factors.size());
    for (std::size_t p = 0; p < factors.size(); ++p) factors_[p] = factors[p];
    queries_.assign(queries);
    keys_.assign(keys);
    query_gates_.assign(gates.query, queries.seq());
    key_gates_.assign(gates.key, keys.seq());
    heads_ = heads;
  }

  /// Throws ArgumentError unless append() can take these.
  template <class Factors, class Gates>
  void check_append(const Factors& factors, const Gates& gates, const Positions& positions) const {
    check_same_slopes(factors, factors_);
    PositionList::check("positions", positions);
    check_gates("query gates", gates.query, positions);
    check_gates("key gates", gates.key, positions);
    if (gates.query.has_value() != query_gates_.given ||
        gates.key.has_value() != key_gates_.given) {
      fail("gates", "those of other sides", "gates of the sides with which the action began");
    }
    check_same_batch("gates", common_batch(gates), gates_batch());
    check_batch(positions, gates_batch());
    if (keys_.seq() > 0) check_same_batch("positions", positions.batch(), keys_.batch());
    if (common_heads(gates) != heads_ || (gates.key && gates.key->heads() != key_gates_.heads)) {
      fail("gates", text(common_heads(gates), " heads"),
           text("the ", heads_, " heads of the action"));
    }
  }
  /// Tokens at further positions: keys that are also the queries from now on.
  template <class Gates>
  void append(const Gates& gates, const Positions& positions) {
    // What may run out of memory comes first.
    queries_.reserve(positions);
    query_gates_.reserve(gates.query, positions.seq());
    key_gates_.grow(positions.seq());
    keys_.append(positions);
    key_gates_.append(gates.key, positions.seq());
    queries_.assign(positions);
    query_gates_.assign(gates.query, positions.seq());
  }
  /// Keeps the first `keys` keys, and no query.
  void truncate(Index keys) {
    keys_.truncate(keys);
    key_gates_.truncate(keys);
    queries_.truncate(0);
    query_gates_.truncate(0);
  }

  /// That of the gates, since positions have it too or are shared.
  Index batch() const { return gates_batch(); }
  /// Heads of the gates: the larger number where query heads share key heads.
  Index heads() const { return heads_; }
  Index key_heads() const { return key_gates_.heads; }
  const PositionList& queries() const { return queries_; }
  const PositionList& keys() const { return keys_; }
  bool gates_queries() const { return query_gates_.given; }
  bool gates_keys() const { return key_gates_.given; }
  /// The gates of all queries or keys, for one of heads(); or of key_heads().
  const A* query_gates(Index b, Index head) const { return query_gates_.row(b, head, heads_); }
  const A* key_gates(Index b, Index head) const { return key_gates_.row(b, head, heads_); }
  const A* own_key_gates(Index b, Index key_head) const {
    return key_gates_.row(b, key_head, key_gates_.heads);
  }

  A factor(Index head) const {
    const Index set = parameter_set(head, heads_, static_cast<Index>(factors_.size()));
    return static_cast<A>(factors_[static_cast<std::size_t>(set)]);
  }

 private:
  /// Positions are shared by the batch, or given for each of its entries.
  static void check_batch(const Positions& positions, Index batch) {
    if (positions.batch() == 1 || positions.batch() == batch) return;
    fail("positions", text("batch ", positions.batch()),
         text("the gates' batch ", batch, ", or 1"));
  }

  Index gates_batch() const { return query_gates_.given ? query_gates_.batch : key_gates_.batch; }

  std::vector<double> factors_;
  PositionList queries_, keys_;
  GateRows<A> query_gates_, key_gates_;
  Index heads_ = 1;
};

}  // namespace detail
}  // namespace grape::inline v0
