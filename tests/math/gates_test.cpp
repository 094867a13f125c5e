// SPDX-License-Identifier: Apache-2.0
#include "grape/math/gates.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "support/random.hpp"

namespace {

template <class A>
class GatesOf : public testing::Test {};
using Accumulators = testing::Types<float, double>;
TYPED_TEST_SUITE(GatesOf, Accumulators);

long double exact_softplus(long double x) {
  return (x > 0 ? x : 0) + std::log1p(std::exp(-std::fabs(x)));
}
long double exact_sigmoid(long double x) {
  return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x));
}

// Up to 12 ulp: exp of the standard library (1), log1p (1) and four more roundings, doubled.
template <class A>
void expect_near(A got, long double want) {
  const long double unit = std::numeric_limits<A>::epsilon();
  const long double least = std::numeric_limits<A>::min();  // subnormal numbers may go to zero
  EXPECT_LE(std::fabs(static_cast<long double>(got) - want), 12 * unit * std::fabs(want) + least)
      << got << " " << static_cast<double>(want);
}

TYPED_TEST(GatesOf, AreTheirDefinitionsInEveryDecade) {
  using A = TypeParam;
  Random random(301);
  for (int i = 0; i < 4000; ++i) {
    const double sign = random.integer(0, 1) == 0 ? -1 : 1;
    const auto x = static_cast<A>(sign * std::pow(10.0, random.uniform(-12, 2.8)));
    SCOPED_TRACE(x);
    const long double z = x;
    expect_near(grape::sigmoid(x), exact_sigmoid(z));
    expect_near(grape::sigmoid_derivative(x), exact_sigmoid(z) * exact_sigmoid(-z));
    expect_near(grape::softplus(x), exact_softplus(z));
    expect_near(grape::softplus_derivative(x), exact_sigmoid(z));
    expect_near(grape::log_sigmoid(x), -exact_softplus(-z));
    expect_near(grape::log_sigmoid_derivative(x), exact_sigmoid(-z));
    EXPECT_LE(grape::log_sigmoid(x), 0);
  }
}

TYPED_TEST(GatesOf, AreExactAtTheExtremes) {
  using A = TypeParam;
  constexpr A kInfinity = std::numeric_limits<A>::infinity();
  for (const A x : {std::numeric_limits<A>::max(), kInfinity}) {
    EXPECT_EQ(grape::sigmoid(x), 1);
    EXPECT_EQ(grape::sigmoid(-x), 0);
    EXPECT_EQ(grape::sigmoid_derivative(x), 0);
    EXPECT_EQ(grape::sigmoid_derivative(-x), 0);
    EXPECT_EQ(grape::softplus(x), x);
    EXPECT_EQ(grape::softplus(-x), 0);
    EXPECT_EQ(grape::log_sigmoid(x), 0);
    EXPECT_EQ(grape::log_sigmoid(-x), -x);
    EXPECT_EQ(grape::log_sigmoid_derivative(x), 0);
    EXPECT_EQ(grape::log_sigmoid_derivative(-x), 1);
  }
  EXPECT_EQ(grape::sigmoid(A(0)), A(0.5));
  EXPECT_EQ(grape::log_sigmoid(A(0)), -grape::softplus(A(0)));
  const A nan = std::numeric_limits<A>::quiet_NaN();
  EXPECT_TRUE(std::isnan(grape::log_sigmoid(nan)));
  EXPECT_TRUE(std::isnan(grape::softplus(nan)));
  EXPECT_TRUE(std::isnan(grape::sigmoid(nan)));
}

}  // namespace
