// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <span>

#include "grape/core/scalar.hpp"

namespace grape::inline v0 {

/// What a bias says about keys after the query, j > i in position.
enum class Future {
  mask,       ///< -infinity: causal attention
  zero,       ///< nothing: the caller masks, as the paper's code does
  symmetric,  ///< the bias of distance |i - j|: bidirectional attention
};

/// A rectangle of scores: queries [query, query + queries) against keys [key, key + keys) of one
/// batch entry and one parameter head.
struct ScoreTile {
  Index batch;
  Index head;
  Index query;
  Index queries;
  Index key;
  Index keys;
};

/// Where gradients of a bias's parameters and inputs are accumulated, in double; an empty span is
/// left alone. P is the number of parameter heads, batch that of the bias (1 where all entries of
/// the scores share it).
struct BiasGradients {
  std::span<double> slopes{};       ///< [P]
  std::span<double> log_forget{};   ///< [batch, keys, P], log forget gates
  std::span<double> query_gates{};  ///< [batch, queries, P]
  std::span<double> key_gates{};    ///< [batch, keys, P]
  std::span<double> features{};     ///< [batch, keys, P, width], features of a path integral
  /// Scratch [path] of one batch entry and head, for tile_vjp and finish_vjp; not for add_bias_vjp.
  std::span<double> path{};
  /// Of a sum of biases: the gradients of each part, in order.
  std::span<const BiasGradients> parts{};
};

/// How many entries the spans of BiasGradients have for a bias; 0 where it has no such gradient.
struct BiasGradientSizes {
  Index slopes = 0;
  Index log_forget = 0;
  Index query_gates = 0;
  Index key_gates = 0;
  Index features = 0;
  Index path = 0;
};

/// A bias over [batch, heads, queries, keys] that is computed a tile at a time and never stored
/// whole. `batch()` is 1 where all batch entries share it and `heads()` counts parameter heads. Any
/// user type that offers this can be made a BiasAction.
///   tile(where, out, row_stride)  writes out[r * row_stride + c] = b(query + r, key + c).
/// It may also offer
///   add_tile(where, scores, row_stride, carry)  adds the same to what is there. Whoever calls it
///     visits the tiles of a run of queries from the last key to the first, with one `carry` entry
///     a query that starts at 0 and that nobody else touches: a bias that sums edges from the query
///     back keeps its sum there;
///   uses_carry  a static constexpr bool, false where add_tile leaves the carry alone;
///   tile_vjp(where, d_tile, row_stride, before, gradients)  accumulates gradients from d_tile, the
///     gradient of the bias on the tile; before[r] is the sum of that gradient over all keys of the
///     row before the tile's first. It touches entries of `where.batch` and `where.head` alone;
///   finish_vjp(batch, head, gradients)  is called after the last tile of a batch entry and head;
///   gradient_sizes()  says which gradients it has;
///   upper_bound(where)  a number that no entry of the tile exceeds;
///   truncate(keys)  forgets the keys from `keys` on, and all queries: what append() adds
///     afterwards gives the bits that it would have given then.
template <class S, class A>
concept BiasSource = std::copy_constructible<S> &&
    requires(const S& s, const ScoreTile& where, A* out, Index row_stride) {
  { s.batch() } -> std::convertible_to<Index>;
  { s.heads() } -> std::convertible_to<Index>;
  { s.queries() } -> std::convertible_to<Index>;
  { s.keys() } -> std::convertible_to<Index>;
  { s.tile(where, out, row_stride) } -> std::same_as<void>;
};

}  // namespace grape::inline v0
