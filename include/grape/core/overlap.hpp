// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <numeric>

#include "grape/core/scalar.hpp"

namespace grape::inline v0 {
namespace detail {

/// One digit of a strided address: stride * t with 0 <= t < extent.
struct Digit {
  Index stride;
  Index extent;
};

/// Up to eight digits of one address, each in [low, high].
struct DigitRange {
  Index stride, low, high;
};
using DigitRanges = std::array<DigitRange, 8>;

/// Largest stride first. (By insertion: std::sort takes an includer longer to compile than these
/// few to sort.)
inline void sort_by_stride(DigitRanges& ranges) {
  for (std::size_t i = 1; i < ranges.size(); ++i) {
    const DigitRange moved = ranges[i];
    std::size_t k = i;
    for (; k > 0 && ranges[k - 1].stride < moved.stride; --k) ranges[k] = ranges[k - 1];
    ranges[k] = moved;
  }
}

/// Searches integers t_i in [low_i, high_i] with sum_i stride_i * t_i = target, largest stride
/// first; what the smaller strides can still reach bounds each digit, so usual layouts need a step
/// or two.
class DigitSearch {
 public:
  explicit DigitSearch(const DigitRanges& sorted) : ranges_(sorted) {
    for (std::size_t i = N; i-- > 0;) {
      min_[i] = min_[i + 1] + ranges_[i].stride * ranges_[i].low;
      max_[i] = max_[i + 1] + ranges_[i].stride * ranges_[i].high;
      gcd_[i] = std::gcd(gcd_[i + 1], ranges_[i].stride);
    }
  }

  /// Whether a solution exists; with `nonzero`, one other than t = 0. A search that grows past its
  /// budget answers true: such strides are refused rather than trusted.
  bool solvable(Index target, bool nonzero) { return visit(0, target, !nonzero); }

 private:
  static constexpr std::size_t N = 8;

  bool visit(std::size_t i, Index rest, bool moved) {
    if (++visited_ > kBudget) return true;
    if (rest < min_[i] || rest > max_[i]) return false;
    if (i == N) return moved;
    if (gcd_[i] == 0) {  // only zero strides are left: any digit may move freely
      if (moved) return true;
      for (std::size_t k = i; k < N; ++k) {
        if (ranges_[k].low < ranges_[k].high) return true;
      }
      return false;
    }
    if (rest % gcd_[i] != 0) return false;
    const DigitRange& r = ranges_[i];
    if (r.stride == 0) return visit(i + 1, rest, moved || r.low < r.high);
    // rest - stride * t must be within what the later digits reach.
    const Index low = (std::max)(r.low, ceil_div(rest - max_[i + 1], r.stride));
    const Index high = (std::min)(r.high, floor_div(rest - min_[i + 1], r.stride));
    for (Index t = low; t <= high; ++t) {
      if (visit(i + 1, rest - r.stride * t, moved || t != 0)) return true;
    }
    return false;
  }

  static Index floor_div(Index a, Index b) { return a / b - (a % b != 0 && a < 0); }
  static Index ceil_div(Index a, Index b) { return a / b + (a % b != 0 && a > 0); }

  static constexpr int kBudget = 100000;
  DigitRanges ranges_;
  std::array<Index, N + 1> min_{}, max_{}, gcd_{};
  int visited_ = 0;
};

/// Whether two different index tuples of one strided view name the same element.
inline bool overlaps_itself(const std::array<Digit, 4>& digits) {
  DigitRanges ranges{};
  for (std::size_t i = 0; i < 4; ++i) {
    ranges[i] = {digits[i].stride, 1 - digits[i].extent, digits[i].extent - 1};
  }
  sort_by_stride(ranges);
  // The usual layouts are nested: every stride steps over all that the smaller ones reach.
  Index reach = 0;
  bool nested = true;
  for (std::size_t i = ranges.size(); i-- > 0;) {
    if (ranges[i].high > 0) {
      nested = nested && ranges[i].stride > reach;
      reach += ranges[i].high * ranges[i].stride;
    }
  }
  return !nested && DigitSearch(ranges).solvable(0, true);
}

/// Whether two non-empty strided views of one element type share an element; `offset` is the second
/// view's first element minus the first view's, in elements.
inline bool overlap_each_other(const std::array<Digit, 4>& first,
                               const std::array<Digit, 4>& second, Index offset) {
  Index reach_first = 0, reach_second = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    reach_first += (first[i].extent - 1) * first[i].stride;
    reach_second += (second[i].extent - 1) * second[i].stride;
  }
  if (offset > reach_first || -offset > reach_second) return false;
  DigitRanges ranges{};
  for (std::size_t i = 0; i < 4; ++i) {
    ranges[i] = {first[i].stride, 0, first[i].extent - 1};
    ranges[i + 4] = {second[i].stride, 1 - second[i].extent, 0};
  }
  // Digits of one stride reach every sum of theirs: as one digit they keep the search short where
  // both views step through a fused buffer alike.
  for (std::size_t i = 0; i < 8; ++i) {
    for (std::size_t k = i + 1; k < 8; ++k) {
      if (ranges[k].stride != ranges[i].stride) continue;
      ranges[i].low += ranges[k].low;
      ranges[i].high += ranges[k].high;
      ranges[k] = {0, 0, 0};
    }
  }
  sort_by_stride(ranges);
  return DigitSearch(ranges).solvable(offset, false);
}

}  // namespace detail
}  // namespace grape::inline v0
