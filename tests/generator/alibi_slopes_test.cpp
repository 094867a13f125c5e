// SPDX-License-Identifier: Apache-2.0
#include "grape/generator/alibi_slopes.hpp"

#include <gtest/gtest.h>

#include "support/errors.hpp"
#include "support/golden.hpp"

namespace {

void expect_slopes(const std::vector<double>& got, const std::vector<double>& want) {
  ASSERT_EQ(got.size(), want.size());
  ASSERT_FALSE(want.empty());
  // The reference takes powers of a rounded ratio: 8 H roundings at most.
  for (std::size_t h = 0; h < want.size(); ++h) {
    EXPECT_NEAR(got[h] / want[h], 1, 8 * static_cast<double>(want.size()) * 0x1p-53) << h;
  }
}

TEST(AlibiSlopes, Golden) {
  int cases = 0;
  for (const std::string& name : golden::families("alibi_slopes")) {
    SCOPED_TRACE(name);
    const golden::Case c = golden::load(name);
    if (c.json().contains("slopes")) {
      for (const auto& [heads, slopes] : c.json().at("slopes").items()) {
        expect_slopes(grape::alibi_slopes(std::stol(heads)), slopes.get<std::vector<double>>());
        ++cases;
      }
    } else {
      expect_slopes(grape::alibi_slopes(c.config<int>("n_heads")), c.outputs("slopes").data);
      ++cases;
    }
  }
  EXPECT_GT(cases, 40);
}

TEST(AlibiSlopes, PowersOfTwoAreTheFormula) {
  for (const grape::Index heads : {1, 2, 4, 8, 64, 1024}) {
    const std::vector<double> slopes = grape::alibi_slopes(heads);
    ASSERT_EQ(slopes.size(), static_cast<std::size_t>(heads));
    EXPECT_EQ(slopes.back(), 0x1p-8);
    for (std::size_t h = 1; h < slopes.size(); ++h) EXPECT_LT(slopes[h], slopes[h - 1]);
  }
}

TEST(AlibiSlopes, AnyNumberOfHeadsHasPositiveSlopesOfItsOwn) {
  for (grape::Index heads = 1; heads <= 130; ++heads) {
    std::vector<double> slopes = grape::alibi_slopes(heads);
    ASSERT_EQ(slopes.size(), static_cast<std::size_t>(heads));
    std::sort(slopes.begin(), slopes.end());
    EXPECT_GT(slopes.front(), 0);
    EXPECT_LE(slopes.back(), 1);
    EXPECT_EQ(std::adjacent_find(slopes.begin(), slopes.end()), slopes.end()) << heads;
  }
}

TEST(AlibiSlopes, RejectsNoHeads) {
  EXPECT_TRUE(rejects([] { grape::alibi_slopes(0); }, "heads", "0", ">= 1"));
  EXPECT_TRUE(rejects([] { grape::alibi_slopes(-4); }, "heads", "-4", ">= 1"));
}

}  // namespace
