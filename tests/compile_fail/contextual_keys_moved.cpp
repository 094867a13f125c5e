// expect: a contextual phase depends on the tokens between
// SPDX-License-Identifier: Apache-2.0
// Cached keys of a contextual encoding cannot be moved by a number of positions.
#include "grape/grape.hpp"

void f(const grape::ContextualRoPE<float>& rope, grape::TensorView<float> keys) {
  grape::rerotate(rope, 1, keys);
}
