// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstring>
#include <utility>

#include "grape/core/config.hpp"
#include "grape/core/scalar.hpp"

#if GRAPE_VECTORS

namespace grape::inline v0 {
namespace detail {
inline namespace GRAPE_ISA {

// Registers as GCC and clang have them built in: arithmetic operators work on all elements at once.

template <class A, int W>
struct VectorOf {
  // The one place of the attribute that both compilers take for a size that depends on W.
  // NOLINTNEXTLINE(modernize-use-using)
  typedef A type __attribute__((vector_size(sizeof(A) * static_cast<std::size_t>(W))));
};
/// W elements of A.
template <class A, int W>
using Vector = typename VectorOf<A, W>::type;

/// Elements of the widest register of the instruction set.
template <class A>
inline constexpr int kVectorWidth = GRAPE_VECTOR_BYTES / static_cast<int>(sizeof(A));

/// From and to memory of any alignment.
template <int W, class A>
GRAPE_INLINE Vector<A, W> load_elements(const A* from) {
  Vector<A, W> out;
  std::memcpy(&out, from, sizeof out);
  return out;
}
template <int W, class A>
GRAPE_INLINE void store_elements(Vector<A, W> x, A* to) {
  std::memcpy(to, &x, sizeof x);
}

template <class V, int... i>
GRAPE_INLINE V even_elements(V a, V b, std::integer_sequence<int, i...>) {
  return __builtin_shufflevector(a, b, (2 * i)...);
}
template <class V, int... i>
GRAPE_INLINE V odd_elements(V a, V b, std::integer_sequence<int, i...>) {
  return __builtin_shufflevector(a, b, (2 * i + 1)...);
}
/// a0 b0 a1 b1 .. from the first halves of a and b.
template <class V, int... i>
GRAPE_INLINE V zip_low(V a, V b, std::integer_sequence<int, i...>) {
  constexpr int kWidth = sizeof...(i);
  return __builtin_shufflevector(a, b, (i / 2 + (i % 2) * kWidth)...);
}
/// The same from their second halves.
template <class V, int... i>
GRAPE_INLINE V zip_high(V a, V b, std::integer_sequence<int, i...>) {
  constexpr int kWidth = sizeof...(i);
  return __builtin_shufflevector(a, b, (kWidth / 2 + i / 2 + (i % 2) * kWidth)...);
}
/// a1 a0 a3 a2 ..
template <class V, int... i>
GRAPE_INLINE V swap_pairs(V a, std::integer_sequence<int, i...>) {
  return __builtin_shufflevector(a, a, (i ^ 1)...);
}

}  // namespace GRAPE_ISA
}  // namespace detail
}  // namespace grape::inline v0

#endif  // GRAPE_VECTORS
