// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <memory>

namespace grape::inline v0 {
namespace detail {

/// Whether no copy shares what p points to, so that it may be written. What an owner that is gone
/// read of it, perhaps on another thread, comes before.
template <class T>
bool is_sole_owner(const std::shared_ptr<T>& p) {
  if (p.use_count() != 1) return false;
  std::atomic_thread_fence(std::memory_order_acquire);  // use_count() itself orders nothing
  return true;
}

}  // namespace detail
}  // namespace grape::inline v0
