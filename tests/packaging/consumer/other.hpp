// SPDX-License-Identifier: Apache-2.0
// What the two translation units of the consumer say to each other.
#pragma once

#include <vector>

#if defined(CONSUMER_SINGLE_HEADER)
#include <grape_single.hpp>
#else
#include <grape/apply/bias.hpp>
#include <grape/apply/rotation.hpp>
#include <grape/core/version.hpp>
#include <grape/presets.hpp>
#include <grape/spectrum/log_uniform.hpp>
#endif

/// Rotates x [1, seq, heads, dim] by the action, in the other translation unit.
void rotate_elsewhere(const grape::RotationAction<float>& action, grape::TensorView<float> x);

/// An action prepared in the other translation unit.
grape::RotationAction<float> action_from_elsewhere(const grape::RoPE<float>& rope,
                                                   grape::Index seq);
