// expect: grape: add_bias takes the action that an encoder's at() returns
// SPDX-License-Identifier: Apache-2.0
#include "grape/grape.hpp"

void f(const grape::ALiBi<float>& alibi, grape::ScoreView<float> scores) {
  grape::add_bias(alibi, scores);
}
