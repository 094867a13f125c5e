// expect: grape: check_bias<T> takes a kernel that can be called as kernel(
// SPDX-License-Identifier: Apache-2.0
#include "grape/interop/conformance.hpp"

void add_alibi(grape::TensorView<float> scores, float slope);

grape::conformance::Report f() { return grape::conformance::check_bias<float>(add_alibi); }
