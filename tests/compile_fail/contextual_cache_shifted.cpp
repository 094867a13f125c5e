// expect: a contextual phase depends on the tokens between
// SPDX-License-Identifier: Apache-2.0
// A cache of rotated keys has no context shift where phases come from the tokens.
#include "grape/grape.hpp"

void f(const grape::ContextualRoPE<float>& rope, grape::KeyValueCache<float>& cache) {
  cache.shift(rope, {0, cache.size(), -1});
}
