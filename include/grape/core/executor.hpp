// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>

#include "grape/core/scalar.hpp"

namespace grape::inline v0 {

namespace detail {
struct AnyTask {
  void operator()(Index) const {}
};
}  // namespace detail

/// Runs independent tasks: `executor.run(count, task)` calls task(i) once for every i in [0,
/// count), in any order and on any thread, and returns when all are done. grape starts no thread of
/// its own. Tasks are cut by the shape of the data alone, so results do not depend on the executor.
template <class E>
concept Executor = requires(const E& executor, Index count, detail::AnyTask task) {
  { executor.run(count, task) } -> std::same_as<void>;
};

/// Runs every task in order on the calling thread.
struct Serial {
  template <class Task>
  void run(Index count, Task&& task) const {
    for (Index i = 0; i < count; ++i) task(i);
  }
};

}  // namespace grape::inline v0
