// expect: grape: a view is one of float, double, half or bfloat16
// SPDX-License-Identifier: Apache-2.0
#include <Eigen/Core>

#include "grape/grape.hpp"

void f(Eigen::Matrix<int, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>& q) {
  grape::matrix_view(q, 2);
}
