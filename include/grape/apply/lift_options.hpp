// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "grape/core/scalar.hpp"

namespace grape::inline v0 {

/// Where positions and sums of log gates are measured from.
enum class LiftCentre {
  origin,  ///< position 0, the sum before the first token: the same for every action
  middle,  ///< the middle of the action's keys: half the error, but queries and keys must be lifted
           ///< from one action (or from actions with the same keys)
};

/// How biases are lifted: what the kernel multiplies by, and how numbers are split.
struct LiftOptions {
  /// What multiplies q . k in the logits, finite and > 0; 1 / sqrt(dim of q) if left out.
  std::optional<double> scale{};
  /// What the kernel multiplies the dot product by, finite and > 0; `scale` if left out. A kernel
  /// that insists on 1 / sqrt(its own head_dim) is served by naming that here: queries are then
  /// multiplied by scale / kernel_scale, at one rounding.
  std::optional<double> kernel_scale{};
  /// How many coordinates a number is split into, 1 to 4: each holds what the ones before it left.
  /// Largest error of a logit, measured for pairs whose bias is above -20 (others vanish in a
  /// softmax) with a slope of 0.7, which is steeper than any of 8 heads, head_dim 128, a kernel
  /// that sums in float, and paths from the origin; it is proportional to the slope, and half of
  /// this from the middle:
  ///
  ///   | tokens  | float 1 | half 1 | half 2 | bfloat16 1 | bfloat16 2 | bfloat16 3 parts |
  ///   |---------|---------|--------|--------|------------|------------|------------------|
  ///   | 4096    | 3e-4    | 3      | 1e-3   | 17         | 0.04       | 5e-4             |
  ///   | 131072  | 0.01    | 80     | 0.03   | 550        | 1.3        | 0.014            |
  ///   | 1048576 | 0.08    | 600    | 0.25   | 4400       | 10         | 0.11             |
  ///
  /// The least of each row is what summing in float costs: further parts gain nothing.
  Index parts = 1;
  /// Where paths are measured from.
  LiftCentre centre = LiftCentre::origin;
};

}  // namespace grape::inline v0
