// expect: constraints not satisfied
// SPDX-License-Identifier: Apache-2.0
// Tensors hold float, double, half or bfloat16.
#include "grape/grape.hpp"

void f(int* data) { grape::blhd(data, 1, 1, 1, 2); }
grape::TensorView<int>* view = nullptr;
