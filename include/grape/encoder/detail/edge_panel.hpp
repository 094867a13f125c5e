// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <utility>

#include "grape/core/config.hpp"
#include "grape/core/detail/vector.hpp"
#include "grape/core/scalar.hpp"
#include "grape/math/detail/log_sigmoid_row.hpp"
#include "grape/path/path_integral.hpp"

namespace grape::inline v0 {
namespace detail {

/// Keys of a panel [width, kEdgePanel]: probes are kept in panels, a coordinate of all its keys
/// side by side. The same for every instruction set, since actions pass between translation units.
inline constexpr Index kEdgePanel = 32;

inline namespace GRAPE_ISA {

/// Queries that a panel is multiplied by at a time: with two registers of keys for each, the sums
/// fill half of the registers that there are.
inline constexpr int kEdgeRows = GRAPE_VECTOR_BYTES == 64 ? 8 : 4;

/// x[r, c] = <query r, key c of the panel> for R queries [width], `stride` apart: what is meant.
template <int R, class A>
void edge_products_plain(const A* queries, Index stride, const A* panel, Index width, A* x) {
  for (Index i = 0; i < R * kEdgePanel; ++i) x[i] = 0;
  for (Index w = 0; w < width; ++w, panel += kEdgePanel) {
    for (Index r = 0; r < R; ++r) {
      const A q = queries[r * stride + w];
      for (Index c = 0; c < kEdgePanel; ++c) x[r * kEdgePanel + c] += q * panel[c];
    }
  }
}

#if GRAPE_VECTORS
template <class A, int... r>
GRAPE_INLINE void edge_products_block(const A* queries, Index stride, const A* panel, Index width,
                                      A* x, std::integer_sequence<int, r...>) {
  constexpr int W = kVectorWidth<A>;
  using V = Vector<A, W>;
  V low[] = {(static_cast<void>(r), V{})...}, high[] = {(static_cast<void>(r), V{})...};
  for (Index w = 0; w < width; ++w, panel += kEdgePanel) {
    const V a = load_elements<W>(panel), b = load_elements<W>(panel + W);
    ((low[r] += a * queries[r * stride + w], high[r] += b * queries[r * stride + w]), ...);
  }
  ((store_elements<W>(low[r], x + r * kEdgePanel),
    store_elements<W>(high[r], x + r * kEdgePanel + W)),
   ...);
}
#endif

template <int R, class A>
void edge_products(const A* queries, Index stride, const A* panel, Index width, A* x) {
#if GRAPE_VECTORS
  for (Index c = 0; c < kEdgePanel; c += 2 * kVectorWidth<A>) {
    edge_products_block(queries, stride, panel + c, width, x + c,
                        std::make_integer_sequence<int, R>{});
  }
#else
  edge_products_plain<R>(queries, stride, panel, width, x);
#endif
}

#if GRAPE_VECTORS
/// v moved down by `by` elements, zeros behind it.
template <int by, class V, int... i>
GRAPE_INLINE V elements_from(V v, std::integer_sequence<int, i...>) {
  return __builtin_shufflevector(v, V{}, (i + by)...);
}
/// e[i] + e[i + 1] + .. of a register, in log2(W) steps.
template <int W, int by, class V>
GRAPE_INLINE V suffix_sums_of(V e) {
  if constexpr (by < W) {
    return suffix_sums_of<W, 2 * by>(
        V(e + elements_from<by>(e, std::make_integer_sequence<int, W>{})));
  } else {
    return e;
  }
}
#endif

/// y[c] += carry + x[c + 1] + .. + x[kEdgePanel - 1], and the panel's sum is added to carry. Sums
/// within a register are taken in A, those of registers in double.
template <class A>
GRAPE_INLINE void add_edge_suffix(const A* x, A* y, double& carry) {
#if GRAPE_VECTORS
  constexpr int W = kVectorWidth<A>;
  for (Index c = kEdgePanel - W; c >= 0; c -= W) {
    const auto v = load_elements<W>(x + c);
    const auto behind =
        suffix_sums_of<W, 1>(elements_from<1>(v, std::make_integer_sequence<int, W>{}));
    store_elements<W>(load_elements<W>(y + c) + (behind + static_cast<A>(carry)), y + c);
    carry += static_cast<double>(v[0] + behind[0]);
  }
#else
  for (Index c = kEdgePanel; c-- > 0;) {
    y[c] += static_cast<A>(carry);
    carry += static_cast<double>(x[c]);
  }
#endif
}

/// x[i] = slope * g(x[i]).
template <class A, class Link>
void edge_link(const Link& link, A slope, A* x, Index count) {
  if constexpr (std::same_as<Link, LogSigmoidLink>) {
    log_sigmoid_row(x, count);
  } else {
    for (Index i = 0; i < count; ++i) x[i] = static_cast<A>(link(x[i]));
  }
  for (Index i = 0; i < count; ++i) x[i] *= slope;
}

/// d[i] = g'(x[i]), then x[i] = g(x[i]).
template <class A, class Link>
void edge_link_derivative(const Link& link, A* x, A* d, Index count) {
  if constexpr (std::same_as<Link, LogSigmoidLink>) {
    log_sigmoid_derivative_row(x, count, d);
    log_sigmoid_row(x, count);
  } else {
    for (Index i = 0; i < count; ++i) {
      d[i] = static_cast<A>(link.derivative(x[i]));
      x[i] = static_cast<A>(link(x[i]));
    }
  }
}

/// The transpose of edge_products for one query: d_query[w] += <d_x, key coordinate w>, and
/// d_panel[w, c] += d_x[c] query[w], in double.
template <class A>
void edge_products_vjp(const double* d_x, const A* query, const A* panel, Index width,
                       double* GRAPE_RESTRICT d_query, double* GRAPE_RESTRICT d_panel) {
  for (Index w = 0; w < width; ++w, panel += kEdgePanel, d_panel += kEdgePanel) {
    constexpr Index kParts = 8;  // sums side by side, in an order that no flag decides
    double part[kParts] = {};
    const auto q = static_cast<double>(query[w]);
    for (Index c = 0; c < kEdgePanel; c += kParts) {
      for (Index i = 0; i < kParts; ++i) {
        part[i] += d_x[c + i] * static_cast<double>(panel[c + i]);
        d_panel[c + i] += d_x[c + i] * q;
      }
    }
    d_query[w] +=
        ((part[0] + part[4]) + (part[1] + part[5])) + ((part[2] + part[6]) + (part[3] + part[7]));
  }
}

}  // namespace GRAPE_ISA
}  // namespace detail
}  // namespace grape::inline v0
