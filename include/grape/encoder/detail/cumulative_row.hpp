// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "grape/core/config.hpp"
#include "grape/core/detail/vector.hpp"
#include "grape/core/scalar.hpp"
#include "grape/encoder/detail/add_row.hpp"

namespace grape::inline v0 {
namespace detail {
inline namespace GRAPE_ISA {

/// out[c] = slope * (query - keys[c]), subtracted in double and rounded once.
template <class A>
void cumulative_row(double slope, double query, const double* keys, Index count,
                    A* GRAPE_RESTRICT out) {
  for (Index c = 0; c < count; ++c) out[c] = static_cast<A>(slope * (query - keys[c]));
}

/// The same for sums in two parts (CompensatedSum). No difference exceeds 0, whatever its rounding.
template <class A>
void cumulative_row(double slope, double query_high, double query_low, const double* high,
                    const double* low, Index count, A* GRAPE_RESTRICT out) {
  for (Index c = 0; c < count; ++c) {
    const double d = (query_high - high[c]) + (query_low - low[c]);
    out[c] = static_cast<A>(slope * (d < 0 ? d : 0));
  }
}

/// The same entries for add_row. Half a register of A = float, since a double fills a whole one.
template <class A>
struct CumulativeValue {
  double slope, query;
  const double* keys;

  A operator()(Index c) const { return static_cast<A>(slope * (query - keys[c])); }
#if GRAPE_VECTORS
  template <int W>
  Vector<A, W> at(Index c) const {
    return __builtin_convertvector(slope * (query - load_elements<W>(keys + c)), Vector<A, W>);
  }
#endif
};

template <class A>
struct CompensatedValue {
  double slope, query_high, query_low;
  const double *high, *low;

  A operator()(Index c) const {
    const double d = (query_high - high[c]) + (query_low - low[c]);
    return static_cast<A>(slope * (d < 0 ? d : 0));
  }
#if GRAPE_VECTORS
  template <int W>
  Vector<A, W> at(Index c) const {
    using V = Vector<double, W>;
    const V d = (query_high - load_elements<W>(high + c)) + (query_low - load_elements<W>(low + c));
    const V zero{};
    const V capped = d < zero ? d : zero;
    return __builtin_convertvector(slope * capped, Vector<A, W>);
  }
#endif
};

}  // namespace GRAPE_ISA
}  // namespace detail
}  // namespace grape::inline v0
