// SPDX-License-Identifier: Apache-2.0
#pragma once

/// All checks for kernels of your own: link the target grape::conformance.

#include "grape/conformance/attention.hpp"
#include "grape/conformance/bias.hpp"
#include "grape/conformance/report.hpp"
#include "grape/conformance/rotation.hpp"
