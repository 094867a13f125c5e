#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds and runs the tests; arguments go to ctest:
#   ./tests/run.sh                 all of them
#   ./tests/run.sh -L apply        those of one folder
#   ./tests/run.sh -R Relative -V  those of that name, with their output
. "$(dirname "${BASH_SOURCE[0]}")/../cmake/common.sh"
need_tools
need_libraries Eigen3=libeigen3-dev GTest=libgtest-dev nlohmann_json=nlohmann-json3-dev
build tests -DGRAPE_BUILD_TESTS=ON -DGRAPE_BUILD_BENCH=OFF -DGRAPE_BUILD_EXAMPLES=OFF
exec ctest --test-dir "$root/build/tests" --output-on-failure --no-tests=error --parallel "$jobs" "$@"
