// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <Eigen/Core>
#include <bit>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "grape/core/config.hpp"
#include "grape/core/detail/vector.hpp"
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

#if GRAPE_VECTORS
/// W elements from memory of any alignment, widened to the accumulation scalar.
template <int W, class T>
GRAPE_INLINE Vector<accumulation_t<T>, W> load_vector(const T* from) {
  Vector<accumulation_t<T>, W> out;
  if constexpr (std::same_as<T, Eigen::bfloat16>) {
    Vector<std::uint16_t, W> bits;
    std::memcpy(&bits, from, sizeof bits);
    const auto wide = __builtin_convertvector(bits, Vector<std::uint32_t, W>) << 16;
    std::memcpy(&out, &wide, sizeof out);
  } else if constexpr (std::same_as<T, Eigen::half>) {
#if defined(__AVX512F__)
    if constexpr (W == 16) {
      __m256i bits;
      std::memcpy(&bits, from, sizeof bits);
      return reinterpret_cast<Vector<float, W>>(_mm512_maskz_cvtph_ps(0xffff, bits));
    }
#endif
#if defined(__F16C__)
    if constexpr (W == 8) {
      __m128i bits;
      std::memcpy(&bits, from, sizeof bits);
      return reinterpret_cast<Vector<float, W>>(_mm256_cvtph_ps(bits));
    }
#endif
    for (int i = 0; i < W; ++i) out[i] = static_cast<float>(from[i]);
  } else {
    out = load_elements<W>(from);
  }
  return out;
}

/// The bits of x, which is not NaN, rounded to bfloat16 in the upper half of each lane; the lower
/// half is left over.
template <int W>
GRAPE_INLINE Vector<std::uint32_t, W> round_number_to_upper(Vector<float, W> x) {
  const auto bits = reinterpret_cast<Vector<std::uint32_t, W>>(x);
  return bits + (((bits >> 16) & 1u) + 0x7fffu);
}

/// The same for any x; NaN stays NaN.
template <int W>
GRAPE_INLINE Vector<std::uint32_t, W> round_to_upper(Vector<float, W> x) {
  using Bits = Vector<std::uint32_t, W>;
  const Bits bits = reinterpret_cast<Bits>(x);
  return (bits << 1) > 0xff000000u ? Bits(bits | 0x400000u) : round_number_to_upper<W>(x);
}

/// W elements to memory, rounded to nearest, ties to even; NaN stays NaN.
template <int W, class T>
GRAPE_INLINE void store_vector(Vector<accumulation_t<T>, W> x, T* to) {
  if constexpr (std::same_as<T, Eigen::bfloat16>) {
    const Vector<std::uint16_t, W> narrow =
        __builtin_convertvector(round_to_upper<W>(x) >> 16, Vector<std::uint16_t, W>);
    std::memcpy(static_cast<void*>(to), &narrow, sizeof narrow);
  } else if constexpr (std::same_as<T, Eigen::half>) {
#if defined(__AVX512F__)
    if constexpr (W == 16) {
      const __m256i bits =
          _mm512_maskz_cvtps_ph(0xffff, reinterpret_cast<__m512>(x), _MM_FROUND_TO_NEAREST_INT);
      std::memcpy(static_cast<void*>(to), &bits, sizeof bits);
      return;
    }
#endif
#if defined(__F16C__)
    if constexpr (W == 8) {
      const __m128i bits = _mm256_cvtps_ph(reinterpret_cast<__m256>(x), _MM_FROUND_TO_NEAREST_INT);
      std::memcpy(static_cast<void*>(to), &bits, sizeof bits);
      return;
    }
#endif
    for (int i = 0; i < W; ++i) to[i] = static_cast<Eigen::half>(x[i]);
  } else {
    store_elements<W>(x, to);
  }
}

/// 2 W bfloat16 as two registers of every other element: a 32-bit lane holds a pair, so that
/// neither widening nor rounding needs a shuffle.
template <int W>
struct EvenOdd {
  Vector<float, W> even, odd;
};

