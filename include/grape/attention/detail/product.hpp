// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include "grape/core/config.hpp"
#include "grape/core/detail/vector.hpp"
#include "grape/core/scalar.hpp"

namespace grape::inline v0 {
namespace detail {
inline namespace GRAPE_ISA {

/// What a product starts from: nothing, what C holds, or row r of C times factor[r].
enum class Start { zero, add, scaled };

/// A row-major matrix, or its transpose: entry (r, k) is data[r * row + k * column].
template <class A>
struct Factor {
  const A* data;
  Index row, column;
};

/// The columns of packed matrices are a multiple of this many: whole registers of any instruction
/// set, so that packed memory looks the same to code compiled for another one.
template <class A>
inline constexpr Index kLane = 64 / static_cast<Index>(sizeof(A));

template <class A>
constexpr Index round_to_lanes(Index n) {
  return (n + kLane<A> - 1) / kLane<A> * kLane<A>;
}

/// C [rows, columns] = start + a [rows, depth] b [depth, columns]: what multiply() below means.
template <Start start, class A>
void multiply_reference(Factor<A> a, const A* b, Index b_step, A* c, Index c_step, Index rows,
                        Index depth, Index columns, const A* factor = nullptr) {
  for (Index r = 0; r < rows; ++r) {
    for (Index n = 0; n < columns; ++n) {
      A sum = start == Start::zero ? A(0) : c[r * c_step + n];
      if constexpr (start == Start::scaled) sum *= factor[r];
      for (Index k = 0; k < depth; ++k) sum += a.data[r * a.row + k * a.column] * b[k * b_step + n];
      c[r * c_step + n] = sum;
    }
  }
}

#if GRAPE_VECTORS
/// R rows and N registers of columns: R * N sums stay in registers over the whole depth.
template <Start start, int R, int N, class A>
GRAPE_INLINE void multiply_block(Factor<A> a, const A* GRAPE_RESTRICT b, Index b_step,
                                 A* GRAPE_RESTRICT c, Index c_step, Index depth, const A* factor,
                                 const A* ahead) {
  constexpr int W = kVectorWidth<A>;
  using V = Vector<A, W>;
  constexpr auto kRows = static_cast<std::size_t>(R), kRegisters = static_cast<std::size_t>(N);
  V sum[kRows][kRegisters];
  for (int r = 0; r < R; ++r) {
    for (int n = 0; n < N; ++n) {
      sum[r][n] = start == Start::zero ? V{} : load_elements<W>(c + r * c_step + n * W);
      if constexpr (start == Start::scaled) sum[r][n] *= factor[r];
    }
  }
  const A* left[kRows];
  for (int r = 0; r < R; ++r) left[r] = a.data + r * a.row;
  for (Index k = 0; k < depth; ++k, b += b_step) {
    if constexpr (R == 1) {  // more rows have enough to do with a line of b
      if (ahead != nullptr) {
        for (int n = 0; n < N; ++n) __builtin_prefetch(ahead + k * b_step + n * W);
      }
    }
    V right[kRegisters];
    for (int n = 0; n < N; ++n) right[n] = load_elements<W>(b + n * W);
    for (int r = 0; r < R; ++r) {
      const A x = *left[r];
      left[r] += a.column;
      for (int n = 0; n < N; ++n) sum[r][n] += right[n] * x;
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int n = 0; n < N; ++n) store_elements<W>(sum[r][n], c + r * c_step + n * W);
  }
}

/// Registers of columns and rows of a block: with 16 registers 4 x 2 sums, with 32 twice as many.
inline constexpr int kBlockRows = 4;
inline constexpr int kBlockLanes = GRAPE_VECTOR_BYTES == 64 ? 4 : 2;

template <Start start, int N, class A>
GRAPE_INLINE void multiply_panel(Factor<A> a, const A* b, Index b_step, A* c, Index c_step,
                                 Index rows, Index depth, const A* factor, const A* ahead) {
  constexpr int R = kBlockRows;
  Index r = 0;
  for (; r + R <= rows; r += R, a.data += R * a.row, c += R * c_step) {
    multiply_block<start, R, N>(a, b, b_step, c, c_step, depth,
                                start == Start::scaled ? factor + r : nullptr, ahead);
  }
  for (; r < rows; ++r, a.data += a.row, c += c_step) {
    multiply_block<start, 1, N>(a, b, b_step, c, c_step, depth,
                                start == Start::scaled ? factor + r : nullptr, ahead);
  }
}
#endif

/// C [rows, columns] = start + a [rows, depth] b [depth, columns], with columns a multiple of
/// kLane. Every entry is summed in the order of the depth, whatever the block that it falls into.
///
/// `ahead`, if any, is the matrix of b's shape that the caller reads next: a product of a row or
/// two waits for memory alone, and so fetches its lines on the way.
template <Start start, class A>
void multiply(Factor<A> a, const A* b, Index b_step, A* c, Index c_step, Index rows, Index depth,
              Index columns, const A* factor = nullptr, [[maybe_unused]] const A* ahead = nullptr) {
#if GRAPE_VECTORS
  constexpr int W = kVectorWidth<A>, N = kBlockLanes;
  const auto column = [&](Index n) { return ahead == nullptr ? nullptr : ahead + n; };
  Index n = 0;
  for (; n + N * W <= columns; n += N * W) {
    multiply_panel<start, N>(a, b + n, b_step, c + n, c_step, rows, depth, factor, column(n));
  }
  for (; n < columns; n += W) {
    multiply_panel<start, 1>(a, b + n, b_step, c + n, c_step, rows, depth, factor, column(n));
  }
#else
  multiply_reference<start>(a, b, b_step, c, c_step, rows, depth, columns, factor);
#endif
}

}  // namespace GRAPE_ISA
}  // namespace detail
}  // namespace grape::inline v0
