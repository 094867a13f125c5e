// SPDX-License-Identifier: Apache-2.0
#include "grape/path/axial.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "support/errors.hpp"

namespace {

using grape::AxialPath;
using grape::Index;

std::vector<Index> axes_of(const AxialPath& path) {
  return {path.axis_of_plane().begin(), path.axis_of_plane().end()};
}

TEST(AxialPath, SectionsFollowEachOther) {
  const AxialPath path = AxialPath::sections({2, 3, 1});
  EXPECT_EQ(path.axes(), 3);
  EXPECT_EQ(path.planes(), 6);
  EXPECT_EQ(axes_of(path), (std::vector<Index>{0, 0, 1, 1, 1, 2}));
}

TEST(AxialPath, InterleavedTakesTurns) {
  EXPECT_EQ(axes_of(AxialPath::interleaved({4, 2, 2})),
            (std::vector<Index>{0, 1, 2, 0, 1, 2, 0, 0}));
  EXPECT_EQ(axes_of(AxialPath::interleaved({3, 3, 2})),
            (std::vector<Index>{0, 1, 2, 0, 1, 2, 0, 1}));
}

// freqs_t[..., a : 3 * section[a] : 3] = freqs[a, ..., the same], as Qwen3-VL has it.
TEST(AxialPath, InterleavedAsCheckpointsHaveIt) {
  for (const std::vector<Index>& counts :
       {std::vector<Index>{24, 20, 20}, std::vector<Index>{11, 11, 10}, std::vector<Index>{9, 7},
        std::vector<Index>{5}}) {
    const auto axes = static_cast<Index>(counts.size());
    Index planes = 0;
    for (const Index count : counts) planes += count;
    std::vector<Index> want(static_cast<std::size_t>(planes), 0);
    for (Index a = 1; a < axes; ++a) {
      for (Index m = a; m < axes * counts[static_cast<std::size_t>(a)]; m += axes) {
        want[static_cast<std::size_t>(m)] = a;
      }
    }
    const AxialPath path = AxialPath::interleaved(counts);
    EXPECT_EQ(axes_of(path), want);
    for (Index a = 0; a < axes; ++a) {
      EXPECT_EQ(std::count(want.begin(), want.end(), a), counts[static_cast<std::size_t>(a)]);
    }
  }
}

TEST(AxialPath, RejectsWhatIsNoPath) {
  using Counts = std::vector<Index>;
  EXPECT_TRUE(rejects([] { AxialPath::sections({}); }, "counts", "no axes", "each axis"));
  EXPECT_TRUE(rejects([] { AxialPath::sections({2, 0}); }, "counts[1]", "0", ">= 1"));
  EXPECT_TRUE(rejects([] { AxialPath::interleaved({-1, 2}); }, "counts[0]", "-1", ">= 1"));
  EXPECT_TRUE(rejects([] { AxialPath::interleaved({2, 3, 3}); }, "counts[2]", "3", "at most 2"));
  EXPECT_TRUE(rejects([] { AxialPath::interleaved({1, 4}); }, "counts[1]", "4", "at most 2"));
  EXPECT_TRUE(rejects([] { AxialPath(Counts{}); }, "axis_of_plane", "no planes", "at least one"));
  EXPECT_TRUE(rejects(
      [] {
        AxialPath(Counts{0, 2, 2});
      },
      "axis_of_plane", "no plane of axis 1", "each of the 3 axes"));
  EXPECT_TRUE(rejects([] { AxialPath(Counts{0, -1}); }, "axis_of_plane[1]", "-1", "[0, 2)"));
  EXPECT_TRUE(rejects([] { AxialPath(Counts{0, 1, 7}); }, "axis_of_plane[2]", "7", "[0, 3)"));
}

}  // namespace
