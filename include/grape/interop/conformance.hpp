// SPDX-License-Identifier: Apache-2.0
#pragma once

/// All checks for kernels of your own: link the target grape::conformance.

#include "grape/interop/conformance/attention.hpp"
#include "grape/interop/conformance/bias.hpp"
#include "grape/interop/conformance/report.hpp"
#include "grape/interop/conformance/rotation.hpp"
