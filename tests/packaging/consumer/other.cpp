// SPDX-License-Identifier: Apache-2.0
#include "other.hpp"

void rotate_elsewhere(const grape::RotationAction<float>& action, grape::TensorView<float> x) {
  grape::apply_rotation(action, x);
}

grape::RotationAction<float> action_from_elsewhere(const grape::RoPE<float>& rope,
                                                   grape::Index seq) {
  return rope.at(grape::Positions::range(0, seq));
}
