// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "grape/core/error.hpp"
#include "grape/core/scalar.hpp"
#include "grape/path/positions.hpp"

namespace grape::inline v0 {

/// Deltas of cached keys that wait: one a token and axis, added up as integers and applied in one
/// rotation (`rerotate`).
///
/// Why: every rotation of half and bfloat16 keys rounds them once more. Heads of 64 moved 1000
/// times by one position are off by 0.06 of their norm in half and 0.5 in bfloat16; moved once by
/// 1000, by 2e-4 and 2e-3. Until then queries may look at the unmoved keys: where all share one
/// delta, rotate a query by its position - delta.
class PendingShift {
 public:
  /// For `tokens` cached tokens, none of which is to move yet.
  explicit PendingShift(Index tokens, Index axes = 1) : tokens_(tokens), axes_(axes) {
    if (tokens < 0) detail::fail("tokens", detail::text(tokens), "a value >= 0");
    if (axes < 1) detail::fail("axes", detail::text(axes), "a value >= 1");
    Index count = 0;
    if (!detail::multiply_checked(tokens, axes, count)) {
      detail::fail("axes", detail::text(axes),
                   detail::text("a list that fits, of ", tokens, " tokens"));
    }
    deltas_ = std::vector<std::int64_t>(static_cast<std::size_t>(count));
  }

  Index tokens() const { return tokens_; }
  Index axes() const { return axes_; }
  /// Throws ArgumentError for a token or axis out of range.
  std::int64_t delta(Index token, Index axis = 0) const {
    check_range(token, token + 1);
    check_axis(axis);
    return deltas_[static_cast<std::size_t>(axis * tokens_ + token)];
  }
  /// Whether any key is to move.
  bool pending() const {
    return std::any_of(deltas_.begin(), deltas_.end(), [](std::int64_t d) { return d != 0; });
  }
  /// All of them, [axes, tokens], for every batch entry. Refers to this object.
  Positions deltas() const { return Positions::axes(deltas_, axes_, 1, tokens_); }

  /// Moves tokens [begin, end) by `delta` along an axis. Throws ArgumentError, and changes nothing,
  /// for tokens or an axis out of range, or where a sum does not fit into 64 bits.
  void add(Index begin, Index end, std::int64_t delta, Index axis = 0) {
    check_range(begin, end);
    check_axis(axis);
    using Limits = std::numeric_limits<std::int64_t>;
    const auto row = deltas_.begin() + axis * tokens_;
    for (auto d = row + begin; d != row + end; ++d) {
      if (delta > 0 ? *d > (Limits::max)() - delta : *d < (Limits::min)() - delta) {
        detail::fail("delta", detail::text(delta),
                     detail::text("one whose sum with ", *d, " fits into 64 bits"));
      }
    }
    for (auto d = row + begin; d != row + end; ++d) *d += delta;
  }
  /// Moves all tokens.
  void add(std::int64_t delta, Index axis = 0) { add(0, tokens_, delta, axis); }

  /// Forgets tokens [begin, end), whose keys the cache drops. The positions of later ones stay: to
  /// close the gap, add(begin, tokens(), begin - end). Throws ArgumentError for tokens out of
  /// range.
  void erase(Index begin, Index end) {
    check_range(begin, end);
    for (Index axis = axes_; axis-- > 0;) {
      const auto row = deltas_.begin() + axis * tokens_;
      deltas_.erase(row + begin, row + end);
    }
    tokens_ -= end - begin;
  }
  /// `count` more tokens behind the others, with keys rotated where they are to stand. Throws
  /// ArgumentError if count is negative or too large for a list.
  void append(Index count) {
    if (count < 0) detail::fail("count", detail::text(count), "a value >= 0");
    Index entries = 0;
    if (count > (std::numeric_limits<Index>::max)() - tokens_ ||
        !detail::multiply_checked(tokens_ + count, axes_, entries)) {
      detail::fail("count", detail::text(count),
                   detail::text("a list that fits, behind ", tokens_, " tokens"));
    }
    const Index before = tokens_;
    deltas_.resize(static_cast<std::size_t>(entries));
    tokens_ += count;
    for (Index axis = axes_; axis-- > 0;) {  // rows move to the back, the last one first
      std::int64_t* row = deltas_.data() + axis * tokens_;
      const std::int64_t* was = deltas_.data() + axis * before;
      std::copy_backward(was, was + before, row + before);
      std::fill_n(row + before, count, 0);
    }
  }
  /// No key is to move.
  void clear() { std::fill(deltas_.begin(), deltas_.end(), 0); }

 private:
  void check_range(Index begin, Index end) const {
    if (begin < 0 || end < begin || end > tokens_) {
      detail::fail("tokens", detail::text("[", begin, ", ", end, ")"),
                   detail::text("a range within the ", tokens_, " tokens"));
    }
  }
  void check_axis(Index axis) const {
    if (axis < 0 || axis >= axes_) {
      detail::fail("axis", detail::text(axis), detail::text("an axis in [0, ", axes_, ")"));
    }
  }

  Index tokens_;
  Index axes_;
  std::vector<std::int64_t> deltas_;  // [axes, tokens]
};

}  // namespace grape::inline v0
