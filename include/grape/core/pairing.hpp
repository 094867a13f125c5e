// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <type_traits>
#include <utility>

#include "grape/core/scalar.hpp"

namespace grape::inline v0 {

/// Which two coordinates make up rotation plane m of M:
///
///   interleaved   (2m, 2m + 1)   [c0 c0 c1 c1 ..]   RoFormer, GPT-J, the GRAPE paper
///   half_split    (m, m + M)     [c0 c1 .. c0 c1 ..] GPT-NeoX, Llama in the Hugging Face layout
///
/// The two differ by a permutation of the coordinates, so the weights of one layout run on the
/// other once their output channels are permuted.
enum class Pairing { interleaved, half_split };

/// The two coordinates of plane m of M planes, counted from the first rotated coordinate.
struct PlaneCoordinates {
  Index first;
  Index second;
};

/// Which coordinates plane m of M turns.
constexpr PlaneCoordinates plane_coordinates(Pairing pairing, Index plane, Index planes) {
  return pairing == Pairing::interleaved ? PlaneCoordinates{2 * plane, 2 * plane + 1}
                                         : PlaneCoordinates{plane, plane + planes};
}

/// Where coordinate `i` of a layout `from` stands in the layout `to`, 0 <= i < 2 * planes. To move
/// projection weights between layouts, write row i of the old matrix to row permuted_coordinate(i).
constexpr Index permuted_coordinate(Index i, Index planes, Pairing from, Pairing to) {
  if (from == to) return i;
  return from == Pairing::interleaved ? i / 2 + (i % 2) * planes
                                      : (i < planes ? 2 * i : 2 * (i - planes) + 1);
}

/// Calls f with the pairing as a std::integral_constant and returns what f does, one type for both:
/// a pairing known at run time (a checkpoint's) becomes a template argument.
///
///   visit_pairing(pairing, [&](auto p) { RoPE<float, p> rope(spectrum); .. });
template <class F>
constexpr decltype(auto) visit_pairing(Pairing pairing, F&& f) {
  if (pairing == Pairing::half_split) {
    return std::forward<F>(f)(std::integral_constant<Pairing, Pairing::half_split>{});
  }
  return std::forward<F>(f)(std::integral_constant<Pairing, Pairing::interleaved>{});
}

}  // namespace grape::inline v0
