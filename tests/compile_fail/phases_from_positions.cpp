// expect: phase increments for a contextual one
// SPDX-License-Identifier: Apache-2.0
// A contextual rotation takes phase increments.
#include "grape/grape.hpp"

void f(const grape::ContextualRoPE<float>& rope) { rope.at(grape::Positions::range(0, 4)); }
