// expect: pass a view of elements that are not const
// SPDX-License-Identifier: Apache-2.0
// A view of const cannot be rotated in place.
#include "grape/grape.hpp"

void f(const grape::RotationAction<float>& action, grape::TensorView<const float> x) {
  grape::apply_rotation(action, x);
}
