// SPDX-License-Identifier: Apache-2.0
#include "grape/generator/unipotent.hpp"

#include <gtest/gtest.h>

#include "support/errors.hpp"

namespace {

using Generator = grape::UnipotentGenerator<float>;

static_assert(grape::Generator<Generator>);
static_assert(grape::Generator<grape::UnipotentGenerator<Eigen::bfloat16>>);
static_assert(std::same_as<Generator::Kind, grape::NilpotentGenerator>);

TEST(UnipotentGenerator, HoldsTheSlopes) {
  const Generator g({0.5, 0.0, -2.0});
  EXPECT_EQ(g.sets(), 3);
  EXPECT_EQ(g.slopes()[2], -2.0);
  const Generator standard(6, grape::LinearPath{});
  EXPECT_EQ(std::vector<double>(standard.slopes().begin(), standard.slopes().end()),
            grape::alibi_slopes(6));
}

TEST(UnipotentGenerator, RejectsWhatIsNoSlope) {
  EXPECT_TRUE(rejects([] { Generator(std::vector<double>{}); }, "slopes", "empty", "one slope"));
  using Limits = std::numeric_limits<double>;
  for (const double bad : {Limits::quiet_NaN(), Limits::infinity(), -Limits::infinity()}) {
    EXPECT_TRUE(rejects(
        [&] {
          Generator({1.0, bad});
        },
        "slopes[1]", grape::detail::text(bad), "finite slope"));
  }
  EXPECT_TRUE(rejects([] { grape::UnipotentGenerator<float>({1e39}); }, "slopes[0]", "e+3",
                      "finite slope"));  // infinite as a float
  EXPECT_TRUE(rejects([] { Generator(0, grape::LinearPath{}); }, "heads", "0", ">= 1"));
}

}  // namespace
