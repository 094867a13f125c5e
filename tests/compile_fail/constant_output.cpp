// expect: attend writes to `out`: pass a view that is not const
// SPDX-License-Identifier: Apache-2.0
#include "grape/grape.hpp"

void f(grape::TensorView<const float> q, grape::TensorView<const float> out) {
  grape::attend(q, q, q, out, grape::AttendOptions<float>{});
}
