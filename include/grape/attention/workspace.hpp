// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>

#include "grape/core/detail/aligned.hpp"
#include "grape/core/scalar.hpp"

namespace grape::inline v0 {

/// Memory that calls of attend() and attend_vjp() work in and leave to the next: rotated copies of
/// queries and keys, and keys and values as the products read them. Without one each call gets its
/// memory from the system anew, page by page.
///
///   grape::AttendWorkspace<float> workspace;  // of a thread that calls, for every layer
///   grape::attend(q, k, v, out, {.rotation = &action, .causal = true, .workspace = &workspace});
///
/// It grows to what the largest call needs and holds no result. One call at a time may use it.
template <Accumulator A>
class AttendWorkspace {
 public:
  /// Bytes held.
  Index bytes() const {
    Index entries = 0;
    for (const Buffer& buffer : buffers_) entries += buffer.size;
    return entries * static_cast<Index>(sizeof(A));
  }
  /// Gives the memory back.
  void clear() {
    for (Buffer& buffer : buffers_) buffer = {};
  }

  /// What a buffer holds.
  enum Use { queries, keys, query_gradients, key_gradients, tiles, kUses };
  /// `count` entries for that use, with whatever they held before: threads that fill them are those
  /// that touch new pages first.
  A* get(Use use, Index count) {
    Buffer& buffer = buffers_[use];
    if (buffer.size < count) {
      buffer = {};
      buffer.data.reset(detail::LineAllocator<A>().allocate(static_cast<std::size_t>(count)));
      buffer.size = count;
    }
    return buffer.data.get();
  }

 private:
  struct Free {
    void operator()(A* p) const { detail::LineAllocator<A>().deallocate(p, 0); }
  };
  struct Buffer {
    std::unique_ptr<A[], Free> data;
    Index size = 0;
  };
  Buffer buffers_[kUses];
};

}  // namespace grape::inline v0
