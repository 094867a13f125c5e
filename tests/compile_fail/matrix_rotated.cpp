// expect: grape: a rotation turns views of tensors
// SPDX-License-Identifier: Apache-2.0
#include <Eigen/Core>

#include "grape/grape.hpp"

void f(const grape::RoPE<float>& rope, Eigen::MatrixXf& q) {
  grape::apply_rotation(rope, grape::Positions::range(0, 4), q);
}
