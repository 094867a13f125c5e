// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "grape/core/config.hpp"
#include "grape/core/detail/vector.hpp"
#include "grape/core/scalar.hpp"
#include "grape/encoder/detail/linear_row.hpp"

namespace grape::inline v0 {
namespace detail {
inline namespace GRAPE_ISA {

/// factor times a distance times (query + keys[c]).
template <class A, bool symmetric>
struct GatedValue {
  A factor, query;
  const A* keys;
  Distance<A, symmetric> distance;

  A operator()(Index c) const { return factor * distance(c) * (query + keys[c]); }
#if GRAPE_VECTORS
  template <int W>
  Vector<A, W> at(Index c) const {
    return factor * distance.template at<W>(c) * (query + load_elements<W>(keys + c));
  }
#endif
};

}  // namespace GRAPE_ISA
}  // namespace detail
}  // namespace grape::inline v0
