// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "grape/path/path.hpp"

namespace grape::inline v0 {

/// The paths of the two blocks of a direct sum: one that its rotation runs on and one for its bias.
template <Path Rotation, Path Bias>
struct PairedPath {
  using Input = typename Rotation::Input;
  Rotation rotation{};
  Bias bias{};
};

}  // namespace grape::inline v0
