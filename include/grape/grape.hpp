// SPDX-License-Identifier: Apache-2.0
#pragma once

/// Everything of grape that needs nothing but Eigen.

#include "grape/apply/bias.hpp"
#include "grape/apply/rotation.hpp"
#include "grape/core/error.hpp"
#include "grape/core/executor.hpp"
#include "grape/core/pairing.hpp"
#include "grape/core/scalar.hpp"
#include "grape/core/version.hpp"
#include "grape/core/view.hpp"
#include "grape/encoder/encoder.hpp"
#include "grape/generator/rank2.hpp"
#include "grape/group/block_rotation.hpp"
#include "grape/group/rank2_rotation.hpp"
#include "grape/group/unipotent.hpp"
#include "grape/math/gates.hpp"
#include "grape/math/rodrigues.hpp"
#include "grape/path/positions.hpp"
#include "grape/presets.hpp"
#include "grape/spectrum/linear.hpp"
#include "grape/spectrum/llama3.hpp"
#include "grape/spectrum/log_uniform.hpp"
#include "grape/spectrum/longrope.hpp"
#include "grape/spectrum/ntk.hpp"
#include "grape/spectrum/spectrum.hpp"
#include "grape/spectrum/yarn.hpp"
