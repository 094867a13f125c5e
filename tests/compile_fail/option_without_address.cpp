// expect: grape: options point to an action: write {.rotation = &action}
// SPDX-License-Identifier: Apache-2.0
// Options point to their actions.
#include "grape/grape.hpp"

grape::AttendOptions<float> f(const grape::RotationAction<float>& action) {
  return grape::AttendOptions<float>{.rotation = action};
}
