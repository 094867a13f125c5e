// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <concepts>
#include <cstdint>
#include <iterator>

#include "grape/core/config.hpp"
#include "grape/core/detail/vector.hpp"
#include "grape/core/scalar.hpp"

namespace grape::inline v0 {
namespace detail {
inline namespace GRAPE_ISA {

// exp for softmax weights. x = n ln 2 + r with |r| <= ln(2) / 2, and exp(x) = 2^n exp(r). Valid for
// x <= 1, where weights live: within 1.5 ulp (float) and 2 ulp (double), 0 where exp(x) is below
// the smallest normal number, exp(-infinity) = 0, NaN stays NaN. First one number, which says what
// is meant, then a register of them.

template <class A>
struct ExpConstants;
template <>
struct ExpConstants<float> {
  using Bits = std::uint32_t;
  static constexpr float kLeast = -87.33654f;  // ln 2^-126
  static constexpr float kLog2E = 1.44269504f;
  // ln 2 in two parts, the first with few enough bits that n times it is exact.
  static constexpr float kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;
  static constexpr int kMantissa = 23, kExponentBias = 127;
  /// exp(r) - 1 - r, divided by r^2: minimax on the range of r (Cephes).
  static constexpr float kSeries[] = {1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f,
                                      4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f};
};
template <>
struct ExpConstants<double> {
  using Bits = std::uint64_t;
  static constexpr double kLeast = -708.3964185322641;  // ln 2^-1022
  static constexpr double kLog2E = 1.4426950408889634;
  static constexpr double kLn2High = 0x1.62e42feep-1, kLn2Low = 0x1.a39ef35793c76p-33;
  static constexpr int kMantissa = 52, kExponentBias = 1023;
  /// The Taylor series to r^13: the first omitted term is below 2^-57.
  static constexpr double kSeries[] = {
      1 / 6227020800.0, 1 / 479001600.0, 1 / 39916800.0, 1 / 3628800.0, 1 / 362880.0, 1 / 40320.0,
      1 / 5040.0,       1 / 720.0,       1 / 120.0,      1 / 24.0,      1 / 6.0,      0.5};
};

template <class A>
GRAPE_INLINE A exp_weight(A x) {
  using C = ExpConstants<A>;
  const bool below = x < C::kLeast;
  x = below ? C::kLeast : x;
  const A turns = x * C::kLog2E;
  const auto n = x == x ? static_cast<std::int32_t>(turns + (turns < 0 ? A(-0.5) : A(0.5))) : 0;
  const A whole = static_cast<A>(n);
  const A r = (x - whole * C::kLn2High) - whole * C::kLn2Low;
  A series = C::kSeries[0];
  for (std::size_t i = 1; i < std::size(C::kSeries); ++i) series = series * r + C::kSeries[i];
  const auto power =
      std::bit_cast<A>(static_cast<typename C::Bits>(n + C::kExponentBias) << C::kMantissa);
  return below ? A(0) : ((series * r) * r + r + A(1)) * power;
}

#if GRAPE_VECTORS
template <class A, int W>
GRAPE_INLINE Vector<A, W> exp_weights(Vector<A, W> x) {
  using C = ExpConstants<A>;
  using V = Vector<A, W>;
  using Bits = Vector<typename C::Bits, W>;
  const V zero = V{}, least = zero + C::kLeast;
  const auto below = x < least;
  x = below ? least : x;
  const V turns = x * C::kLog2E;
  const V half = turns < zero ? zero - A(0.5) : zero + A(0.5);
  // 32-bit integers for double too: only those convert in one instruction everywhere.
  const auto n = __builtin_convertvector(V(turns + half), Vector<std::int32_t, W>);
  const V whole = __builtin_convertvector(n, V);
  const V r = (x - whole * C::kLn2High) - whole * C::kLn2Low;
  V series = zero + C::kSeries[0];
  for (std::size_t i = 1; i < std::size(C::kSeries); ++i) series = series * r + C::kSeries[i];
  const Bits exponent = __builtin_convertvector(n + C::kExponentBias, Bits) << C::kMantissa;
  const V power = reinterpret_cast<V>(exponent);
  return below ? zero : V((series * r * r + r + A(1)) * power);
}
#endif

}  // namespace GRAPE_ISA
}  // namespace detail
}  // namespace grape::inline v0
