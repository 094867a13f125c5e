// SPDX-License-Identifier: Apache-2.0
#include "grape/core/scalar.hpp"

#include <gtest/gtest.h>

#include <Eigen/Core>

namespace {

using grape::accumulation_t;
using grape::Accumulator;
using grape::Element;

static_assert(Element<float> && Element<double> && Element<Eigen::half> &&
              Element<Eigen::bfloat16>);
static_assert(Element<const float> && Element<const Eigen::bfloat16>);
static_assert(!Element<int> && !Element<long double> && !Element<float&> && !Element<void>);
static_assert(Accumulator<float> && Accumulator<double>);
static_assert(!Accumulator<Eigen::half> && !Accumulator<const float> && !Accumulator<int>);
static_assert(std::same_as<accumulation_t<double>, double>);
static_assert(std::same_as<accumulation_t<const double>, double>);
static_assert(std::same_as<accumulation_t<float>, float>);
static_assert(std::same_as<accumulation_t<Eigen::half>, float>);
static_assert(std::same_as<accumulation_t<const Eigen::bfloat16>, float>);

TEST(Scalar, FinitenessIsReadFromTheBits) {
  using Limits = std::numeric_limits<double>;
  for (const double x : {0.0, -0.0, 1.0, -1e300, Limits::max(), Limits::lowest(), Limits::min(),
                         Limits::denorm_min()}) {
    EXPECT_TRUE(grape::detail::is_finite(x)) << x;
  }
  for (const double x : {Limits::infinity(), -Limits::infinity(), Limits::quiet_NaN(),
                         -Limits::quiet_NaN(), Limits::signaling_NaN()}) {
    EXPECT_FALSE(grape::detail::is_finite(x)) << x;
  }
  static_assert(grape::detail::is_finite(1.0) && !grape::detail::is_finite(Limits::infinity()));
}

TEST(Scalar, MultiplyCheckedFindsTheLastProductThatFits) {
  constexpr grape::Index kMost = std::numeric_limits<grape::Index>::max();
  grape::Index product = -1;
  EXPECT_TRUE(grape::detail::multiply_checked(kMost, 1, product));
  EXPECT_EQ(product, kMost);
  EXPECT_TRUE(grape::detail::multiply_checked(kMost, 0, product));
  EXPECT_EQ(product, 0);
  for (const grape::Index b : {2, 3, 7, 1000, 65537}) {
    EXPECT_TRUE(grape::detail::multiply_checked(kMost / b, b, product));
    EXPECT_EQ(product, kMost / b * b);
    EXPECT_FALSE(grape::detail::multiply_checked(kMost / b + 1, b, product)) << b;
    EXPECT_FALSE(grape::detail::multiply_checked(b, kMost / b + 1, product)) << b;
  }
}

}  // namespace
