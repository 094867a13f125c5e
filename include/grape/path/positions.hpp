// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

#include "grape/core/config.hpp"
#include "grape/core/error.hpp"
#include "grape/core/scalar.hpp"

namespace grape::inline v0 {

namespace detail {

/// A list that goes with its object (a vector, an array), other than a span, so that positions must
/// not outlive it. (<span> brings enable_borrowed_range; <ranges> would double what this costs.)
template <class List, class T>
concept OwningList = std::convertible_to<const List&, std::span<const T>> &&
    !std::ranges::enable_borrowed_range<List>;

}  // namespace detail

/// Where tokens stand: one position a token, shared by the batch or given for each of its entries.
///
/// A Positions refers to the caller's memory, so build it in the call that uses it: one that is
/// kept must not outlive the list, and clang warns where the list is a temporary vector. Positions
/// are 64-bit integers or doubles and never pass through float; negative ones are legal.
class Positions {
 public:
  enum class Kind { range, integers, reals };

  /// start, start + 1, .., start + count - 1 for every batch entry. Throws ArgumentError if count <
  /// 0 or the last position does not fit into 64 bits.
  static Positions range(std::int64_t start, Index count) {
    if (count < 0) detail::fail("count", detail::text(count), "a value >= 0");
    if (start > 0 && count - 1 > (std::numeric_limits<std::int64_t>::max)() - start) {
      detail::fail("start", detail::text(start),
                   detail::text("a value that leaves room for ", count, " positions in 64 bits"));
    }
    Positions p(Kind::range, 1, 1, count);
    p.start_ = start;
    return p;
  }

  /// One list [seq] for every batch entry.
  static Positions shared(std::span<const std::int64_t> positions) {
    return integers(positions, 1, 1, static_cast<Index>(positions.size()));
  }
  /// The same of a vector or an array.
  template <detail::OwningList<std::int64_t> List>
  static Positions shared(const List& positions GRAPE_LIFETIMEBOUND) {
    return shared(std::span<const std::int64_t>(positions));
  }

  /// A list for each batch entry, [batch, seq] row-major. Throws ArgumentError unless the list
  /// holds batch * seq positions.
  static Positions per_token(std::span<const std::int64_t> positions, Index batch, Index seq) {
    check_count(positions.size(), 1, batch, seq);
    return integers(positions, 1, batch, seq);
  }
  /// The same of a vector or an array.
  template <detail::OwningList<std::int64_t> List>
  static Positions per_token(const List& positions GRAPE_LIFETIMEBOUND, Index batch, Index seq) {
    return per_token(std::span<const std::int64_t>(positions), batch, seq);
  }

  /// Real-valued positions [seq] for every batch entry. Throws ArgumentError unless each is finite
  /// and below 2^63 in magnitude.
  static Positions real(std::span<const double> positions) {
    return reals(positions, 1, 1, static_cast<Index>(positions.size()));
  }
  /// The same of a vector or an array.
  template <detail::OwningList<double> List>
  static Positions real(const List& positions GRAPE_LIFETIMEBOUND) {
    return real(std::span<const double>(positions));
  }

  /// A list of reals for each batch entry, [batch, seq] row-major. Throws ArgumentError as above,
  /// and unless the list holds batch * seq positions.
  static Positions real_per_token(std::span<const double> positions, Index batch, Index seq) {
    check_count(positions.size(), 1, batch, seq);
    return reals(positions, 1, batch, seq);
  }
  /// The same of a vector or an array.
  template <detail::OwningList<double> List>
  static Positions real_per_token(const List& positions GRAPE_LIFETIMEBOUND, Index batch,
                                  Index seq) {
    return real_per_token(std::span<const double>(positions), batch, seq);
  }

