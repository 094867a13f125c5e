// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "grape/core/config.hpp"
#include "grape/core/scalar.hpp"

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

}  // namespace GRAPE_ISA
}  // namespace detail
}  // namespace grape::inline v0
