// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "grape/core/error.hpp"
#include "grape/core/scalar.hpp"
#include "grape/path/positions.hpp"

namespace grape::inline v0 {

/// The axial path: a token stands on a grid (height and width, or time, height and width) and each
/// plane turns by the coordinate of its own axis, s_m(n) = n[axis(m)] (appendix G). Planes are
/// disjoint, so the group elements of the axes commute and logits see differences of coordinates
/// alone. It takes Positions::axes or Positions::real_axes with axes() axes.
///
/// Which planes belong to an axis is what checkpoints differ in. With counts {2, 3, 3}:
///
///   sections     T T H H H W W W   Qwen2-VL, Qwen2.5-VL (mrope_section)
///   interleaved  T H W T H W H W   Qwen3-VL (mrope_interleaved): see there
///   a list       any               GLM-4V, ERNIE-VL, ..
///
/// The frequencies stay in their places: with one spectrum over all planes an axis gets a band of
/// it (sections) or every n-th of it (interleaved). For a separable encoding with a whole spectrum
/// on each axis pass spectrum::concatenated({x, y}) and sections {x.planes(), y.planes()}.
class AxialPath {
 public:
  using Input = Positions;
  static constexpr bool kShiftable = true;

  /// The axis of each plane. Throws ArgumentError unless every axis in 0 .. the largest is named.
  explicit AxialPath(std::vector<Index> axis_of_plane) : axis_of_plane_(std::move(axis_of_plane)) {
    for (std::size_t m = 0; m < axis_of_plane_.size(); ++m) {
      const Index axis = axis_of_plane_[m];
      const auto planes = static_cast<Index>(axis_of_plane_.size());
      if (axis < 0 || axis >= planes) {
        detail::fail(detail::text("axis_of_plane[", m, "]"), detail::text(axis),
                     detail::text("an axis in [0, ", planes, "), no more axes than planes"));
      }
      axes_ = axis >= axes_ ? axis + 1 : axes_;
    }
    if (axes_ == 0) detail::fail("axis_of_plane", "no planes", "at least one");
    for (Index axis = 0; axis < axes_; ++axis) {
      bool found = false;
      for (const Index a : axis_of_plane_) found = found || a == axis;
      if (!found) {
        detail::fail("axis_of_plane", detail::text("no plane of axis ", axis),
                     detail::text("planes of each of the ", axes_, " axes"));
      }
    }
  }

  /// counts[0] planes of axis 0, then counts[1] of axis 1, and so on. Throws ArgumentError unless
  /// there is a count for at least one axis and each is >= 1.
  static AxialPath sections(const std::vector<Index>& counts) {
    check_counts(counts);
    std::vector<Index> axis_of_plane;
    for (std::size_t a = 0; a < counts.size(); ++a) {
      for (Index m = 0; m < counts[a]; ++m) axis_of_plane.push_back(static_cast<Index>(a));
    }
    return AxialPath(std::move(axis_of_plane));
  }

  /// Of A axes, axis a >= 1 has the planes a, a + A, .., a + (counts[a] - 1) A, and axis 0 all
  /// others: planes take turns while an axis has some left, then axis 0 goes on alone. Throws
  /// ArgumentError as above, and where the planes of an axis do not fit among sum(counts), which
  /// would leave it fewer than its count (counts[0] must not be far below the others).
  static AxialPath interleaved(const std::vector<Index>& counts) {
    check_counts(counts);
    const auto axes = static_cast<Index>(counts.size());
    Index planes = 0;
    for (const Index count : counts) planes += count;
    std::vector<Index> axis_of_plane(static_cast<std::size_t>(planes), 0);
    for (Index a = 1; a < axes; ++a) {
      const Index count = counts[static_cast<std::size_t>(a)];
      if (a + (count - 1) * axes >= planes) {
        detail::fail(detail::text("counts[", a, "]"), detail::text(count),
                     detail::text("at most ", (planes - 1 - a + axes) / axes, ", for ", planes,
                                  " planes hold no more in every ", axes, " steps"));
      }
      for (Index i = 0; i < count; ++i) axis_of_plane[static_cast<std::size_t>(a + i * axes)] = a;
    }
    return AxialPath(std::move(axis_of_plane));
  }

  Index axes() const { return axes_; }
  Index planes() const { return static_cast<Index>(axis_of_plane_.size()); }
  /// The axis of each plane.
  std::span<const Index> axis_of_plane() const { return axis_of_plane_; }

 private:
  static void check_counts(const std::vector<Index>& counts) {
    constexpr Index kMost = Index{1} << 24;  // planes of a head, beyond reason
    if (counts.empty()) detail::fail("counts", "no axes", "a number of planes for each axis");
    for (std::size_t a = 0; a < counts.size(); ++a) {
      if (counts[a] < 1 || counts[a] > kMost) {
        detail::fail(detail::text("counts[", a, "]"), detail::text(counts[a]),
                     "a number of planes >= 1");
      }
    }
  }

  std::vector<Index> axis_of_plane_;
  Index axes_ = 0;
};

}  // namespace grape::inline v0
