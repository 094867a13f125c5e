// expect: grape: options point to an action: write {.rotation = &action}
// SPDX-License-Identifier: Apache-2.0
// The same in the braces of a call.
#include "grape/grape.hpp"

void f(const grape::RotationAction<float>& action, grape::TensorView<float> q) {
  grape::attend(q, q, q, q, {.rotation = action});
}
