// expect: a RotationAction<double> rotates double tensors
// SPDX-License-Identifier: Apache-2.0
#include "grape/grape.hpp"

void f(const grape::RotationAction<double>& action, grape::TensorView<float> x) {
  grape::apply_rotation(action, x);
}