  /// One coordinate on each of several axes (height and width, or time, height and width):
  /// [axes, batch, seq] row-major, batch 1 for a shared grid. Throws ArgumentError unless axes >= 1
  /// and the list holds axes * batch * seq positions.
  static Positions axes(std::span<const std::int64_t> positions, Index axes, Index batch,
                        Index seq) {
    if (axes < 1) detail::fail("axes", detail::text(axes), "a value >= 1");
    check_count(positions.size(), axes, batch, seq);
    return integers(positions, axes, batch, seq);
  }
  /// The same of a vector or an array.
  template <detail::OwningList<std::int64_t> List>
  static Positions axes(const List& positions GRAPE_LIFETIMEBOUND, Index axes, Index batch,
                        Index seq) {
    return Positions::axes(std::span<const std::int64_t>(positions), axes, batch, seq);
  }

  /// The same with real coordinates (point clouds, resized pictures), each finite and below 2^63 in
  /// magnitude.
  static Positions real_axes(std::span<const double> positions, Index axes, Index batch,
                             Index seq) {
    if (axes < 1) detail::fail("axes", detail::text(axes), "a value >= 1");
    check_count(positions.size(), axes, batch, seq);
    return reals(positions, axes, batch, seq);
  }
  /// The same of a vector or an array.
  template <detail::OwningList<double> List>
  static Positions real_axes(const List& positions GRAPE_LIFETIMEBOUND, Index axes, Index batch,
                             Index seq) {
    return real_axes(std::span<const double>(positions), axes, batch, seq);
  }

  Kind kind() const { return kind_; }
  /// Batch entries that have positions of their own; 1 where all share one list.
  Index batch() const { return batch_; }
  Index seq() const { return seq_; }
  Index axis_count() const { return axes_; }

  /// The integer position of a token; not for Kind::reals.
  std::int64_t integer(Index batch, Index token, Index axis = 0) const {
    return kind_ == Kind::range ? start_ + token : integers_[at(batch, token, axis)];
  }
  /// The position of a token as a double, rounded where it is an integer beyond 2^53.
  double value(Index batch, Index token, Index axis = 0) const {
    return kind_ == Kind::reals ? reals_[at(batch, token, axis)]
                                : static_cast<double>(integer(batch, token, axis));
  }

 private:
  Positions(Kind kind, Index axes, Index batch, Index seq)
      : kind_(kind), axes_(axes), batch_(batch), seq_(seq) {}

  static Positions integers(std::span<const std::int64_t> list, Index axes, Index batch,
                            Index seq) {
    Positions p(Kind::integers, axes, batch, seq);
    p.integers_ = list.data();
    return p;
  }

  static Positions reals(std::span<const double> list, Index axes, Index batch, Index seq) {
    for (std::size_t i = 0; i < list.size(); ++i) {
      const double x = list[i];
      if (!detail::is_finite(x) || x >= 0x1p63 || x <= -0x1p63) {
        detail::fail(detail::text("positions[", i, "]"), detail::text(x),
                     "a finite position below 2^63 in magnitude");
      }
    }
    Positions p(Kind::reals, axes, batch, seq);
    p.reals_ = list.data();
    return p;
  }

  Index at(Index batch, Index token, Index axis) const {
    return (axis * batch_ + batch) * seq_ + token;
  }

  static void check_count(std::size_t got, Index axes, Index batch, Index seq) {
    if (batch < 1) detail::fail("batch", detail::text(batch), "a value >= 1");
    if (seq < 0) detail::fail("seq", detail::text(seq), "a value >= 0");
    Index wanted = 0;
    if (!detail::multiply_checked(batch, seq, wanted) ||
        !detail::multiply_checked(wanted, axes, wanted) || static_cast<Index>(got) != wanted) {
      detail::fail("positions", detail::text(got, " positions"),
                   detail::text(axes, " x ", batch, " x ", seq, " (axes x batch x seq)"));
    }
  }

  Kind kind_;
  Index axes_;
  Index batch_;
  Index seq_;
  std::int64_t start_ = 0;
  const std::int64_t* integers_ = nullptr;
  const double* reals_ = nullptr;
};

}  // namespace grape::inline v0
