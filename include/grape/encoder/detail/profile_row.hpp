// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <Eigen/Core>
#include <cmath>

#include "grape/core/scalar.hpp"
#include "grape/generator/angle_profile.hpp"

namespace grape::inline v0 {
namespace detail {

/// The angle of plane m of a geometric spectrum as ggml has it: n, multiplied m times by the ratio,
/// and last by the first frequency (its freq_scale).
inline float recurrent_angle(const Spectrum& spectrum, Index set, Index m, float n) {
  const auto first = static_cast<float>(spectrum(set, 0));
  if (m == 0) return first * n;
  const auto ratio = static_cast<float>(spectrum(set, 1) / spectrum(set, 0));
  float angle = n;
  for (Index i = 0; i < m; ++i) angle *= ratio;
  return first * angle;
}

/// factor * cos and sin of a row of planes, rounded as the profile (not exact) says; position(m) is
/// what plane m turns by. Speed does not matter here: the profile is for comparison with others.
template <class A, class Position>
void profile_row(AngleProfile profile, const Spectrum& spectrum, Index set, Index count,
                 const Position& position, A* cos_out, A* sin_out) {
  const auto factor = static_cast<float>(spectrum.attention_factor());
  const auto rounded = [profile](float x) {
    return static_cast<A>(profile == AngleProfile::bfloat16_tables
                              ? static_cast<float>(static_cast<Eigen::bfloat16>(x))
                              : x);
  };
  for (Index m = 0; m < count; ++m) {
    const auto n = static_cast<float>(position(m));
    const float angle = profile == AngleProfile::float32_recurrence
                            ? recurrent_angle(spectrum, set, m, n)
                            : static_cast<float>(spectrum(set, m)) * n;
    cos_out[m] = rounded(std::cos(angle) * factor);
    sin_out[m] = rounded(std::sin(angle) * factor);
  }
}

}  // namespace detail
}  // namespace grape::inline v0
