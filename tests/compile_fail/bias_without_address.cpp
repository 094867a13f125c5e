// expect: grape: options point to an action: write {.bias = &action}
// SPDX-License-Identifier: Apache-2.0
#include "grape/grape.hpp"

void f(const grape::BiasAction<float>& bias, const grape::KeyValueCache<float>& cache,
       grape::TensorView<float> q, grape::TensorView<float> out) {
  grape::attend(q, cache, out, {.bias = bias});
}
