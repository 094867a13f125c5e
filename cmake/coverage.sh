#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Line coverage of include/ by the tests of one build folder:
#   ./cmake/coverage.sh BUILD [LEAST]
# prints the total, each header below LEAST per cent (95 by default) and its lines that no test
# reached, and fails if the total is below it. BUILD is a folder under build/, configured with
#   CXX=clang++, -DCMAKE_CXX_FLAGS="-fprofile-instr-generate -fcoverage-mapping"
# (a sanitizer's build may be that one) and tested with
#   LLVM_PROFILE_FILE=<root>/build/BUILD/coverage/%4m.profraw
# where %4m adds the runs of one program up in at most four files.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
dir=$root/build/${1:?"the name of a folder under build/"}
least=${2:-95}
version=$(clang++ -dumpversion | cut -d. -f1)
need_commands "llvm-profdata-$version=llvm-$version" "llvm-cov-$version=llvm-$version"

shopt -s nullglob
profiles=("$dir"/coverage/*.profraw)
[ ${#profiles[@]} -gt 0 ] || die "no profile in $dir/coverage: were the tests run with LLVM_PROFILE_FILE?"
"llvm-profdata-$version" merge -sparse "${profiles[@]}" -o "$dir/coverage/all.profdata"
programs=()
for program in "$dir"/tests/test_*; do
  [ -f "$program" ] && [ -x "$program" ] && programs+=(-object "$program")
done
[ ${#programs[@]} -gt 0 ] || die "no tests in $dir/tests"
mapfile -t headers < <(find "$root/include" -name '*.hpp')
# One lcov text (SF: file, DA: line,count) counts a line of a template as reached if any of its
# instantiations, in any of the programs, reached it.
"llvm-cov-$version" export "${programs[@]:1}" -format=lcov -instr-profile="$dir/coverage/all.profdata" \
  "${headers[@]}" 2>/dev/null >"$dir/coverage/all.lcov"
awk -v root="$root/" -v least="$least" '
  /^SF:/ { file = substr($0, 4); sub(root, "", file) }
  /^DA:/ {
    split(substr($0, 4), line, ",")
    key = file SUBSEP line[1]
    if (!(key in count)) { lines[file]++; count[key] = 0; order[file] = order[file] " " line[1] }
    count[key] += line[2]
  }
  END {
    for (file in lines) {
      missed = 0; which = ""
      number = split(order[file], list, " ")
      for (i = 1; i <= number; i++) {
        if (count[file SUBSEP list[i]] == 0) { missed++; which = which " " list[i] }
      }
      all += lines[file]; reached += lines[file] - missed
      share = 100 * (lines[file] - missed) / lines[file]
      if (share < least) printf "%6.2f %%  %s: not reached:%s\n", share, file, which
    }
    if (all == 0) { print "no line of include/ in the programs"; exit 1 }
    printf "%6.2f %%  of %d lines in %d headers\n", 100 * reached / all, all, length(lines)
    exit 100 * reached / all < least
  }' "$dir/coverage/all.lcov"
