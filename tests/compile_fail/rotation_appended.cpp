// expect: rotations have nothing to append to
// SPDX-License-Identifier: Apache-2.0
// Biases grow with the sequence; a rotation is prepared for the new tokens alone, by at().
#include "grape/grape.hpp"

void f(const grape::RoPE<float>& rope, grape::RotationAction<float>& action) {
  rope.append(grape::Positions::range(4, 1), action);
}
