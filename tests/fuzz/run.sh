#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Fuzzes every boundary for SECONDS (60 by default), all of them at once:
#   ./tests/fuzz/run.sh [SECONDS [OPTION...]]      options are libFuzzer's
# What is found is written to build/fuzz/found; the corpus itself is not changed.
. "$(dirname "${BASH_SOURCE[0]}")/../../cmake/common.sh"
seconds=${1:-60} options=("${@:2}")
need_tools
need_commands clang++=clang
need_libraries Eigen3=libeigen3-dev nlohmann_json=nlohmann-json3-dev
CXX=clang++ build fuzz -DGRAPE_BUILD_FUZZERS=ON -DGRAPE_BUILD_TESTS=OFF -DGRAPE_BUILD_BENCH=OFF \
  -DGRAPE_BUILD_EXAMPLES=OFF
fuzz() {
  local name=$1 work=$root/build/fuzz/work/$1 found=$root/build/fuzz/found/$1
  mkdir -p "$work" "$found"
  "$root/build/fuzz/tests/fuzz/fuzz_$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
    -max_len=1024 -print_final_stats=1 -artifact_prefix="$found/" "${options[@]}" "$work" \
    "$root/tests/fuzz/corpus/$name" >"$root/build/fuzz/$name.log" 2>&1 ||
    { say "fuzz_$name found something"; tail -n 30 "$root/build/fuzz/$name.log" >&2; return 1; }
  say "fuzz_$name: $(sed -n 's/stat::number_of_executed_units: */inputs /p' "$root/build/fuzz/$name.log")"
}
running=() status=0
for source in "$root"/tests/fuzz/*.cpp; do
  fuzz "$(basename "$source" .cpp)" &
  running+=($!)
done
for pid in "${running[@]}"; do wait "$pid" || status=1; done
exit $status
