// SPDX-License-Identifier: Apache-2.0
#include "grape/math/rodrigues.hpp"

#include <gtest/gtest.h>

#include <Eigen/Core>
#include <cmath>
#include <limits>
#include <unsupported/Eigen/AutoDiff>

namespace {

// Taylor sums below 1 and closed forms above, in long double and with terms to spare.
long double series(int offset, long double w, bool derivative) {
  long double sum = 0, power = 1;
  for (int k = 0; k < 24; ++k) {
    long double factorial = 1;
    for (int i = 2; i <= 2 * k + offset + (derivative ? 2 : 0); ++i) factorial *= i;
    sum += power / factorial * (derivative ? -(k + 1) : 1);
    power *= -w;
  }
  return sum;
}
long double exact_sinc(long double w) {
  return w < 4 ? series(1, w, false) : std::sin(std::sqrt(w)) / std::sqrt(w);
}
long double exact_versinc(long double w) {
  return w < 4 ? series(2, w, false) : (1 - std::cos(std::sqrt(w))) / w;
}
long double exact_sinc_derivative(long double w) {
  return w < 4 ? series(1, w, true) : (std::cos(std::sqrt(w)) - exact_sinc(w)) / (2 * w);
}
long double exact_versinc_derivative(long double w) {
  return w < 4 ? series(2, w, true) : (exact_sinc(w) - 2 * exact_versinc(w)) / (2 * w);
}

testing::AssertionResult near(long double got, long double want, double error) {
  if (std::fabs(got - want) <= error) return testing::AssertionSuccess();
  return testing::AssertionFailure() << got << " is " << got - want << " off, allowed " << error;
}

template <class S>
class Rodrigues : public testing::Test {};
using Scalars = testing::Types<float, double>;
TYPED_TEST_SUITE(Rodrigues, Scalars);

// Every decade of the angle, 40 points each: a few epsilon of the envelope 1/z, 1/z^2, ...; the
// angle z = sqrt(w) itself is rounded, which counts z epsilon.
TYPED_TEST(Rodrigues, IsRightInEveryDecade) {
  using S = TypeParam;
  const double eps = std::numeric_limits<S>::epsilon();
  const int lowest = std::is_same_v<S, float> ? -18 : -150;
  for (int decade = lowest; decade < 3; ++decade) {
    for (int i = 0; i < 40; ++i) {
      const auto z = static_cast<S>(std::pow(10.0, decade + i / 40.0));
      const S w = z * z;
      const double size = std::fmax(1.0, static_cast<double>(z)), error = 6 * eps * size;
      EXPECT_TRUE(near(grape::sinc_of_square(w), exact_sinc(w), error / size)) << z;
      EXPECT_TRUE(near(grape::sinc(z),
                       exact_sinc(static_cast<long double>(z) * static_cast<long double>(z)),
                       6 * eps / size))
          << z;
      EXPECT_TRUE(near(grape::versinc_of_square(w), exact_versinc(w), error / size / size)) << z;
      EXPECT_TRUE(
          near(grape::sinc_of_square_derivative(w), exact_sinc_derivative(w), error / size / size))
          << z;
      EXPECT_TRUE(near(grape::versinc_of_square_derivative(w), exact_versinc_derivative(w),
                       error / size / size / size))
          << z;
    }
  }
}

TYPED_TEST(Rodrigues, IsExactAtZero) {
  using S = TypeParam;
  EXPECT_EQ(grape::sinc_of_square(S(0)), S(1));
  EXPECT_EQ(grape::sinc(S(0)), S(1));
  EXPECT_EQ(grape::versinc_of_square(S(0)), S(0.5));
  EXPECT_EQ(grape::sinc_of_square_derivative(S(0)), S(-1) / S(6));
  EXPECT_EQ(grape::versinc_of_square_derivative(S(0)), S(-1) / S(24));
}

// Small relative errors survive multiplication by L and L^2 of any size.
TYPED_TEST(Rodrigues, FactorsMeetTheirDefinitions) {
  using S = TypeParam;
  const double eps = std::numeric_limits<S>::epsilon();
  for (const double t : {-3.0, -0.25, 1e-3, 2.0}) {
    for (int decade = -12; decade < 2; ++decade) {
      const auto delta = static_cast<S>(std::pow(10.0, decade) * 1.7);
      const auto f = grape::rodrigues(static_cast<S>(t), delta);
      const long double ld = delta, tl = static_cast<S>(t), w = tl * tl * ld;
      const double k = 12 * eps * (1 + std::sqrt(static_cast<double>(w)));
      EXPECT_TRUE(near(f.f1, tl * exact_sinc(w), k * std::fabs(t)));
      EXPECT_TRUE(near(f.f2, tl * tl * exact_versinc(w), k * t * t));
      EXPECT_TRUE(near(f.f1_dt, std::cos(std::sqrt(w)), k));
      EXPECT_EQ(f.f2_dt, f.f1);
      EXPECT_TRUE(
          near(f.f1_ddelta, tl * tl * tl * exact_sinc_derivative(w), k * std::fabs(t * t * t)));
      EXPECT_TRUE(
          near(f.f2_ddelta, tl * tl * tl * tl * exact_versinc_derivative(w), k * t * t * t * t));
    }
  }
}

TEST(RodriguesAutoDiff, DerivativesAgreeWithTheirFormulas) {
  using S = Eigen::AutoDiffScalar<Eigen::Vector2d>;
  const double eps = std::numeric_limits<double>::epsilon();
  for (const double delta : {0.0, 1e-30, 1e-8, 0.01, 0.9, 1.1, 30.0}) {
    for (const double t : {0.0, -1.5, 1e-4, 1.0}) {
      const auto f = grape::rodrigues(S(t, 2, 0), S(delta, 2, 1));
      const auto g = grape::rodrigues(t, delta);
      const double k = 40 * eps * (1 + t * t * delta);
      EXPECT_EQ(f.f1.value(), g.f1);
      EXPECT_EQ(f.f2.value(), g.f2);
      EXPECT_NEAR(f.f1.derivatives()[0], g.f1_dt, k);
      EXPECT_NEAR(f.f1.derivatives()[1], g.f1_ddelta, k);
      EXPECT_NEAR(f.f2.derivatives()[0], g.f2_dt, k);
      EXPECT_NEAR(f.f2.derivatives()[1], g.f2_ddelta, k);
    }
  }
}

}  // namespace
