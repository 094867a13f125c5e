#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds and runs an example; further arguments go to it:
#   ./examples/run.sh                  trains the small language model (--help lists what it takes)
#   ./examples/run.sh quickstart       that one
. "$(dirname "${BASH_SOURCE[0]}")/../cmake/common.sh"
name=lm
if [ $# != 0 ] && [[ $1 != -* ]]; then
  name=$1
  shift
  [ -d "$root/examples/$name" ] || die "no example $name: there are $(cd "$root/examples" && echo */)"
fi
need_tools
need_libraries Eigen3=libeigen3-dev
build_target "$name" examples -DGRAPE_BUILD_TESTS=OFF -DGRAPE_BUILD_BENCH=OFF -DGRAPE_BUILD_EXAMPLES=ON
exec "$root/build/examples/examples/$name" "$@"
