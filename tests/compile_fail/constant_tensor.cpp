// expect: is_const_v
// SPDX-License-Identifier: Apache-2.0
// A view of const cannot be rotated in place.
#include "grape/grape.hpp"

void f(const grape::RotationAction<float>& action, grape::TensorView<const float> x) {
  grape::apply_rotation(action, x);
}
