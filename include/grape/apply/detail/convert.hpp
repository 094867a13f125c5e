// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <Eigen/Core>
#include <bit>
#include <concepts>
#include <cstdint>
#include <type_traits>

#include "grape/core/config.hpp"
#include "grape/core/scalar.hpp"

#if defined(__F16C__)
#include <immintrin.h>
#endif

namespace grape::inline v0 {
namespace detail {
inline namespace GRAPE_ISA {

// Elements to and from the accumulation scalar. Narrowing rounds to nearest, ties to even, and
// keeps NaN, as Eigen's casts do; the loops below are those casts written so that they become
// vectors.

GRAPE_INLINE float widen(Eigen::bfloat16 x) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(std::bit_cast<std::uint16_t>(x)) << 16);
}
GRAPE_INLINE float widen(Eigen::half x) { return static_cast<float>(x); }
GRAPE_INLINE float widen(float x) { return x; }
GRAPE_INLINE double widen(double x) { return x; }

template <class T>
GRAPE_INLINE T narrow(accumulation_t<T> x) {
  if constexpr (std::same_as<T, Eigen::bfloat16>) {
    const auto bits = std::bit_cast<std::uint32_t>(x);
    const std::uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    const std::uint32_t quiet = (bits >> 16) | 0x40u;
    const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
    return std::bit_cast<Eigen::bfloat16>(static_cast<std::uint16_t>(nan ? quiet : rounded));
  } else {
    return static_cast<T>(x);
  }
}

/// to[i] = from[i * stride], widened.
template <class T>
GRAPE_INLINE void load(const T* GRAPE_RESTRICT from, Index stride, Index count,
                       accumulation_t<T>* GRAPE_RESTRICT to) {
  Index i = 0;
  if (stride == 1) {
#if defined(__F16C__)
    if constexpr (std::same_as<T, Eigen::half>) {
#if defined(__AVX512F__)
      for (; i + 16 <= count; i += 16) {
        const __m256i packed = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + i));
        _mm512_storeu_ps(to + i, _mm512_cvtph_ps(packed));
      }
#endif
      for (; i + 8 <= count; i += 8) {
        const __m128i packed = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i));
        _mm256_storeu_ps(to + i, _mm256_cvtph_ps(packed));
      }
    }
#endif
    for (; i < count; ++i) to[i] = widen(from[i]);
  } else {
    for (; i < count; ++i) to[i] = widen(from[i * stride]);
  }
}

/// to[i * stride] = from[i], narrowed.
template <class T>
GRAPE_INLINE void store(const accumulation_t<T>* GRAPE_RESTRICT from, Index stride, Index count,
                        T* GRAPE_RESTRICT to) {
  Index i = 0;
  if (stride == 1) {
#if defined(__F16C__)
    if constexpr (std::same_as<T, Eigen::half>) {
#if defined(__AVX512F__)
      for (; i + 16 <= count; i += 16) {
        const __m256i packed =
            _mm512_cvtps_ph(_mm512_loadu_ps(from + i), _MM_FROUND_TO_NEAREST_INT);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i), packed);
      }
#endif
      for (; i + 8 <= count; i += 8) {
        const __m128i packed =
            _mm256_cvtps_ph(_mm256_loadu_ps(from + i), _MM_FROUND_TO_NEAREST_INT);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i), packed);
      }
    }
#endif
    for (; i < count; ++i) to[i] = narrow<T>(from[i]);
  } else {
    for (; i < count; ++i) to[i * stride] = narrow<T>(from[i]);
  }
}

}  // namespace GRAPE_ISA
}  // namespace detail
}  // namespace grape::inline v0
