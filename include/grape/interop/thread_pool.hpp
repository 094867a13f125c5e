// SPDX-License-Identifier: Apache-2.0
#pragma once

#if __has_include(<Eigen/ThreadPool>)
#include <Eigen/ThreadPool>
#else
#include <unsupported/Eigen/CXX11/ThreadPool>
#endif

#include <algorithm>
#include <atomic>
#include <memory>
#include <type_traits>

#include "grape/core/executor.hpp"
#include "grape/core/scalar.hpp"
#include "grape/interop/detail/first_exception.hpp"

namespace grape::inline v0 {

/// An executor on an Eigen::ThreadPool (or any Eigen::ThreadPoolInterface), which the caller owns:
///
///   Eigen::ThreadPool pool(4);
///   attend(q, k, v, out, options, ThreadPool(pool));
///
/// The calling thread works too and waits for the tasks alone, so that a call from within the pool
/// does not lock up. What a task or the pool's Schedule throws is thrown to the caller, the first
/// of them, once all tasks are done. Programs that use it link with threads.
class ThreadPool {
 public:
  /// An executor on the pool, which must outlive it.
  explicit ThreadPool(Eigen::ThreadPoolInterface& pool) : pool_(&pool) {}

  template <class Task>
  void run(Index count, Task&& task) const {
    if (count <= 0) return;
    const auto shared = std::make_shared<State<std::remove_reference_t<Task>>>(count, task);
    const Index helpers = std::min<Index>(count - 1, pool_->NumThreads());
    // What a Schedule throws waits for the tasks, as their own exceptions do: helpers that it took
    // before look at `task`, which is the caller's.
    shared->exception.run([&] {
      for (Index i = 0; i < helpers; ++i) pool_->Schedule([shared] { shared->work(); });
    });
    shared->work();
    shared->wait();
    shared->exception.rethrow();
  }

 private:
  /// Outlives the call for helpers that start when nothing is left to do.
  template <class Task>
  struct State {
    State(Index count_, Task& task_) : count(count_), task(&task_) {}

    void work() {
      for (Index i = next.fetch_add(1); i < count; i = next.fetch_add(1)) {
        exception.run([&] { (*task)(i); });
        if (done.fetch_add(1) + 1 == count) done.notify_all();
      }
    }
    void wait() {
      for (Index n = done.load(); n != count; n = done.load()) done.wait(n);
    }

    Index count;
    Task* task;
    std::atomic<Index> next{0}, done{0};
    detail::FirstException exception;
  };

  Eigen::ThreadPoolInterface* pool_;
};

static_assert(Executor<ThreadPool>);

}  // namespace grape::inline v0
