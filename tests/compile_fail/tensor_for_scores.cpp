// expect: grape: add_bias adds to a view of scores
// SPDX-License-Identifier: Apache-2.0
// [batch, heads, queries, keys] are not [batch, seq, heads, dim].
#include "grape/grape.hpp"

void f(const grape::BiasAction<float>& bias, grape::TensorView<float> scores) {
  grape::add_bias(bias, scores);
}
