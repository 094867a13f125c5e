// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "grape/core/config.hpp"
#include "grape/core/detail/vector.hpp"
#include "grape/core/scalar.hpp"

namespace grape::inline v0 {
namespace detail {
inline namespace GRAPE_ISA {

// A row of a bias added to scores in place, at the speed of memory: whole registers at aligned
// addresses, the ends and the edge of the future by a choice between lanes, never by a loop over
// single entries.
//
// `value` is the bias of seen keys: value(c) gives that of column c, value.template at<W>(c) those
// of c .. c + W - 1, any W columns of the row, also beyond the seen ones.

/// scores[c] += x.
template <class A>
void add_to_row(A x, Index count, A* GRAPE_RESTRICT scores) {
  for (Index c = 0; c < count; ++c) scores[c] += x;
}

#if GRAPE_VECTORS
template <class A>
using Lane = std::conditional_t<sizeof(A) == 4, std::int32_t, std::int64_t>;

/// 0, 1, .., W - 1.
template <class L, int W>
GRAPE_INLINE Vector<L, W> lanes() {
  Vector<L, W> out{};
  for (int i = 0; i < W; ++i) out[i] = static_cast<L>(i);
  return out;
}

/// The W columns from c on, of which lanes [from, to) are added to: value before column `seen`, and
/// `after` from there on.
template <int W, class A, class Value>
GRAPE_INLINE void add_some(Index c, Index from, Index to, Index seen, A after, Value value,
                           A* scores) {
  using L = Lane<A>;
  const Vector<L, W> lane = lanes<L, W>();
  const auto edge = static_cast<L>(std::clamp<Index>(seen - c, 0, W));
  const auto low = static_cast<L>(from), high = static_cast<L>(to);
  const Vector<A, W> none{}, rest = none + after, seen_values = value.template at<W>(c);
  Vector<A, W> x = lane < edge ? seen_values : rest;
  const auto inside = (lane >= low) & (lane < high);
  x = inside ? x : none;
  store_elements<W>(load_elements<W>(scores + c) + x, scores + c);
}

/// scores[c] += c < seen ? value(c) : after, for c < count.
template <int W, class A, class Value>
void add_row(Index seen, Index count, A after, Value value, A* scores) {
  if (count < W || count > (std::numeric_limits<Lane<A>>::max)() - W) {
    for (Index c = 0; c < count; ++c) scores[c] += c < seen ? value(c) : after;
    return;
  }
  constexpr std::size_t kBytes = W * sizeof(A);
  const auto beyond = reinterpret_cast<std::uintptr_t>(scores) % kBytes;
  Index c = static_cast<Index>((kBytes - beyond) % kBytes / sizeof(A));
  if (c > 0) add_some<W>(0, 0, c, seen, after, value, scores);
  const Index whole = c + (count - c) / W * W;
  const auto step = [&](auto&& x) {
    store_elements<W>(load_elements<W>(scores + c) + x, scores + c);
  };
  if (seen >= whole) {
    for (; c < whole; c += W) step(value.template at<W>(c));
  } else if (seen > c) {
    const Vector<A, W> rest = Vector<A, W>{} + after;
    auto lane = lanes<Lane<A>, W>() + static_cast<Lane<A>>(c);
    const auto edge = Vector<Lane<A>, W>{} + static_cast<Lane<A>>(seen);
    for (; c < whole; c += W) {
      const Vector<A, W> v = value.template at<W>(c);
      step(lane < edge ? v : rest);
      lane += W;
    }
  } else if (after != A(0)) {
    for (; c < whole; c += W) step(after);
  }
  if (whole < count) {
    add_some<W>(count - W, whole - (count - W), W, seen, after, value, scores);
  }
}
#else
template <int W, class A, class Value>
void add_row(Index seen, Index count, A after, Value value, A* scores) {
  for (Index c = 0; c < seen; ++c) scores[c] += value(c);
  add_to_row(after, count - seen, scores + seen);
}
#endif  // GRAPE_VECTORS

/// Columns of one register.
template <class A>
inline constexpr int kRowWidth = GRAPE_VECTOR_BYTES / static_cast<int>(sizeof(A));

}  // namespace GRAPE_ISA
}  // namespace detail
}  // namespace grape::inline v0
