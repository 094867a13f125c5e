// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstdint>
#include <cstring>

#include "grape/core/config.hpp"
#include "grape/core/detail/vector.hpp"
#include "grape/core/scalar.hpp"
#include "grape/math/gates.hpp"

namespace grape::inline v0 {
namespace detail {
inline namespace GRAPE_ISA {

// x[i] = log_sigmoid(x[i]) and d[i] = log_sigmoid_derivative(x[i]) for a row, as math/gates.hpp
// defines them: with u = e^-|x|,
//   log sigmoid(x) = min(x, 0) - log(1 + u),   its derivative = (x < 0 ? 1 : u) / (1 + u).
// A float is within 4 ulp of the exact value for any x; double takes the library's exp and log1p.

#if GRAPE_VECTORS
/// e^y for y <= 0, within 2 ulp; 0 below -104, NaN for NaN.
template <int W>
GRAPE_INLINE Vector<float, W> exp_negative(Vector<float, W> y) {
  using V = Vector<float, W>;
  using Whole = Vector<std::int32_t, W>;
  // y = n log 2 + r, |r| <= log(2) / 2; log 2 in two parts, the first of 9 bits, so that n times it
  // is exact.
  y = y < -150.0F ? V{} - 150.0F : y;
  const Whole n = __builtin_convertvector(y * 1.44269504F - 0.5F, Whole);
  const V whole = __builtin_convertvector(n, V);
  const V r = (y - whole * 0.693359375F) + whole * 2.12194440e-4F;
  // Taylor's series: the first term left out is r^8 / 8! < 2^-27.
  V p = r * (1.0F / 5040) + 1.0F / 720;
  p = p * r + 1.0F / 120;
  p = p * r + 1.0F / 24;
  p = p * r + 1.0F / 6;
  p = p * r + 0.5F;
  p = p * (r * r) + r + 1.0F;
  // 2^n in two steps, each a normal number, so that what is tiny underflows by degrees.
  const Whole half = n >> 1;
  const Whole first = (half + 127) << 23, second = (n - half + 127) << 23;
  return (p * reinterpret_cast<V>(first)) * reinterpret_cast<V>(second);
}

/// log(1 + u) for 0 <= u <= 1, within 2 ulp: 2 artanh(w / 2), w = 2 u / (2 + u) <= 2/3.
template <int W>
GRAPE_INLINE Vector<float, W> log1p_unit(Vector<float, W> u) {
  using V = Vector<float, W>;
  const V w = u / (1.0F + 0.5F * u);
  const V z = (0.25F * w) * w;  // <= 1/9
  // artanh(s) / s = sum of s^2k / (2k + 1): the first term left out is 9^-8 / 17 < 2^-29.
  V p = z * (1.0F / 15) + 1.0F / 13;
  p = p * z + 1.0F / 11;
  p = p * z + 1.0F / 9;
  p = p * z + 1.0F / 7;
  p = p * z + 1.0F / 5;
  p = p * z + 1.0F / 3;
  return w + w * (z * p);
}

/// log sigmoid of a register, and its derivative.
template <int W>
GRAPE_INLINE Vector<float, W> log_sigmoid_vector(Vector<float, W> x) {
  using V = Vector<float, W>;
  const V below = x > 0 ? V{} : x;  // min(x, 0), and NaN for NaN
  return below - log1p_unit<W>(exp_negative<W>(x > 0 ? -x : x));
}
template <int W>
GRAPE_INLINE Vector<float, W> log_sigmoid_derivative_vector(Vector<float, W> x) {
  using V = Vector<float, W>;
  const V u = exp_negative<W>(x > 0 ? -x : x);
  return (x > 0 ? u : V{} + 1.0F) / (1.0F + u);
}
#endif

template <class A>
void log_sigmoid_row(A* x, Index count) {
  Index i = 0;
#if GRAPE_VECTORS
  if constexpr (std::same_as<A, float>) {
    constexpr int W = kVectorWidth<float>;
    for (const Index whole = count / W * W; i < whole; i += W) {
      store_elements<W>(log_sigmoid_vector<W>(load_elements<W>(x + i)), x + i);
    }
  }
#endif
  for (; i < count; ++i) x[i] = log_sigmoid(x[i]);
}

template <class A>
void log_sigmoid_derivative_row(const A* x, Index count, A* d) {
  Index i = 0;
#if GRAPE_VECTORS
  if constexpr (std::same_as<A, float>) {
    constexpr int W = kVectorWidth<float>;
    for (const Index whole = count / W * W; i < whole; i += W) {
      store_elements<W>(log_sigmoid_derivative_vector<W>(load_elements<W>(x + i)), d + i);
    }
  }
#endif
  for (; i < count; ++i) d[i] = log_sigmoid_derivative(x[i]);
}

}  // namespace GRAPE_ISA
}  // namespace detail
}  // namespace grape::inline v0
