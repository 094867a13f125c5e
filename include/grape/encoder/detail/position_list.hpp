// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "grape/core/error.hpp"
#include "grape/path/positions.hpp"

namespace grape::inline v0 {
namespace detail {

/// Integer positions that a bias keeps, [batch, seq], and that may grow at the end. Consecutive
/// ones, a range and ranges appended to it, are their start alone.
class PositionList {
 public:
  /// Throws ArgumentError unless there is one integer position a token, below 2^62 in magnitude, so
  /// that differences fit into 64 bits.
  static void check(std::string_view argument, const Positions& positions) {
    if (positions.kind() == Positions::Kind::reals || positions.axis_count() != 1) {
      fail(argument, "real or multi-axis positions", "one integer position a token");
    }
    // Of a range the first and the last position bound the others.
    const bool range = positions.kind() == Positions::Kind::range;
    const Index step = range ? std::max<Index>(positions.seq() - 1, 1) : 1;
    for (Index b = 0; b < positions.batch(); ++b) {
      for (Index t = 0; t < positions.seq(); t += step) {
        const std::int64_t n = positions.integer(b, t);
        if (n >= kEnd || n <= -kEnd) {
          fail(argument, text(n), "positions below 2^62 in magnitude");
        }
      }
    }
  }
  /// Throws ArgumentError unless the batches of two lists agree or one of them is 1.
  static void check_batches(const Positions& queries, const Positions& keys) {
    if (queries.batch() != keys.batch() && queries.batch() != 1 && keys.batch() != 1) {
      fail("key_positions", text("batch ", keys.batch()),
           text("the query positions' batch ", queries.batch(), ", or 1"));
    }
  }

  /// Makes room, so that assign() cannot fail.
  void reserve(const Positions& positions) {
    if (positions.kind() == Positions::Kind::range) return;
    values_.reserve(static_cast<std::size_t>(positions.batch() * positions.seq()));
  }
  void assign(const Positions& positions) {
    reserve(positions);
    batch_ = positions.batch();
    seq_ = capacity_ = positions.seq();
    run_ = 0;
    consecutive_ = positions.kind() == Positions::Kind::range;
    start_ = consecutive_ ? positions.integer(0, 0) : 0;
    values_.clear();
    if (consecutive_) return;
    for (Index b = 0; b < batch_; ++b) {
      for (Index t = 0; t < seq_; ++t) values_.push_back(positions.integer(b, t));
    }
  }

  /// Positions of tokens that follow, of the same batch, at a cost that does not depend on those
  /// before them (taken over many calls).
  void append(const Positions& more) {
    if (seq_ == 0) return assign(more);
    const Index seq = seq_ + more.seq();
    const bool follows = consecutive_ && more.kind() == Positions::Kind::range &&
                         (more.seq() == 0 || more.integer(0, 0) == start_ + seq_);
    if (!follows) {
      grow(seq);
      for (Index b = 0; b < batch_; ++b) {
        for (Index t = 0; t < more.seq(); ++t) {
          values_[static_cast<std::size_t>(b * capacity_ + seq_ + t)] = more.integer(b, t);
        }
      }
    }
    seq_ = seq;
  }

  /// Keeps the first `seq` positions.
  void truncate(Index seq) {
    seq_ = seq;
    if (!consecutive_ && seq <= run_) consecutive_ = true;
  }

  Index batch() const { return batch_; }
  Index seq() const { return seq_; }
  bool consecutive() const { return consecutive_; }
  std::int64_t at(Index b, Index t) const { return consecutive_ ? start_ + t : row(b)[t]; }
  /// The positions of a batch entry, unless they are consecutive.
  const std::int64_t* row(Index b) const {
    return values_.data() + (batch_ == 1 ? 0 : b * capacity_);
  }

  /// The least and the greatest of the positions t .. t + count - 1, count > 0.
  std::pair<std::int64_t, std::int64_t> bounds(Index b, Index t, Index count) const {
    if (consecutive_) return {start_ + t, start_ + t + count - 1};
    const auto [low, high] = std::minmax_element(row(b) + t, row(b) + t + count);
    return {*low, *high};
  }
  /// Half way between the least and the greatest position of a batch entry; 0 if there is none.
  std::int64_t middle(Index b) const {
    if (seq_ == 0) return 0;
    const auto [low, high] = bounds(b, 0, seq_);
    return low + (high - low) / 2;
  }

 private:
  static constexpr std::int64_t kEnd = std::int64_t{1} << 62;

  /// Positions one by one, with room for `seq` of each batch entry.
  void grow(Index seq) {
    if (!consecutive_ && seq <= capacity_) return;
    const Index capacity = (std::max)(seq, 2 * seq_);
    std::vector<std::int64_t> values(static_cast<std::size_t>(batch_ * capacity));
    for (Index b = 0; b < batch_; ++b) {
      for (Index t = 0; t < seq_; ++t) {
        values[static_cast<std::size_t>(b * capacity + t)] = at(b, t);
      }
    }
    values_ = std::move(values);
    if (consecutive_) run_ = seq_;
    consecutive_ = false;
    capacity_ = capacity;
  }

  Index batch_ = 1;
  Index seq_ = 0;
  Index capacity_ = 0;  // the row stride of values_
  bool consecutive_ = true;
  std::int64_t start_ = 0;
  Index run_ = 0;  // of positions one by one, how many came first and were consecutive
  std::vector<std::int64_t> values_;
};

}  // namespace detail
}  // namespace grape::inline v0
