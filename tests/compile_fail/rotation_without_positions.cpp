// expect: grape: an encoder rotates at Positions
// SPDX-License-Identifier: Apache-2.0
#include "grape/grape.hpp"

void f(const grape::RoPE<float>& rope, grape::TensorView<float> q, grape::TensorView<float> k) {
  grape::apply_rotation(rope, q, k);
}
