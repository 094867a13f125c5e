// expect: a bias leaves keys
// SPDX-License-Identifier: Apache-2.0
#include "grape/grape.hpp"

void f(const grape::ALiBi<float>& alibi, grape::PendingShift& shift, grape::TensorView<float> k) {
  grape::rerotate(alibi, shift, k);
}
