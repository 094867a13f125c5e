// SPDX-License-Identifier: Apache-2.0
#include "grape/encoder/heads.hpp"

#include <gtest/gtest.h>

#include "support/errors.hpp"

namespace {

using grape::Index;
using grape::parameter_set;

TEST(Heads, SetsAreContiguousGroupsOfEqualSize) {
  for (Index sets = 1; sets <= 6; ++sets) {
    for (Index group = 1; group <= 5; ++group) {
      for (Index h = 0; h < sets * group; ++h) {
        EXPECT_EQ(parameter_set(h, sets * group, sets), h / group);
      }
    }
  }
  static_assert(parameter_set(7, 8, 2) == 1);
}

TEST(Heads, AQueryHeadAndItsKeyHeadShareASet) {
  // Key head h * kKeys / kQueries serves query head h.
  constexpr Index kQueries = 12, kKeys = 4;
  for (const Index sets : {1, 2, 4}) {
    for (Index h = 0; h < kQueries; ++h) {
      EXPECT_EQ(parameter_set(h, kQueries, sets), parameter_set(h * kKeys / kQueries, kKeys, sets));
    }
  }
}

TEST(Heads, CountsMustBeMultiplesOfTheSets) {
  EXPECT_NO_THROW(grape::detail::check_heads("q", 5, 1));
  EXPECT_NO_THROW(grape::detail::check_heads("q", 6, 3));
  EXPECT_TRUE(
      rejects([] { grape::detail::check_heads("q", 5, 2); }, "q", "5 heads", "multiple of the 2"));
  EXPECT_TRUE(
      rejects([] { grape::detail::check_heads("k", 2, 4); }, "k", "2 heads", "multiple of the 4"));
}

}  // namespace
