// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "grape/core/config.hpp"
#include "grape/core/detail/vector.hpp"
#include "grape/core/scalar.hpp"

namespace grape::inline v0 {
namespace detail {
inline namespace GRAPE_ISA {

/// factor * (distance + c) * (query + keys[c]), or of -|distance + c|, for distances that are exact
/// in A.
template <class A, bool symmetric>
struct GatedValue {
  A factor, query;
  const A* keys;
  std::int32_t distance;

  A operator()(Index c) const {
    const std::int32_t n = distance + static_cast<std::int32_t>(c);
    return factor * static_cast<A>(symmetric && n > 0 ? -n : n) * (query + keys[c]);
  }
#if GRAPE_VECTORS
  template <int W>
  Vector<A, W> at(Index c) const {
    Vector<A, W> n{};
    for (int i = 0; i < W; ++i) n[i] = static_cast<A>(i);
    n += static_cast<A>(distance + static_cast<std::int32_t>(c));
    if constexpr (symmetric) n = n > 0 ? -n : n;
    return factor * n * (query + load_elements<W>(keys + c));
  }
#endif
};

}  // namespace GRAPE_ISA
}  // namespace detail
}  // namespace grape::inline v0
