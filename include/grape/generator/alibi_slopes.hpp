// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <vector>

#include "grape/core/error.hpp"
#include "grape/core/scalar.hpp"

namespace grape::inline v0 {

/// ALiBi's slopes, one a head, each > 0: 2^(-8h/H), h = 1..H, where H is a power of two; for other
/// H the slopes of the power of two n below it, followed by every other slope of 2n heads (Press et
/// al., the published recipe). Throws ArgumentError if heads < 1.
inline std::vector<double> alibi_slopes(Index heads) {
  if (heads < 1) detail::fail("heads", detail::text(heads), "a value >= 1");
  Index power = 1;
  while (power <= heads / 2) power *= 2;
  std::vector<double> slopes;
  slopes.reserve(static_cast<std::size_t>(heads));
  for (Index h = 1; h <= power; ++h) {
    slopes.push_back(std::exp2(-8.0 * static_cast<double>(h) / static_cast<double>(power)));
  }
  for (Index h = 1; h <= heads - power; ++h) {
    slopes.push_back(
        std::exp2(-8.0 * static_cast<double>(2 * h - 1) / static_cast<double>(2 * power)));
  }
  return slopes;
}

}  // namespace grape::inline v0
