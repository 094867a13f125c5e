// expect: std::vector<float>
// SPDX-License-Identifier: Apache-2.0
// Memory is named by its pointer.
#include <vector>

#include "grape/grape.hpp"

void f(std::vector<float>& q) { grape::blhd(q, 1, 2, 3, 4); }
