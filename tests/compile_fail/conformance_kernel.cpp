// expect: grape: check_rotation<T> takes a kernel that can be called as kernel(
// SPDX-License-Identifier: Apache-2.0
#include "grape/interop/conformance.hpp"

void rotate(float* x, int seq, int heads, int dim);

grape::conformance::Report f() { return grape::conformance::check_rotation<float>(rotate); }
