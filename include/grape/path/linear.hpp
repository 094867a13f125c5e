// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "grape/path/positions.hpp"

namespace grape::inline v0 {

/// The linear path: the group parameter of a token is its position, s(n) = n. It makes RoPE of a
/// skew generator and ALiBi of a nilpotent one.
struct LinearPath {
  using Input = Positions;
  static constexpr bool kShiftable = true;
};

}  // namespace grape::inline v0
