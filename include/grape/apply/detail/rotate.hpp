// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstddef>

#include "grape/apply/detail/convert.hpp"
#include "grape/core/config.hpp"
#include "grape/core/detail/vector.hpp"
#include "grape/core/pairing.hpp"
#include "grape/core/scalar.hpp"

namespace grape::inline v0 {
namespace detail {
inline namespace GRAPE_ISA {

// The rotation of one plane (RoFormer eq. 34): [y0; y1] = [[c, -s], [s, c]] [x0; x1]. The inverse
// has -s. First what is meant, one plane at a time and for any stride, then the same a register at
// a time.

template <Pairing pairing, bool inverse, class T, class A = accumulation_t<T>>
GRAPE_INLINE void rotate_planes(T* x, Index stride, const A* c, const A* s, Index begin, Index end,
                                Index planes) {
  for (Index m = begin; m < end; ++m) {
    const PlaneCoordinates at = plane_coordinates(pairing, m, planes);
    const A x0 = widen(x[at.first * stride]), x1 = widen(x[at.second * stride]);
    const A sine = inverse ? -s[m] : s[m];
    x[at.first * stride] = narrow<T>(x0 * c[m] - x1 * sine);
    x[at.second * stride] = narrow<T>(x0 * sine + x1 * c[m]);
  }
}

#if GRAPE_VECTORS
/// Planes [m, m + R W) of `count` heads that share a row: cosines and sines stay in registers.
template <int W, int R, Pairing pairing, bool inverse, class T, class A = accumulation_t<T>>
GRAPE_INLINE void rotate_block(T* x, Index step, const A* c, const A* s, Index m, Index planes,
                               Index count) {
  using V = Vector<A, W>;
  constexpr auto kIndices = std::make_integer_sequence<int, W>{};
  constexpr auto kVectors = static_cast<std::size_t>(R);
  V cosine[kVectors], sine[kVectors];
  for (int r = 0; r < R; ++r) {
    cosine[r] = load_elements<W>(c + m + r * W);
    sine[r] = inverse ? -load_elements<W>(s + m + r * W) : load_elements<W>(s + m + r * W);
  }
  if constexpr (std::same_as<T, Eigen::bfloat16> && pairing == Pairing::interleaved) {
    for (Index i = 0; i < count; ++i, x += step) {
      for (int r = 0; r < R; ++r) {
        const Index at = 2 * (m + r * W);
        const EvenOdd<W> v = load_even_odd<W>(x + at);
        store_even_odd<W>(
            {v.even * cosine[r] - v.odd * sine[r], v.even * sine[r] + v.odd * cosine[r]}, x + at);
      }
    }
  } else if constexpr (std::same_as<T, Eigen::bfloat16> && R % 2 == 0) {
    for (int r = 0; r < R; r += 2) {  // even planes, then odd ones
      const V c0 = cosine[r], c1 = cosine[r + 1], s0 = sine[r], s1 = sine[r + 1];
      cosine[r] = even_elements(c0, c1, kIndices);
      cosine[r + 1] = odd_elements(c0, c1, kIndices);
      sine[r] = even_elements(s0, s1, kIndices);
      sine[r + 1] = odd_elements(s0, s1, kIndices);
    }
    for (Index i = 0; i < count; ++i, x += step) {
      for (int r = 0; r < R; r += 2) {
        const Index at = m + r * W;
        const EvenOdd<W> x0 = load_even_odd<W>(x + at), x1 = load_even_odd<W>(x + at + planes);
        store_even_odd<W>({x0.even * cosine[r] - x1.even * sine[r],
                           x0.odd * cosine[r + 1] - x1.odd * sine[r + 1]},
                          x + at);
        store_even_odd<W>({x0.even * sine[r] + x1.even * cosine[r],
                           x0.odd * sine[r + 1] + x1.odd * cosine[r + 1]},
                          x + at + planes);
      }
    }
  } else if constexpr (pairing == Pairing::half_split) {
    for (Index i = 0; i < count; ++i, x += step) {
      for (int r = 0; r < R; ++r) {
        const Index at = m + r * W;
        const V x0 = load_vector<W>(x + at), x1 = load_vector<W>(x + at + planes);
        store_vector<W>(V(x0 * cosine[r] - x1 * sine[r]), x + at);
        store_vector<W>(V(x0 * sine[r] + x1 * cosine[r]), x + at + planes);
      }
    }
  } else {
    // [y0 y1 ..] = [x0 x1 ..] [c0 c0 ..] + [x1 x0 ..] [-s0 s0 ..]: one shuffle a register.
    V twice[2 * kVectors], crossed[2 * kVectors];
    for (int r = 0; r < R; ++r) {
      twice[2 * r] = zip_low(cosine[r], cosine[r], kIndices);
      twice[2 * r + 1] = zip_high(cosine[r], cosine[r], kIndices);
      crossed[2 * r] = zip_low(V(-sine[r]), sine[r], kIndices);
      crossed[2 * r + 1] = zip_high(V(-sine[r]), sine[r], kIndices);
    }
    for (Index i = 0; i < count; ++i, x += step) {
      for (int r = 0; r < 2 * R; ++r) {
        const Index at = 2 * m + r * W;
        const V pairs = load_vector<W>(x + at);
        store_vector<W>(V(pairs * twice[r] + swap_pairs(pairs, kIndices) * crossed[r]), x + at);
      }
    }
  }
}

/// Registers of cosines that a block keeps: as many as hold a head of 128 in the widest instruction
/// set, and no more than there are.
template <Pairing pairing>
inline constexpr int kBlockRegisters =
    pairing == Pairing::half_split || GRAPE_VECTOR_BYTES == 64 ? 4 : 2;

/// Planes [m, end) of `count` dense heads that share a row, but for a rest of fewer than 4; returns
/// its start.
template <int W, Pairing pairing, bool inverse, class T, class A = accumulation_t<T>>
GRAPE_INLINE Index rotate_shared(T* x, Index step, const A* c, const A* s, Index m, Index end,
                                 Index planes, Index count) {
  constexpr int R = kBlockRegisters<pairing>;
  if constexpr (W == kVectorWidth<A>) {
    for (; m + R * W <= end; m += R * W) {
      rotate_block<W, R, pairing, inverse>(x, step, c, s, m, planes, count);
    }
  }
  for (; m + W <= end; m += W) {
    rotate_block<W, 1, pairing, inverse>(x, step, c, s, m, planes, count);
  }
  if constexpr (W > 4) {
    if (m < end) {
      return rotate_shared<W / 2, pairing, inverse>(x, step, c, s, m, end, planes, count);
    }
  }
  return m;
}

/// Planes [m, end) of one dense head, but for a rest of fewer than 4; returns its start.
template <int W, Pairing pairing, bool inverse, class T, class A = accumulation_t<T>>
GRAPE_INLINE Index rotate_single(T* x, const A* c, const A* s, Index m, Index end, Index planes) {
  using V = Vector<A, W>;
  if constexpr (pairing == Pairing::half_split || std::same_as<T, Eigen::bfloat16>) {
    if constexpr (std::same_as<T, Eigen::bfloat16>) {
      for (; m + 2 * W <= end; m += 2 * W) {
        rotate_block<W, 2, pairing, inverse>(x, 0, c, s, m, planes, 1);
      }
    }
    for (; m + W <= end; m += W) {
      rotate_block<W, 1, pairing, inverse>(x, 0, c, s, m, planes, 1);
    }
  } else {
    // A row for one head is not worth doubling: take the pairs apart instead.
    constexpr auto kIndices = std::make_integer_sequence<int, W>{};
    for (; m + W <= end; m += W) {
      const V cosine = load_elements<W>(c + m);
      const V sine = inverse ? -load_elements<W>(s + m) : load_elements<W>(s + m);
      const V low = load_vector<W>(x + 2 * m), high = load_vector<W>(x + 2 * m + W);
      const V x0 = even_elements(low, high, kIndices), x1 = odd_elements(low, high, kIndices);
      const V y0 = x0 * cosine - x1 * sine, y1 = x0 * sine + x1 * cosine;
      store_vector<W>(zip_low(y0, y1, kIndices), x + 2 * m);
      store_vector<W>(zip_high(y0, y1, kIndices), x + 2 * m + W);
    }
  }
  if constexpr (W > 4) {
    if (m < end) return rotate_single<W / 2, pairing, inverse>(x, c, s, m, end, planes);
  }
  return m;
}
#endif  // GRAPE_VECTORS

/// A tile: `tokens` tokens of `heads` heads, and a row [cos | sin] of `turning` planes for each
/// token.
template <class T>
struct RotationTile {
  T* x;  ///< the first rotated coordinate of the first token and head
  Index token_step, head_step, stride;
  const accumulation_t<T>* rows;
  Index row_step;
  Index tokens, heads;
  Index turning;  ///< planes to turn, the first ones
  Index planes;   ///< M: half_split pairs m with m + M
};

/// Whether the heads of a token are nearer to each other in memory than the tokens of a head.
template <class T>
GRAPE_INLINE bool lies_along_heads(const RotationTile<T>& tile) {
  return tile.heads > 1 && tile.head_step <= tile.token_step;
}

#if GRAPE_VECTORS
/// Tokens of whole heads of 2 R registers. The tile comes by value: for all that the compiler
/// knows, a store into x changes what another holds for the next token.
template <int W, int R, Pairing pairing, bool inverse, class T>
GRAPE_INLINE void rotate_tokens(RotationTile<T> tile, Index head_step) {
  for (; tile.tokens > 0; --tile.tokens, tile.x += tile.token_step, tile.rows += tile.row_step) {
    rotate_block<W, R, pairing, inverse>(tile.x, head_step, tile.rows, tile.rows + R * W, 0, R * W,
                                         tile.heads);
  }
}

/// Heads that R registers cover exactly, all of them rotated: the usual case, with every offset
/// known to the compiler. Returns whether the tile was of this kind.
template <int R, Pairing pairing, bool inverse, class T>
GRAPE_INLINE bool rotate_whole_heads(const RotationTile<T>& tile) {
  constexpr int W = kVectorWidth<accumulation_t<T>>;
  constexpr Index kPlanes = R * W;
  if (tile.turning != kPlanes || tile.planes != kPlanes) return false;
  // Heads side by side: the step is a constant, too.
  tile.head_step == 2 * kPlanes ? rotate_tokens<W, R, pairing, inverse>(tile, 2 * kPlanes)
                                : rotate_tokens<W, R, pairing, inverse>(tile, tile.head_step);
  return true;
}
#endif

/// Rotates a tile of any kind in place.
template <Pairing pairing, bool inverse, class T>
void rotate_heads(const RotationTile<T>& tile) {
  using A = accumulation_t<T>;
  const Index turning = tile.turning, planes = tile.planes;
  const bool dense = GRAPE_VECTORS && tile.stride == 1;
  const bool along_heads = lies_along_heads(tile);
  const Index outer = along_heads ? tile.tokens : tile.heads;
  const Index inner = along_heads ? tile.heads : tile.tokens;
  const Index outer_step = along_heads ? tile.token_step : tile.head_step;
  const Index inner_step = along_heads ? tile.head_step : tile.token_step;
  for (Index i = 0; i < outer; ++i) {
    T* x = tile.x + i * outer_step;
    const A* c = tile.rows + (along_heads ? i * tile.row_step : 0);
    Index done = 0;
#if GRAPE_VECTORS
    if (dense && along_heads) {
      done = rotate_shared<kVectorWidth<A>, pairing, inverse>(x, inner_step, c, c + turning, 0,
                                                              turning, planes, inner);
    }
#endif
    if (along_heads && done == turning) continue;
    for (Index j = 0; j < inner; ++j, x += inner_step) {
      Index begin = done;
#if GRAPE_VECTORS
      if (dense && !along_heads) {
        begin =
            rotate_single<kVectorWidth<A>, pairing, inverse>(x, c, c + turning, 0, turning, planes);
      }
#endif
      rotate_planes<pairing, inverse>(x, tile.stride, c, c + turning, begin, turning, planes);
      if (!along_heads) c += tile.row_step;
    }
  }
}

/// Rotates a tile in place.
template <Pairing pairing, bool inverse, class T>
void rotate_rows(const RotationTile<T>& tile) {
#if GRAPE_VECTORS
  if (tile.stride == 1 && lies_along_heads(tile) &&
      (rotate_whole_heads<kBlockRegisters<pairing>, pairing, inverse>(tile) ||
       rotate_whole_heads<kBlockRegisters<pairing> / 2, pairing, inverse>(tile))) {
    return;
  }
#endif
  rotate_heads<pairing, inverse>(tile);
}

}  // namespace GRAPE_ISA
}  // namespace detail
}  // namespace grape::inline v0
