# SPDX-License-Identifier: Apache-2.0
# Sourced by the run.sh scripts and .ci/run: what is missing is installed, then CMake is run.
# CXX chooses the compiler of a fresh build folder, GRAPE_JOBS the number of parallel jobs.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
jobs=${GRAPE_JOBS:-$(getconf _NPROCESSORS_ONLN)}

say() { printf '%s\n' "grape: $*" >&2; }
die() { say "$@"; exit 1; }

# install PACKAGE...: through apt-get, or a clear word about what is missing.
install() {
  command -v apt-get >/dev/null ||
    die "missing (by their Debian names): $*. This machine has no apt-get; install them and run this again."
  local as_root=(env DEBIAN_FRONTEND=noninteractive)
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; } ||
      die "missing: $*. Installing them needs root; run: sudo apt-get install $*"
    as_root=(sudo "${as_root[@]}")
  fi
  say "installing $*"
  local get=("${as_root[@]}" apt-get -y --no-install-recommends)
  # Empty package lists (a fresh container) or stale ones call for one update.
  { apt-get install --simulate "$@" >/dev/null 2>&1 && "${get[@]}" install "$@"; } ||
    { "${get[@]}" update && "${get[@]}" install "$@"; } ||
    die "apt-get could not install: $*"
}

# need_commands COMMAND=PACKAGE...: installs the packages whose commands are not there.
need_commands() {
  local missing=() need
  for need in "$@"; do
    command -v "${need%%=*}" >/dev/null || missing+=("${need#*=}")
  done
  [ ${#missing[@]} = 0 ] || install "${missing[@]}"
}

# need_tools: a C++ compiler, CMake and a build program.
need_tools() {
  local needs=("${CXX:-c++}=g++" cmake=cmake)
  command -v ninja >/dev/null || command -v make >/dev/null || needs+=(ninja=ninja-build)
  need_commands "${needs[@]}"
  local version
  version=$(cmake --version | sed -n '1s/[^0-9]*\([0-9.]*\).*/\1/p')
  [ "$(printf '%s\n' 3.24 "$version" | sort -V | head -n 1)" = 3.24 ] ||
    die "cmake $version is too old, 3.24 is needed (pip install cmake, or https://apt.kitware.com)"
  if [ -z "${CMAKE_GENERATOR:-}" ] && command -v ninja >/dev/null; then
    export CMAKE_GENERATOR=Ninja
  fi
}

# need_libraries CMAKE_NAME=PACKAGE...: installs the packages that CMake does not find.
need_libraries() {
  local probe=$root/build/probe list missing
  list=$(IFS=';'; printf '%s' "$*")
  rm -rf "$probe"
  mkdir -p "$probe"
  cmake -S "$root/cmake/probe" -B "$probe" "-DGRAPE_NEED=$list" >"$probe/log" 2>&1 ||
    { cat "$probe/log" >&2; die "the compiler or CMake does not work (above)"; }
  mapfile -t missing <"$probe/missing.txt"
  [ ${#missing[@]} = 0 ] || install "${missing[@]}"
}

# unpack_unstable PACKAGE DIR: puts the files of Debian unstable's newest version of a package under
# DIR, installing nothing and leaving apt's own lists alone; fails where unstable is out of reach.
unpack_unstable() {
  local dir=$2 state=$2/.apt
  rm -rf "$dir"
  mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
  echo 'deb http://deb.debian.org/debian sid main' >"$state/sources.list"
  local get=(apt-get -q -o "Dir::Etc::sourcelist=$state/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o "Dir::State::lists=$state/lists" -o "Dir::Cache=$state/cache" -o APT::Sandbox::User=root
    -o Acquire::Retries=2 -o Acquire::http::Timeout=30)
  (cd "$state" && "${get[@]}" update && "${get[@]}" download "$1") &&
    dpkg-deb -x "$state/$1"_*.deb "$dir"
}

# build NAME OPTION...: configures build/NAME with the CMake options and builds it.
build() { build_target all "$@"; }

# build_target TARGET NAME OPTION...: the same for one target of it.
build_target() {
  local target=$1 dir=$root/build/$2
  shift 2
  cmake -S "$root" -B "$dir" -DCMAKE_BUILD_TYPE=Release "$@"
  cmake --build "$dir" --parallel "$jobs" --target "$target"
}
