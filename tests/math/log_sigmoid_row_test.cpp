// SPDX-License-Identifier: Apache-2.0
#include "grape/math/detail/log_sigmoid_row.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "support/random.hpp"

namespace {

// Float inputs of every size and both signs, in a row whose length is no multiple of a register.
std::vector<float> inputs() {
  Random random(601);
  std::vector<float> x{0.0F, -0.0F};
  for (int i = 0; i < 40001; ++i) {
    const double size = std::pow(10.0, random.uniform(-30, 2.1));
    x.push_back(static_cast<float>(random.integer(0, 1) == 0 ? size : -size));
  }
  for (int i = 0; i < 40000; ++i) x.push_back(static_cast<float>(random.uniform(-20, 20)));
  return x;
}

// An ulp of a float near `value`.
double ulp(double value) {
  const double size = std::max(std::fabs(value), 0x1p-126);
  return std::ldexp(1.0, std::ilogb(size) - 23);
}

TEST(LogSigmoidRow, OfFloatsIsWithinFourUlp) {
  const std::vector<float> x = inputs();
  std::vector<float> g = x, d(x.size());
  grape::detail::log_sigmoid_derivative_row(x.data(), static_cast<grape::Index>(x.size()),
                                            d.data());
  grape::detail::log_sigmoid_row(g.data(), static_cast<grape::Index>(g.size()));
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double exact = grape::log_sigmoid(static_cast<double>(x[i]));
    ASSERT_NEAR(g[i], exact, 4 * ulp(exact)) << x[i];
    const double slope = grape::log_sigmoid_derivative(static_cast<double>(x[i]));
    ASSERT_NEAR(d[i], slope, 4 * ulp(slope)) << x[i];
    ASSERT_LE(g[i], 0);
  }
}

TEST(LogSigmoidRow, OfDoublesIsTheFunction) {
  Random random(602);
  const std::vector<double> x = random.uniforms(37, -50, 50);
  std::vector<double> g = x, d(x.size());
  grape::detail::log_sigmoid_derivative_row(x.data(), 37, d.data());
  grape::detail::log_sigmoid_row(g.data(), 37);
  for (std::size_t i = 0; i < x.size(); ++i) {
    EXPECT_EQ(g[i], grape::log_sigmoid(x[i]));
    EXPECT_EQ(d[i], grape::log_sigmoid_derivative(x[i]));
  }
}

TEST(LogSigmoidRow, KnowsInfinityAndNaN) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const std::size_t count : {std::size_t{1}, std::size_t{64}}) {  // alone and in a register
    for (const float x : {kInfinity, -kInfinity, nan, 200.0F, -200.0F}) {
      std::vector<float> g(count, x), d(count);
      const auto n = static_cast<grape::Index>(count);
      grape::detail::log_sigmoid_derivative_row(g.data(), n, d.data());
      grape::detail::log_sigmoid_row(g.data(), n);
      if (std::isnan(x)) {
        EXPECT_TRUE(std::isnan(g[0]) && std::isnan(d[0]));
      } else {
        EXPECT_EQ(g[0], x > 0 ? 0 : x);
        EXPECT_EQ(d[0], x > 0 ? 0 : 1);
      }
    }
  }
}

}  // namespace
