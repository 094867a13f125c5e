// SPDX-License-Identifier: Apache-2.0
// Words that <windows.h> and <complex.h> take for macros, defined after the headers of the system
// and of Eigen, as a stray character that compiles nowhere: grape's own text must do without them.
// (std::min)(a, b) is no use of the macro.
#include <Eigen/Dense>
#if __has_include(<Eigen/ThreadPool>)
#include <Eigen/ThreadPool>  // Eigen 5
#else
#include <unsupported/Eigen/CXX11/ThreadPool>
#endif
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <complex>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <new>
#include <numbers>
#include <numeric>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define min(a, b) @
#define max(a, b) @
#define near @
#define far @
#define small @
#define interface @
#define I @
#define IN @
#define OUT @
#define OPTIONAL @
#define ERROR @
#define DELETE @
#define CONST @
#define TRUE @
#define FALSE @
#define isfinite(x) @
#define isnan(x) @
#undef M_PI
#undef M_PI_2

#include <grape/fwd.hpp>
#include <grape/grape.hpp>
#include <grape/interop/axes.hpp>
#include <grape/interop/dlpack.hpp>
#include <grape/interop/eigen.hpp>
#include <grape/interop/mdspan.hpp>
#include <grape/interop/openmp.hpp>
#include <grape/interop/thread_pool.hpp>

template class grape::RotationAction<float>;
template class grape::BiasAction<float>;
