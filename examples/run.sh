#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds the examples and trains the small language model; arguments go to it (--help lists them).
. "$(dirname "${BASH_SOURCE[0]}")/../cmake/common.sh"
need_tools
need_libraries Eigen3=libeigen3-dev
build examples -DGRAPE_BUILD_TESTS=OFF -DGRAPE_BUILD_BENCH=OFF -DGRAPE_BUILD_EXAMPLES=ON
exec "$root/build/examples/examples/lm" "$@"
