// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "grape/core/config.hpp"
#include "grape/core/scalar.hpp"

namespace grape::inline v0 {
namespace detail {
inline namespace GRAPE_ISA {

/// The group law for `count` planes: the rotation by (angle of a) + (angle of b), computed in
/// double and rounded once. a and b point to cosines, with their sines `sine_offset` entries
/// behind.
template <class A>
void join_rotations(const double* GRAPE_RESTRICT a, const double* GRAPE_RESTRICT b, Index count,
                    Index sine_offset, A* GRAPE_RESTRICT cos, A* GRAPE_RESTRICT sin) {
  const double* GRAPE_RESTRICT a_sin = a + sine_offset;
  const double* GRAPE_RESTRICT b_sin = b + sine_offset;
  for (Index m = 0; m < count; ++m) {
    cos[m] = static_cast<A>(a[m] * b[m] - a_sin[m] * b_sin[m]);
    sin[m] = static_cast<A>(a_sin[m] * b[m] + a[m] * b_sin[m]);
  }
}

}  // namespace GRAPE_ISA
}  // namespace detail
}  // namespace grape::inline v0
