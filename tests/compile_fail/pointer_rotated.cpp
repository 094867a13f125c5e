// expect: grape: a rotation turns views of tensors
// SPDX-License-Identifier: Apache-2.0
#include "grape/grape.hpp"

void f(const grape::RotationAction<float>& action, float* q, float* k) {
  grape::apply_rotation(action, q, k);
}
