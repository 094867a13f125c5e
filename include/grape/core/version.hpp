// SPDX-License-Identifier: Apache-2.0
#pragma once

/// The version of grape, in the one place that holds it: the build reads it from here.
#define GRAPE_VERSION_MAJOR 0
#define GRAPE_VERSION_MINOR 1
#define GRAPE_VERSION_PATCH 0
