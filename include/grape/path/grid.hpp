// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "grape/core/error.hpp"
#include "grape/path/positions.hpp"

namespace grape::inline v0 {

/// Offsets between tokens on a grid, one number m(i, j) a pair (appendix G). A bias is slope * m.
/// Where a grid has no order there is no future: every query sees every key, and who wants a mask
/// asks attention for one.
class GridPath {
 public:
  using Input = Positions;
  enum class Kind { weighted, distances, radial };

  /// m = sum over axes of w_a (r_j - r_i)_a: the linear path with an axis of its own for each
  /// generator, whose sign follows the offset.
  static GridPath weighted(std::vector<double> weights) {
    return GridPath(Kind::weighted, std::move(weights));
  }
  /// m = -sum over axes of w_a |r_j - r_i|_a.
  static GridPath distances(std::vector<double> weights) {
    return GridPath(Kind::distances, std::move(weights));
  }
  /// m = -|r_j - r_i|, the Euclidean distance on any number of axes. It is no group parameter: such
  /// offsets do not compose.
  static GridPath radial() { return GridPath(Kind::radial, {}); }

  Kind kind() const { return kind_; }
  std::span<const double> weights() const { return weights_; }

  friend bool operator==(const GridPath&, const GridPath&) = default;

 private:
  GridPath(Kind kind, std::vector<double> weights) : kind_(kind), weights_(std::move(weights)) {
    if (kind == Kind::radial) return;
    if (weights_.empty()) detail::fail("weights", "an empty list", "one weight an axis");
    for (std::size_t a = 0; a < weights_.size(); ++a) {
      if (!detail::is_finite(weights_[a])) {
        detail::fail(detail::text("weights[", a, "]"), detail::text(weights_[a]),
                     "a finite weight");
      }
    }
  }

  Kind kind_;
  std::vector<double> weights_;
};

}  // namespace grape::inline v0
