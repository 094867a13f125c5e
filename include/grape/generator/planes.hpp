// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>

#include "grape/generator/generator.hpp"
#include "grape/math/sincos.hpp"

namespace grape::inline v0 {
namespace detail {

/// The planes that a skew generator turns, on coordinates or in a frame: their spectrum, turns()
/// and kPairing. That is the generator itself (CanonicalPlanes), or what its plane_frame() gives.
template <class G>
decltype(auto) planes_of(const G& generator) {
  if constexpr (requires { generator.plane_frame(); }) {
    return generator.plane_frame();
  } else {
    return (generator);
  }
}

/// A skew generator whose planes and frequencies can be had.
template <class G>
concept PlaneGenerator = Generator<G> && std::same_as<typename G::Kind, SkewGenerator> &&
    requires(const G& g) {
  { planes_of(g).turns() } -> std::convertible_to<const TurnList&>;
};

}  // namespace detail
}  // namespace grape::inline v0
