// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "grape/core/executor.hpp"
#include "grape/core/scalar.hpp"
#include "grape/interop/detail/first_exception.hpp"

namespace grape::inline v0 {

/// An executor on OpenMP's threads: attend(q, k, v, out, options, OpenMP{}). Compiled without
/// OpenMP (-fopenmp) it runs tasks in order on the calling thread.
struct OpenMP {
  int threads = 0;  ///< 0: as many as OpenMP chooses

  template <class Task>
  void run(Index count, Task&& task) const {
    detail::FirstException exception;
#if defined(_OPENMP)
    if (threads > 0) {
#pragma omp parallel for schedule(dynamic) num_threads(threads)
      for (Index i = 0; i < count; ++i) exception.run([&] { task(i); });
    } else {
#pragma omp parallel for schedule(dynamic)
      for (Index i = 0; i < count; ++i) exception.run([&] { task(i); });
    }
#else
    for (Index i = 0; i < count; ++i) exception.run([&] { task(i); });
#endif
    exception.rethrow();
  }
};

static_assert(Executor<OpenMP>);

}  // namespace grape::inline v0
