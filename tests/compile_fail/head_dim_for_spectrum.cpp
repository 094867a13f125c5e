// expect: a_rotation_takes_a_spectrum_as_log_uniform_of_head_dim_and_base
// SPDX-License-Identifier: Apache-2.0
#include "grape/grape.hpp"

grape::RoPE<float> rope(64);
