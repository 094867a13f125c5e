// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "grape/apply/rerotate.hpp"
#include "grape/attention/detail/cache_chunk.hpp"
#include "grape/attention/detail/online_softmax.hpp"
#include "grape/core/detail/aligned.hpp"
#include "grape/core/detail/late.hpp"
#include "grape/core/detail/sole_owner.hpp"
#include "grape/core/error.hpp"
#include "grape/core/executor.hpp"
#include "grape/core/view.hpp"
#include "grape/encoder/rotation_action.hpp"
#include "grape/path/pending_shift.hpp"
#include "grape/path/positions.hpp"

namespace grape::inline v0 {

/// Tokens [begin, end) of a cache that move by `delta` positions, on a grid along one axis.
struct KeyShift {
  Index begin = 0, end = 0;
  std::int64_t delta = 0;
  Index axis = 0;
};

namespace detail {

/// The tokens of one batch entry of a cache, in chunks that copies of it share: whoever writes to a
/// chunk takes a copy of it first.
template <class T>
class CacheEntry {
 public:
  using A = accumulation_t<T>;

  Index size() const { return size_; }
  Index front() const { return front_; }
  Index evicted() const { return evicted_; }
  /// Whether all tokens since the entry was empty are there, but for those that truncate() took.
  bool whole() const { return whole_; }
  bool shift_pending() const { return shift_ && shift_->pending(); }

  const T* data(Index slot) const {
    return chunks_[static_cast<std::size_t>(slot / kKeys)]->data();
  }

  template <class K>
  void append(const CacheShape& shape, const TensorView<const K>& k, const TensorView<const T>& v,
              Index b) {
    const Index begin = front_ + size_, end = begin + k.seq();
    const Index chunks = (end + kKeys - 1) / kKeys;
    while (static_cast<Index>(chunks_.size()) < chunks) {
      chunks_.push_back(std::make_shared<CacheChunk<T>>(shape));
    }
    for (Index slot = begin; slot < end; ++slot) {
      CacheChunk<T>& chunk = own(slot);
      for (Index h = 0; h < shape.heads; ++h) {
        chunk.write(shape, h, slot % kKeys, k, v, b, slot - begin);
      }
    }
    if (shift_) shift_->append(k.seq());
    size_ += k.seq();
  }

  /// Forgets tokens [begin, end); those behind move up.
  void erase(const CacheShape& shape, Index begin, Index end) {
    if (shift_) shift_->erase(begin, end);
    whole_ = end - begin == size_ || (whole_ && (begin == end || end == size_));
    if (begin == 0) {
      drop_front(end);
      return;
    }
    for (Index t = end; t < size_; ++t) {
      const Index to = front_ + begin + t - end, from = front_ + t;
      own(to).copy(shape, to % kKeys, *chunks_[static_cast<std::size_t>(from / kKeys)],
                   from % kKeys);
    }
    shorten(shape, size_ - (end - begin));
  }

  void truncate(const CacheShape& shape, Index size) {
    if (shift_) shift_->erase(size, size_);
    whole_ = whole_ || size == 0;
    shorten(shape, size);
  }

  /// Throws ArgumentError where moves along other axes wait.
  void check_axes(Index axes) const {
    if (!shift_pending() || shift_->axes() == axes) return;
    fail("encoder", text(axes, " axes"), text("the ", shift_->axes(), " of the moves that wait"));
  }
  /// Throws ArgumentError unless shift() can take these.
  void check_shift(const KeyShift& by, Index axes) const {
    check_axes(axes);
    PendingShift sum = shift_pending() ? *shift_ : PendingShift(size_, axes);
    sum.add(by.begin, by.end, by.delta, by.axis);
  }
  /// Adds to what tokens are to move by.
  void shift(const KeyShift& by, Index axes) {
    if (!shift_pending()) shift_.emplace(size_, axes);
    shift_->add(by.begin, by.end, by.delta, by.axis);
  }

  /// Moves the keys by what has been added up, a chunk a task: keys are read, turned in the
  /// accumulation scalar and rounded once.
  template <class Enc, class E>
  void apply_shift(const CacheShape& shape, const Enc& unscaled, const E& executor) {
    if (!shift_pending()) return;
    for (Index slot = front_; slot < front_ + size_; slot += kKeys - slot % kKeys) own(slot);
    const auto tasks = static_cast<Index>(chunks_.size());
    executor.run(tasks, [&](Index i) {
      const Index first = (std::max)(front_, i * kKeys) - front_;
      const Index count = (std::min)(front_ + size_, (i + 1) * kKeys) - front_ - first;
      turn(shape, unscaled, first, count);
    });
    shift_.reset();
  }

 private:
  CacheChunk<T>& own(Index slot) {
    auto& chunk = chunks_[static_cast<std::size_t>(slot / kKeys)];
    if (!is_sole_owner(chunk)) chunk = std::make_shared<CacheChunk<T>>(*chunk);
    return *chunk;
  }

  void drop_front(Index count) {
    front_ += count;
    size_ -= count;
    evicted_ += count;
    chunks_.erase(chunks_.begin(), chunks_.begin() + front_ / kKeys);
    front_ %= kKeys;
  }

  void shorten(const CacheShape& shape, Index size) {
    const Index begin = front_ + size, end = front_ + size_;
    const Index kept = (begin + kKeys - 1) / kKeys;
    chunks_.resize(static_cast<std::size_t>(kept));
    for (Index slot = begin; slot < (std::min)(end, kept * kKeys); ++slot) {
      own(slot).erase(shape, slot % kKeys);
    }
    size_ = size;
  }

  /// Turns the keys of `count` tokens of one chunk that stand behind each other.
  template <class Enc>
  void turn(const CacheShape& shape, const Enc& unscaled, Index first, Index count) {
    std::vector<std::int64_t> deltas;
    for (Index axis = 0; axis < shift_->axes(); ++axis) {
      for (Index t = first; t < first + count; ++t) deltas.push_back(shift_->delta(t, axis));
    }
    if (std::all_of(deltas.begin(), deltas.end(), [](std::int64_t d) { return d == 0; })) return;
    const auto action = unscaled.at(Positions::axes(deltas, shift_->axes(), 1, count));
    LineVector<A> memory(static_cast<std::size_t>(count * shape.heads * shape.dim));
    const auto keys = blhd(memory.data(), 1, count, shape.heads, shape.dim);
    CacheChunk<T>& chunk = *chunks_[static_cast<std::size_t>((front_ + first) / kKeys)];
    const Index slot = (front_ + first) % kKeys;
    chunk.read_keys(shape, slot, keys);
    apply_rotation(action, keys);
    for (Index t = 0; t < count; ++t) {
      if (is_moved(first + t)) chunk.write_key(shape, slot + t, keys, t);
    }
  }

  bool is_moved(Index token) const {
    for (Index axis = 0; axis < shift_->axes(); ++axis) {
      if (shift_->delta(token, axis) != 0) return true;
    }
    return false;
  }

  std::vector<std::shared_ptr<CacheChunk<T>>> chunks_;
  Index front_ = 0;  // slots of the first chunk that are given up
  Index size_ = 0;
  Index evicted_ = 0;
  bool whole_ = true;
  std::optional<late_t<PendingShift, T>> shift_;  // none: no key is to move
};

}  // namespace detail
}  // namespace grape::inline v0
