// SPDX-License-Identifier: Apache-2.0
// Ten lines: queries and keys of 6 tokens are turned by their positions, and their scores then
// depend on the distance between tokens alone.
#include <grape/grape.hpp>
#include <iostream>

int main() {
  Eigen::Matrix<float, 6, 64, Eigen::RowMajor> q, k;  // [tokens, head_dim], every row the same
  q.setOnes();
  k.setOnes();
  const grape::RoPE<float> rope(grape::spectrum::log_uniform(64, 10000.0));  // head_dim, base
  const auto action = rope.at(grape::Positions::range(0, 6));
  grape::apply_rotation(action, grape::matrix_view(q, 1), grape::matrix_view(k, 1));
  std::cout << q * k.transpose() / 64 << '\n';  // one number on each diagonal
}
