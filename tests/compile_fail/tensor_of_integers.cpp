// expect: grape: a view is one of float, double, half or bfloat16
// SPDX-License-Identifier: Apache-2.0
#include "grape/grape.hpp"

void f(int* data) { grape::blhd(data, 1, 1, 1, 2); }
