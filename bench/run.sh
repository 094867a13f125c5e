#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds and runs the benchmarks. Leading names choose among them, further arguments go to each:
#   ./bench/run.sh                     all of them
#   ./bench/run.sh rotation            that one
#   ./bench/run.sh rotation --help     that one, with an argument
#   ./bench/run.sh compile             what including grape costs
. "$(dirname "${BASH_SOURCE[0]}")/../cmake/common.sh"
need_tools
need_libraries Eigen3=libeigen3-dev benchmark=libbenchmark-dev
build bench -DGRAPE_BUILD_TESTS=OFF -DGRAPE_BUILD_BENCH=ON -DGRAPE_BUILD_EXAMPLES=OFF
programs=()
while [ $# != 0 ] && [[ $1 != -* ]]; do
  case $1 in
    compile) programs+=("$root/bench/compile.sh") ;;
    *) programs+=("$root/build/bench/bench/bench_$1") ;;
  esac
  shift
done
[ ${#programs[@]} != 0 ] || programs=("$root"/build/bench/bench/bench_* "$root/bench/compile.sh")
failed=()
for program in "${programs[@]}"; do
  [ -x "$program" ] || die "no benchmark ${program##*/bench_}"
  say "${program##*/bench_}"
  "$program" "$@" || failed+=("${program##*/bench_}")
done
[ ${#failed[@]} = 0 ] || die "failed: ${failed[*]}"
