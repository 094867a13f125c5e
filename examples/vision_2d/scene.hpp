// SPDX-License-Identifier: Apache-2.0
// What the cameras look at.
#pragma once

#include <Eigen/Core>
#include <cmath>

using Color = Eigen::Array3f;  // red, green, blue in [0, 1]

/// A pixel of the first camera: a house with a tree and the sun over hills.
inline Color scene(Eigen::Index column, Eigen::Index row) {
  const double x = static_cast<double>(column) + 0.5, y = static_cast<double>(row) + 0.5;
  const auto disc = [&](double cx, double cy, double r) { return std::hypot(x - cx, y - cy) < r; };
  if (x > 20 && x < 38 && y > 26 && y < 40) {
    return x > 26 && x < 31 && y > 32 ? Color(0.35F, 0.2F, 0.1F) : Color(0.85F, 0.7F, 0.5F);
  }
  if (y > 17 && y <= 26 && std::fabs(x - 29) < (y - 16) * 1.2) return {0.7F, 0.2F, 0.15F};
  if (disc(49, 25, 6)) return {0.1F, 0.45F, 0.2F};
  if (x > 48 && x < 51 && y > 25 && y < 41) return {0.4F, 0.25F, 0.1F};
  if (disc(10, 10, 5)) return {1.0F, 0.85F, 0.2F};
  if (y > 34 + 3 * std::sin(x / 9)) return {0.4F, 0.65F, 0.3F};
  return {0.55F, 0.75F, 0.95F};
}
