// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "grape/core/config.hpp"
#include "grape/core/scalar.hpp"

namespace grape::inline v0 {
namespace detail {
inline namespace GRAPE_ISA {

/// out[c] = slope * (keys[c] - query).
template <class A>
void linear_row(A slope, std::int64_t query, const std::int64_t* keys, Index count,
                A* GRAPE_RESTRICT out) {
  for (Index c = 0; c < count; ++c) out[c] = slope * static_cast<A>(keys[c] - query);
}

/// out[c] = slope * (distance + c): keys that follow each other, the first `distance` after the
/// query.
template <class A>
void linear_row(A slope, std::int64_t distance, Index count, A* GRAPE_RESTRICT out) {
  constexpr std::int64_t kExact = std::int64_t{1} << 23;  // integers that a float holds, twice over
  if (distance > -kExact && distance < kExact && count < kExact) {
    const auto base = static_cast<std::int32_t>(distance);
    const auto length = static_cast<std::int32_t>(count);
    for (std::int32_t c = 0; c < length; ++c) out[c] = slope * static_cast<A>(base + c);
  } else {
    for (Index c = 0; c < count; ++c) out[c] = slope * static_cast<A>(distance + c);
  }
}

}  // namespace GRAPE_ISA
}  // namespace detail
}  // namespace grape::inline v0
