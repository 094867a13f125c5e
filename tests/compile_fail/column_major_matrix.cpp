// expect: grape: matrix_view takes a row-major matrix
// SPDX-License-Identifier: Apache-2.0
#include <Eigen/Core>

#include "grape/grape.hpp"

void f(Eigen::MatrixXf& q) { grape::matrix_view(q, 2); }
