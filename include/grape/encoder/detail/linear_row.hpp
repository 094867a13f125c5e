// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "grape/core/config.hpp"
#include "grape/core/detail/vector.hpp"
#include "grape/core/scalar.hpp"
#include "grape/encoder/detail/add_row.hpp"

namespace grape::inline v0 {
namespace detail {
inline namespace GRAPE_ISA {

/// Distances below this are exact in a float, twice over.
inline constexpr std::int64_t kExactDistance = std::int64_t{1} << 23;

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
  if (distance > -kExactDistance && distance < kExactDistance && count < kExactDistance) {
    const auto base = static_cast<std::int32_t>(distance);
    const auto length = static_cast<std::int32_t>(count);
    for (std::int32_t c = 0; c < length; ++c) out[c] = slope * static_cast<A>(base + c);
  } else {
    for (Index c = 0; c < count; ++c) out[c] = slope * static_cast<A>(distance + c);
  }
}

/// distance + c, or -|distance + c|, where that is exact in A; and W columns of it.
template <class A, bool symmetric>
struct Distance {
  std::int32_t first;

  A operator()(Index c) const {
    const std::int32_t n = first + static_cast<std::int32_t>(c);
    return static_cast<A>(symmetric && n > 0 ? -n : n);
  }
#if GRAPE_VECTORS
  template <int W>
  Vector<A, W> at(Index c) const {
    Vector<A, W> n{};
    for (int i = 0; i < W; ++i) n[i] = static_cast<A>(i);
    n += static_cast<A>(first + static_cast<std::int32_t>(c));
    if constexpr (symmetric) n = n > 0 ? -n : n;
    return n;
  }
#endif
};

/// slope times a distance.
template <class A, bool symmetric>
struct LinearValue {
  A slope;
  Distance<A, symmetric> distance;

  A operator()(Index c) const { return slope * distance(c); }
#if GRAPE_VECTORS
  template <int W>
  Vector<A, W> at(Index c) const {
    return slope * distance.template at<W>(c);
  }
#endif
};

/// scores[c] += slope * (distance + c) for the `seen` keys that are not after the query. Later ones
/// get `after`, or what they would get backwards.
template <class A>
void add_linear_row(A slope, std::int64_t distance, Index seen, Index count, bool symmetric,
                    A after, A* scores) {
  if (distance <= -kExactDistance || distance >= kExactDistance || count >= kExactDistance) {
    for (Index c = 0; c < seen; ++c) scores[c] += slope * static_cast<A>(distance + c);
    for (Index c = seen; c < count; ++c) {
      scores[c] += symmetric ? -slope * static_cast<A>(distance + c) : after;
    }
    return;
  }
  const auto base = static_cast<std::int32_t>(distance);
  if (symmetric) {
    add_row<kRowWidth<A>>(count, count, after, LinearValue<A, true>{slope, {base}}, scores);
  } else {
    add_row<kRowWidth<A>>(seen, count, after, LinearValue<A, false>{slope, {base}}, scores);
  }
}

/// scores[c] += slope * (keys[c] - query) where that is not after the query, and else
/// after_slope * (keys[c] - query) + after.
template <class A>
void add_linear_row(A slope, A after_slope, A after, std::int64_t query, const std::int64_t* keys,
                    Index count, A* GRAPE_RESTRICT scores) {
  for (Index c = 0; c < count; ++c) {
    const std::int64_t distance = keys[c] - query;
    const bool later = distance > 0;
    const A product = (later ? after_slope : slope) * static_cast<A>(distance);
    scores[c] += product + (later ? after : A(0));
  }
}

}  // namespace GRAPE_ISA
}  // namespace detail
}  // namespace grape::inline v0
