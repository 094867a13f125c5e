// expect: grape: a rotation turns views of tensors
// SPDX-License-Identifier: Apache-2.0
#include <vector>

#include "grape/grape.hpp"

void f(const grape::RotationAction<float>& action, std::vector<float>& q) {
  grape::apply_rotation(action, q);
}
