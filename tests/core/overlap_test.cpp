// SPDX-License-Identifier: Apache-2.0
#include "grape/core/overlap.hpp"

#include <gtest/gtest.h>

#include <set>

#include "support/random.hpp"

namespace {

using grape::Index;
using Digits = std::array<grape::detail::Digit, 4>;

std::vector<Index> addresses(const Digits& d, Index offset = 0) {
  std::vector<Index> out;
  for (Index i = 0; i < d[0].extent; ++i) {
    for (Index j = 0; j < d[1].extent; ++j) {
      for (Index k = 0; k < d[2].extent; ++k) {
        for (Index l = 0; l < d[3].extent; ++l) {
          out.push_back(offset + i * d[0].stride + j * d[1].stride + k * d[2].stride +
                        l * d[3].stride);
        }
      }
    }
  }
  return out;
}

Digits random_digits(Random& random, Index most_stride, Index most_extent) {
  Digits d{};
  for (auto& digit : d) {
    digit = {random.integer(0, most_stride), random.integer(1, most_extent)};
  }
  return d;
}

TEST(Overlap, OfAViewWithItselfAgreesWithBruteForce) {
  Random random(11);
  int overlapping = 0;
  const std::pair<Index, Index> sizes[] = {{4, 3}, {12, 4}, {60, 4}, {300, 7}};
  for (const auto& [stride, extent] : sizes) {
    for (int i = 0; i < 3000; ++i) {
      const Digits d = random_digits(random, stride, extent);
      std::vector<Index> all = addresses(d);
      const bool expected = std::set<Index>(all.begin(), all.end()).size() != all.size();
      overlapping += expected;
      ASSERT_EQ(grape::detail::overlaps_itself(d), expected)
          << d[0].stride << "x" << d[0].extent << " " << d[1].stride << "x" << d[1].extent << " "
          << d[2].stride << "x" << d[2].extent << " " << d[3].stride << "x" << d[3].extent;
    }
  }
  EXPECT_GT(overlapping, 1000);
  EXPECT_LT(overlapping, 11000);
}

TEST(Overlap, OfTwoViewsAgreesWithBruteForce) {
  Random random(12);
  int overlapping = 0, trials = 0;
  const std::pair<Index, Index> sizes[] = {{5, 2}, {12, 3}, {60, 3}, {200, 4}};
  for (const auto& [stride, extent] : sizes) {
    for (int i = 0; i < 3000; ++i, ++trials) {
      const Digits a = random_digits(random, stride, extent);
      const Digits b = random_digits(random, stride, extent);
      const Index offset = random.integer(-2 * stride, 2 * stride);
      const std::vector<Index> first = addresses(a), second = addresses(b, offset);
      const std::set<Index> set(first.begin(), first.end());
      const bool expected =
          std::any_of(second.begin(), second.end(), [&](Index n) { return set.contains(n); });
      overlapping += expected;
      ASSERT_EQ(grape::detail::overlap_each_other(a, b, offset), expected) << offset;
    }
  }
  EXPECT_GT(overlapping, 1000);
  EXPECT_LT(overlapping, trials - 1000);
}

TEST(Overlap, InterleavedPartsOfAFusedBufferDoNotTouch) {
  constexpr Index kBatch = 64, kSeq = 100000, kHeads = 32, kDim = 128;
  constexpr Index kToken = 3 * kHeads * kDim;
  const Digits part{{{kSeq * kToken, kBatch}, {kToken, kSeq}, {kDim, kHeads}, {1, kDim}}};
  EXPECT_FALSE(grape::detail::overlaps_itself(part));
  EXPECT_FALSE(grape::detail::overlap_each_other(part, part, kHeads * kDim));
  EXPECT_FALSE(grape::detail::overlap_each_other(part, part, 2 * kHeads * kDim));
  EXPECT_TRUE(grape::detail::overlap_each_other(part, part, kHeads * kDim - 1));
  EXPECT_TRUE(grape::detail::overlap_each_other(part, part, -kToken));
  // Fused per head: [token][head][q k v][dim].
  const Digits head{{{kSeq * kToken, kBatch}, {kToken, kSeq}, {3 * kDim, kHeads}, {1, kDim}}};
  EXPECT_FALSE(grape::detail::overlap_each_other(head, head, kDim));
  EXPECT_FALSE(grape::detail::overlap_each_other(head, head, -2 * kDim));
  EXPECT_TRUE(grape::detail::overlap_each_other(head, head, 2 * kDim + 1));
  // Even and odd elements.
  const Digits step{{{0, 1}, {2 * kDim, kSeq}, {0, 1}, {2, kDim}}};
  EXPECT_FALSE(grape::detail::overlap_each_other(step, step, 1));
  EXPECT_TRUE(grape::detail::overlap_each_other(step, step, 2));
}

TEST(Overlap, SingleElementsHaveNoStride) {
  const Digits one{{{0, 1}, {0, 1}, {5, 1}, {1, 1}}};
  EXPECT_FALSE(grape::detail::overlaps_itself(one));
  EXPECT_TRUE(grape::detail::overlap_each_other(one, one, 0));
  EXPECT_FALSE(grape::detail::overlap_each_other(one, one, 1));
  const Digits repeated{{{0, 2}, {0, 1}, {5, 1}, {1, 1}}};
  EXPECT_TRUE(grape::detail::overlaps_itself(repeated));
}

}  // namespace
