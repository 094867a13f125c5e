// SPDX-License-Identifier: Apache-2.0
#include "grape/spectrum/spectrum.hpp"

#include <gtest/gtest.h>

#include "support/errors.hpp"

namespace {

using grape::Spectrum;

TEST(Spectrum, HoldsItsFrequencies) {
  const Spectrum s({1.0, 0.5, 0.0});
  EXPECT_EQ(s.planes(), 3);
  EXPECT_EQ(s.sets(), 1);
  EXPECT_EQ(s.rotary_dim(), 6);
  EXPECT_EQ(s.attention_factor(), 1.0);
  EXPECT_EQ(s(0, 1), 0.5);
  EXPECT_EQ(s.frequencies().size(), 3U);
  EXPECT_EQ(Spectrum({1.0}, 1.25).attention_factor(), 1.25);
}

TEST(Spectrum, PerHeadIsSetByPlane) {
  const Spectrum s = Spectrum::per_head({1, 2, 3, 4, 5, 6}, 2, 0.5);
  EXPECT_EQ(s.sets(), 2);
  EXPECT_EQ(s.planes(), 3);
  EXPECT_EQ(s.rotary_dim(), 6);
  EXPECT_EQ(s.attention_factor(), 0.5);
  EXPECT_EQ(s(0, 2), 3);
  EXPECT_EQ(s(1, 0), 4);
}

TEST(Spectrum, NegatedTurnsTheOtherWay) {
  const Spectrum s = Spectrum::per_head({1, -2, 0, 4}, 2, 1.5).negated();
  EXPECT_EQ(s(0, 0), -1);
  EXPECT_EQ(s(0, 1), 2);
  EXPECT_EQ(s(1, 1), -4);
  EXPECT_EQ(s.sets(), 2);
  EXPECT_EQ(s.attention_factor(), 1.5);
}

TEST(Spectrum, RejectsWhatIsNoFrequency) {
  using Limits = std::numeric_limits<double>;
  for (const double bad : {Limits::quiet_NaN(), Limits::infinity(), -Limits::infinity(), 0x1p63,
                           -0x1p63, Limits::max()}) {
    EXPECT_TRUE(rejects(
        [&] {
          Spectrum({1.0, bad});
        },
        "frequencies[1]", grape::detail::text(bad), "finite frequency below 2^63"));
    EXPECT_TRUE(rejects(
        [&] {
          Spectrum::per_head({bad, 1.0}, 2);
        },
        "frequencies[0]", grape::detail::text(bad), "finite"));
  }
  EXPECT_NO_THROW(Spectrum({0x1.fffffffffffffp62, -0x1.fffffffffffffp62, 0.0}));
  for (const double bad : {0.0, -1.0, 9e-19, 2e18, Limits::quiet_NaN(), Limits::infinity()}) {
    EXPECT_TRUE(rejects([&] { Spectrum({1.0}, bad); }, "attention_factor", grape::detail::text(bad),
                        "finite value in [1e-18, 1e18]"));
  }
}

TEST(Spectrum, RejectsSetsThatDoNotDivide) {
  EXPECT_TRUE(rejects([] { Spectrum::per_head({1, 2, 3}, 2); }, "sets", "2", "3 frequencies"));
  EXPECT_TRUE(rejects([] { Spectrum::per_head({1, 2, 3}, 0); }, "sets", "0", ">= 1"));
  EXPECT_TRUE(rejects([] { Spectrum::per_head({1, 2, 3}, -3); }, "sets", "-3", ">= 1"));
}

}  // namespace
