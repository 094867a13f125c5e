// expect: grape: Encoder::at takes what its path needs
// SPDX-License-Identifier: Apache-2.0
#include "grape/grape.hpp"

void f(const grape::RoPE<float>& rope) { rope.at(); }
