// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>

#include "grape/core/scalar.hpp"

namespace grape::inline v0 {
namespace detail {

/// The row stride of storage that is to hold `wanted` entries a row: what it is if that suffices,
/// else at least twice the `used` entries, so that growing one by one costs little.
inline Index grown_stride(Index stride, Index used, Index wanted) {
  return wanted <= stride ? stride : (std::max)(wanted, 2 * used);
}

/// `rows` rows, `stride` entries apart, of which the first `used` count, moved to lie `wider`
/// entries apart. V is a vector.
template <class V>
V widened(const V& values, Index rows, Index used, Index stride, Index wider) {
  V out(static_cast<std::size_t>(rows * wider), typename V::value_type{});
  for (Index r = 0; r < rows; ++r) {
    std::copy_n(values.data() + r * stride, used, out.data() + r * wider);
  }
  return out;
}

}  // namespace detail
}  // namespace grape::inline v0
