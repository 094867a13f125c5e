// expect: a BiasAction<float> goes with float, half and bfloat16 scores
// SPDX-License-Identifier: Apache-2.0
#include "grape/grape.hpp"

void f(const grape::BiasAction<float>& bias, grape::ScoreView<double> scores) {
  grape::add_bias(bias, scores);
}
