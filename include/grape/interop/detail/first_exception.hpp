// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <exception>

#include "grape/core/config.hpp"

namespace grape::inline v0 {
namespace detail {

/// Brings what a task throws on another thread (want of memory) back to the thread that waits.
class FirstException {
 public:
  template <class Task>
  void run(Task&& task) {
#if defined(GRAPE_NO_EXCEPTIONS)
    task();
#else
    try {
      task();
    } catch (...) {
      if (!taken_.exchange(true)) first_ = std::current_exception();
    }
#endif
  }
  /// After all tasks are done.
  void rethrow() {
#if !defined(GRAPE_NO_EXCEPTIONS)
    if (first_) std::rethrow_exception(first_);
#endif
  }

 private:
  std::atomic<bool> taken_{false};
  std::exception_ptr first_;
};

}  // namespace detail
}  // namespace grape::inline v0
