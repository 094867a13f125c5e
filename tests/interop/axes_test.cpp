// SPDX-License-Identifier: Apache-2.0
#include "grape/interop/axes.hpp"

#include <gtest/gtest.h>

#include "support/errors.hpp"

namespace {

using grape::Index;
using grape::ScoreAxes;
using grape::TensorAxes;

template <class Axes>
grape::detail::Arranged arranged(const std::vector<std::int64_t>& extents, const Axes& axes) {
  return grape::detail::arrange(
      "peer", static_cast<int>(extents.size()), axes,
      [&](int r) { return extents[static_cast<std::size_t>(r)]; },
      [&](int r) { return std::int64_t{100} + r; });
}

TEST(Axes, NameEachIndexOfTheView) {
  const auto x = arranged({5, 6, 7, 8}, TensorAxes::bhld());
  EXPECT_EQ(x.extents, (std::array<Index, 4>{5, 7, 6, 8}));
  EXPECT_EQ(x.strides, (std::array<Index, 4>{100, 102, 101, 103}));
  EXPECT_EQ(arranged({5, 6, 7, 8}, TensorAxes::blhd()).extents, (std::array<Index, 4>{5, 6, 7, 8}));
  EXPECT_EQ(arranged({5, 6, 7, 8}, TensorAxes::reversed()).extents,
            (std::array<Index, 4>{8, 7, 6, 5}));
  EXPECT_EQ(arranged({6, 7, 8}, TensorAxes::lhd()).extents, (std::array<Index, 4>{1, 6, 7, 8}));
  EXPECT_EQ(arranged({6, 7, 8}, TensorAxes::hld()).extents, (std::array<Index, 4>{1, 7, 6, 8}));
  EXPECT_EQ(arranged({6, 7, 8}, TensorAxes::blh()).extents, (std::array<Index, 4>{6, 7, 8, 1}));
  EXPECT_EQ(arranged({6, 7, 8}, ScoreAxes::hqk()).extents, (std::array<Index, 4>{1, 6, 7, 8}));
  EXPECT_EQ(arranged({5, 6, 7, 8}, ScoreAxes::bhqk()).strides,
            (std::array<Index, 4>{100, 101, 102, 103}));
  EXPECT_EQ(arranged({5, 6, 7, 8}, ScoreAxes::reversed()).strides,
            (std::array<Index, 4>{103, 102, 101, 100}));
}

TEST(Axes, StrideOfASingleIndexIsNotLookedAt) {
  const auto x = grape::detail::arrange(
      "peer", 3, TensorAxes::lhd(), [](int) { return 1; }, [](int) { return -7; });
  for (const Index stride : x.strides) EXPECT_GE(stride, 0);
}

TEST(Axes, StridesOfNoElementsAreNotLookedAt) {
  const auto stride = [](int) { return std::numeric_limits<std::uint64_t>::max(); };
  const auto x = grape::detail::arrange(
      "peer", 4, TensorAxes{}, [](int r) { return r == 2 ? 0 : 5; }, stride);
  EXPECT_EQ(x.extents, (std::array<Index, 4>{5, 5, 0, 5}));
  for (const Index s : x.strides) EXPECT_GE(s, 0);
}

TEST(Axes, ATensorOfRankZeroIsOneElement) {
  const auto x = arranged({}, TensorAxes{-1, -1, -1, -1});
  EXPECT_EQ(x.extents, (std::array<Index, 4>{1, 1, 1, 1}));
  EXPECT_TRUE(rejects([] { arranged({}, TensorAxes{}); }, "peer axes", "axis 0", "0 axes"));
}

TEST(Axes, OthersAreRefused) {
  EXPECT_TRUE(rejects([] { arranged({5, 6, 7}, TensorAxes{}); }, "peer axes", "axis 3", "3 axes"));
  EXPECT_TRUE(rejects(
      [] {
        arranged({5, 6, 7, 8}, TensorAxes::lhd());
      },
      "peer axes", "3 axes", "the 4"));
  EXPECT_TRUE(rejects(
      [] {
        arranged({5, 6, 7, 8}, TensorAxes{0, 1, 1, 3});
      },
      "peer axes", "axis 1", "once"));
  EXPECT_TRUE(rejects(
      [] {
        arranged({5, 6, 7, 8}, TensorAxes{-2, 1, 2, 3});
      },
      "peer axes", "axis -2", "or -1"));
  const auto huge = [](int) { return std::numeric_limits<std::uint64_t>::max(); };
  EXPECT_TRUE(rejects([&] { grape::detail::arrange("peer", 4, TensorAxes{}, huge, huge); },
                      "peer extent 0", "18446744073709551615", "fits"));
  const auto two = [](int) { return 2; };
  EXPECT_TRUE(rejects([&] { grape::detail::arrange("peer", 4, TensorAxes{}, two, huge); },
                      "peer stride 0", "18446744073709551615", "fits"));
}

}  // namespace