template <int W>
GRAPE_INLINE EvenOdd<W> load_even_odd(const Eigen::bfloat16* from) {
  using Bits = Vector<std::uint32_t, W>;
  Bits pairs;
  std::memcpy(&pairs, from, sizeof pairs);
  return {reinterpret_cast<Vector<float, W>>(Bits(pairs << 16)),
          reinterpret_cast<Vector<float, W>>(Bits(pairs & 0xffff0000u))};
}

#if defined(__AVX512BF16__) && defined(__AVX512BW__)
/// Words 0, 16, 1, 17, ..: the first halves' with the second halves' between them.
inline constexpr Vector<std::uint16_t, 32> kZipWords = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                        21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                        11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
#endif

template <int W>
GRAPE_INLINE void store_even_odd(const EvenOdd<W>& x, Eigen::bfloat16* to) {
#if defined(__AVX512BF16__) && defined(__AVX512BW__)
  // The instruction rounds as we do, but for subnormal numbers, which it takes for 0: they are
  // rare.
  if constexpr (W == 16) {
    constexpr int kSubnormal = 0x20;
    const auto low = reinterpret_cast<__m512>(x.even), high = reinterpret_cast<__m512>(x.odd);
    const unsigned subnormal = static_cast<unsigned>(_mm512_fpclass_ps_mask(low, kSubnormal)) |
                               static_cast<unsigned>(_mm512_fpclass_ps_mask(high, kSubnormal));
    if (subnormal == 0) [[likely]] {
      const auto halves = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
      const __m512i zip = reinterpret_cast<__m512i>(kZipWords);
      _mm512_storeu_si512(to, _mm512_permutexvar_epi16(zip, halves));
      return;
    }
  }
#endif
  using Bits = Vector<std::uint32_t, W>;
  Bits even, odd;
#if defined(__AVX512F__)
  if constexpr (W == 16) {  // NaN is rare: one comparison looks for it in both registers
    const auto nan = _mm512_cmp_ps_mask(reinterpret_cast<__m512>(x.even),
                                        reinterpret_cast<__m512>(x.odd), _CMP_UNORD_Q);
    if (nan == 0) [[likely]] {
      even = round_number_to_upper<W>(x.even);
      odd = round_number_to_upper<W>(x.odd);
    } else {
      even = round_to_upper<W>(x.even);
      odd = round_to_upper<W>(x.odd);
    }
  } else
#endif
  {
    even = round_to_upper<W>(x.even);
    odd = round_to_upper<W>(x.odd);
  }
  const Bits pairs = (even >> 16) | (odd & 0xffff0000u);
  std::memcpy(static_cast<void*>(to), &pairs, sizeof pairs);
}
#endif  // GRAPE_VECTORS

/// to[i] = from[i * stride], widened.
template <class T>
GRAPE_INLINE void load(const T* GRAPE_RESTRICT from, Index stride, Index count,
                       accumulation_t<T>* GRAPE_RESTRICT to) {
  Index i = 0;
#if GRAPE_VECTORS
  constexpr int W = kVectorWidth<accumulation_t<T>>;
  if (stride == 1) {
    for (; i + W <= count; i += W) store_vector<W>(load_vector<W>(from + i), to + i);
  }
#endif
  for (; i < count; ++i) to[i] = widen(from[i * stride]);
}

/// to[i * stride] = from[i], narrowed.
template <class T>
GRAPE_INLINE void store(const accumulation_t<T>* GRAPE_RESTRICT from, Index stride, Index count,
                        T* GRAPE_RESTRICT to) {
  Index i = 0;
#if GRAPE_VECTORS
  constexpr int W = kVectorWidth<accumulation_t<T>>;
  if (stride == 1) {
    for (; i + W <= count; i += W) store_vector<W>(load_vector<W>(from + i), to + i);
  }
#endif
  for (; i < count; ++i) to[i * stride] = narrow<T>(from[i]);
}

}  // namespace GRAPE_ISA
}  // namespace detail
}  // namespace grape::inline v0
