// expect: q, k, v and out must have one element type
// SPDX-License-Identifier: Apache-2.0
#include "grape/grape.hpp"

void f(grape::TensorView<float> q, grape::TensorView<Eigen::half> k, grape::TensorView<float> out) {
  grape::attend(q, k, k, out, grape::AttendOptions<float>{});
}
