// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>

#include "grape/attention/detail/exp.hpp"
#include "grape/attention/detail/product.hpp"
#include "grape/core/config.hpp"
#include "grape/core/detail/vector.hpp"
#include "grape/core/scalar.hpp"

namespace grape::inline v0 {
namespace detail {

/// Queries of a task and keys of a tile: a tile of scores, one of keys and one of values are 16 KB
/// of floats each at head_dim 64.
inline constexpr Index kQueries = 64;
inline constexpr Index kKeys = 64;

/// From the bits: holds under -ffast-math.
inline bool is_minus_infinity(float x) { return std::bit_cast<std::uint32_t>(x) == 0xff800000u; }
inline bool is_minus_infinity(double x) {
  return std::bit_cast<std::uint64_t>(x) == 0xfff0000000000000u;
}

/// The softmax of rows whose scores come a tile at a time: the largest score so far, the sum of
/// exp(score - maximum), and what earlier sums must be multiplied by when a tile raises the
/// maximum.
template <class A>
struct SoftmaxRows {
  A maximum[kQueries], sum[kQueries], rescale[kQueries];

  void start() {
    std::fill_n(maximum, kQueries, -std::numeric_limits<A>::infinity());
    std::fill_n(sum, kQueries, A(0));
  }
  /// 1 / sum, and 0 for a row that has seen no key: its result is 0.
  A inverse(Index r) const { return sum[r] == 0 ? A(0) : 1 / sum[r]; }
  A log_sum(Index r) const {
    return sum[r] == 0 ? -std::numeric_limits<A>::infinity() : maximum[r] + std::log(sum[r]);
  }
};

inline namespace GRAPE_ISA {

#if GRAPE_VECTORS
template <class V, int... i>
GRAPE_INLINE auto lower_half(V x, std::integer_sequence<int, i...>) {
  return __builtin_shufflevector(x, x, i...);
}
template <class V, int... i>
GRAPE_INLINE auto upper_half(V x, std::integer_sequence<int, i...>) {
  constexpr int kHalf = sizeof...(i);
  return __builtin_shufflevector(x, x, (kHalf + i)...);
}

template <int W, class A>
GRAPE_INLINE A largest(Vector<A, W> x) {
  if constexpr (W == 2) {
    return x[0] > x[1] ? x[0] : x[1];
  } else {
    constexpr auto kHalf = std::make_integer_sequence<int, W / 2>{};
    const Vector<A, W / 2> low = lower_half(x, kHalf), high = upper_half(x, kHalf);
    return largest<W / 2, A>(low > high ? low : high);
  }
}
template <int W, class A>
GRAPE_INLINE A total(Vector<A, W> x) {
  if constexpr (W == 2) {
    return x[0] + x[1];
  } else {
    constexpr auto kHalf = std::make_integer_sequence<int, W / 2>{};
    return total<W / 2, A>(lower_half(x, kHalf) + upper_half(x, kHalf));
  }
}

template <class A>
GRAPE_INLINE A row_maximum(const A* row, Index columns) {
  constexpr int W = kVectorWidth<A>;
  using V = Vector<A, W>;
  V most = load_elements<W>(row);
  for (Index c = W; c < columns; c += W) {
    const V x = load_elements<W>(row + c);
    most = x > most ? x : most;
  }
  return largest<W, A>(most);
}

/// row[c] = exp(row[c] - base); returns the sum.
template <class A>
GRAPE_INLINE A exp_row(A* row, Index columns, A base) {
  constexpr int W = kVectorWidth<A>;
  using V = Vector<A, W>;
  V sum{};
  for (Index c = 0; c < columns; c += W) {
    const V weight = exp_weights<A, W>(load_elements<W>(row + c) - base);
    store_elements<W>(weight, row + c);
    sum += weight;
  }
  return total<W, A>(sum);
}
#else
template <class A>
A row_maximum(const A* row, Index columns) {
  A most = row[0];
  for (Index c = 1; c < columns; ++c) most = row[c] > most ? row[c] : most;
  return most;
}
template <class A>
A exp_row(A* row, Index columns, A base) {
  A sum = 0;
  for (Index c = 0; c < columns; ++c) sum += row[c] = exp_weight(row[c] - base);
  return sum;
}
#endif

/// Turns a tile of scores [rows, columns] into weights exp(score - maximum), rows kKeys apart and
/// columns a multiple of kLane, and takes them into the state.
template <class A>
void softmax_tile(A* scores, Index rows, Index columns, SoftmaxRows<A>& state) {
  A base[kQueries];
  for (Index r = 0; r < rows; ++r) {
    const A most = row_maximum(scores + r * kKeys, columns);
    const A before = state.maximum[r], maximum = most > before ? most : before;
    base[r] = is_minus_infinity(maximum) ? A(0) : maximum;
    state.maximum[r] = maximum;
    state.rescale[r] = before - base[r];
  }
  const Index whole = (std::min)(kQueries, round_to_lanes<A>(rows));
  std::fill(state.rescale + rows, state.rescale + whole, A(0));
  exp_row(state.rescale, whole, A(0));
  for (Index r = 0; r < rows; ++r) {
    const A sum = exp_row(scores + r * kKeys, columns, base[r]);
    state.sum[r] = state.sum[r] * state.rescale[r] + sum;
  }
}

}  // namespace GRAPE_ISA
}  // namespace detail
}  // namespace grape::inline v0
