// expect: grape: check_attention<T> takes a kernel that can be called as kernel(
// SPDX-License-Identifier: Apache-2.0
#include "grape/interop/conformance.hpp"

// A kernel of half for a check of float.
void attend(const grape::conformance::AttentionCase<Eigen::half>& c,
            grape::TensorView<Eigen::half> out);

grape::conformance::Report f() { return grape::conformance::check_attention<float>(attend); }
