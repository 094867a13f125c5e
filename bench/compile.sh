#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What including grape costs: user seconds to parse a translation unit, the least of several runs,
# beside Eigen's own header, and the size of its object. Called by bench/run.sh; by hand:
#   bench/compile.sh [RUNS]        CXX chooses the compiler, EIGEN_DIR the folder that holds Eigen/
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
runs=3
case ${1:-} in
  -h | --help) sed -n '3,5s/^# //p' "${BASH_SOURCE[0]}"; exit 0 ;;
  [1-9]*) runs=$1 ;;
esac
[ -z "${GRAPE_SMOKE:-}" ] || runs=1
cxx=${CXX:-c++}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

cat >"$dir/eigen.cpp" <<<'#include <Eigen/Dense>'
cat >"$dir/presets.cpp" <<<'#include <grape/presets.hpp>'
cat >"$dir/grape.cpp" <<<'#include <grape/grape.hpp>'
cat >"$dir/instances.cpp" <<'CPP'
#include <grape/presets.hpp>
template class grape::Encoder<grape::CanonicalPlanes<float>, grape::LinearPath>;
grape::RotationAction<float> f(const grape::RoPE<float>& e) {
  return e.at(grape::Positions::range(0, 4));
}
grape::RotationAction<float> f(const grape::ContextualRoPE<float>& e, const float* omega) {
  return e.at(grape::blh(omega, 1, 4, 1));
}
grape::RotationAction<float> f(const grape::AxialRoPE<float>& e, const grape::Positions& grid) {
  return e.at(grid);
}
grape::BiasAction<float> f(const grape::ALiBi<float>& e) {
  return e.at(grape::Positions::range(0, 4), grape::Positions::range(0, 4));
}
grape::BiasAction<float> f(const grape::FoX<float>& e, const float* gates) {
  return e.at(grape::blh(gates, 1, 4, 1));
}
grape::BiasAction<float> f(const grape::PathIntegral<float>& e, const float* features) {
  return e.at(grape::blhd(features, 1, 4, 1, 8));
}
CPP
cat >"$dir/rotate.cpp" <<'CPP'
#include <grape/grape.hpp>
void rotate(const grape::RoPE<float>& rope, grape::TensorView<float> q) {
  grape::apply_rotation(rope, grape::Positions::range(0, q.seq()), q);
}
CPP

# compile FILE OPTION...
compile() {
  local file=$1
  shift
  "$cxx" -std=c++20 "$@" "-I$root/include" -isystem "${EIGEN_DIR:-/usr/include/eigen3}" "$dir/$file.cpp"
}
# seconds FILE: the least user time of all rounds.
measure() {
  local TIMEFORMAT=%U round file
  for ((round = 0; round < runs; ++round)); do
    for file in eigen presets instances grape; do # side by side: a busy spell meets all of them
      { time compile "$file" -fsyntax-only; } 2>>"$dir/$file.times"
    done
  done
}
seconds() { sort -g "$dir/$1.times" | head -n 1; }
bytes() {
  compile "$1" -O2 -c -o "$dir/$1.o"
  size "$dir/$1.o" | awk 'NR == 2 { print $1 + $2 + $3 }'
}

measure
eigen=$(seconds eigen) presets=$(seconds presets) instances=$(seconds instances) grape=$(seconds grape)
calc() { awk "BEGIN { printf \"%.2f\", $1 }"; }
printf '%s, user seconds (least of %d):\n' "$("$cxx" --version | head -n 1)" "$runs"
printf '  %-44s %6s\n' '<Eigen/Dense>' "$eigen"
printf '  %-44s %6s\n' '<grape/presets.hpp>' "$presets"
printf '  %-44s %6s  wanted: at most 1.00\n' 'every preset prepared, over its header' \
  "$(calc "$instances - $presets")"
printf '  %-44s %6s\n' '<grape/grape.hpp>' "$grape"
printf '  %-44s %6s  wanted: at most 1.50\n' '<grape/grape.hpp> over <Eigen/Dense>' "$(calc "$grape / $eigen")"
if command -v size >/dev/null; then
  printf 'Object, -O2, bytes of code and data:\n'
  printf '  %-44s %6s\n' '<grape/grape.hpp> and nothing else' "$(bytes grape)"
  printf '  %-44s %6s\n' 'RoPE<float> prepared and applied' "$(bytes rotate)"
fi
