// SPDX-License-Identifier: Apache-2.0
// Executors that a user might bring.
#pragma once

#include <cstddef>
#include <thread>
#include <vector>

#include "grape/core/executor.hpp"

// The last task first.
struct Reversed {
  template <class Task>
  void run(grape::Index count, Task&& task) const {
    for (grape::Index i = count; i-- > 0;) task(i);
  }
};

// Task i on thread i mod `threads`.
struct Threads {
  grape::Index threads = 3;

  template <class Task>
  void run(grape::Index count, Task&& task) const {
    std::vector<std::thread> team;
    for (grape::Index n = 0; n < threads; ++n) {
      team.emplace_back([&task, count, n, step = threads] {
        for (grape::Index i = n; i < count; i += step) task(i);
      });
    }
    for (std::thread& thread : team) thread.join();
  }
};

static_assert(grape::Executor<Reversed> && grape::Executor<Threads>);
