// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace Eigen {
struct half;
struct bfloat16;
}  // namespace Eigen

namespace grape::inline v0 {

/// Extents, strides, counts and indices.
using Index = std::ptrdiff_t;

/// The element types that tensors may have: float, double, Eigen::half and Eigen::bfloat16.
template <class T>
inline constexpr bool is_element = false;
/// One of them.
template <>
inline constexpr bool is_element<float> = true;
/// One of them.
template <>
inline constexpr bool is_element<double> = true;
template <>
inline constexpr bool is_element<Eigen::half> = true;
template <>
inline constexpr bool is_element<Eigen::bfloat16> = true;

template <class T>
concept Element = is_element<std::remove_const_t<T>>;

/// The scalars that arithmetic is done in. float serves float, half and bfloat16 tensors.
template <class A>
concept Accumulator = std::same_as<A, float> || std::same_as<A, double>;

/// double for double, float for every narrower element.
template <Element T>
using accumulation_t =
    std::conditional_t<std::same_as<std::remove_const_t<T>, double>, double, float>;

namespace detail {

/// The number that a scalar stands for: itself, or the value of an Eigen::AutoDiffScalar.
template <class S>
double plain_value(const S& x) {
  if constexpr (requires { x.value(); }) {
    return static_cast<double>(x.value());
  } else {
    return static_cast<double>(x);
  }
}

/// Finiteness read from the bits: -ffast-math may fold std::isfinite to true.
constexpr bool is_finite(double x) {
  constexpr std::uint64_t kExponent = 0x7ff0000000000000u;
  return (std::bit_cast<std::uint64_t>(x) & kExponent) != kExponent;
}

/// The same of x as an A: 1e39 is infinite as a float.
template <Accumulator A>
constexpr bool is_finite_as(double x) {
  constexpr auto kLargest = static_cast<double>((std::numeric_limits<A>::max)());
  return is_finite(x) && x <= kLargest && x >= -kLargest;
}

/// a * b in `product`; false when that does not fit. Both are >= 0.
constexpr bool multiply_checked(Index a, Index b, Index& product) {
  if (b != 0 && a > (std::numeric_limits<Index>::max)() / b) return false;
  product = a * b;
  return true;
}

}  // namespace detail
}  // namespace grape::inline v0
