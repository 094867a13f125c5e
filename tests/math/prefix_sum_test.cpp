// SPDX-License-Identifier: Apache-2.0
#include "grape/math/prefix_sum.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "support/random.hpp"

namespace {

using grape::CompensatedSum;
using grape::Index;

constexpr Index kTokens = 1'000'000;

struct Sums {
  std::vector<double> high, low;
  CompensatedSum at(Index t) const {
    const auto i = static_cast<std::size_t>(t);
    return {high[i], low[i]};
  }
};

Sums sums_of(const std::vector<double>& x) {
  Sums out{std::vector<double>(x.size()), std::vector<double>(x.size())};
  grape::prefix_sums(
      std::ssize(x), [&](Index t) { return x[static_cast<std::size_t>(t)]; }, out.high.data(),
      out.low.data());
  return out;
}

// Differences over spans of every length, against sums of the terms alone in long double.
double worst_error(const std::vector<double>& x, const Sums& sums, Random& random) {
  long double worst = 0;
  for (int trial = 0; trial < 300; ++trial) {
    const auto i = static_cast<Index>(random.integer(1, std::ssize(x) - 1));
    const auto span = static_cast<Index>(std::pow(10.0, random.uniform(0, 4.5)));
    const Index j = std::max<Index>(0, i - span);
    long double want = 0;
    for (Index l = j + 1; l <= i; ++l) want += x[static_cast<std::size_t>(l)];
    const long double got = grape::difference(sums.at(i), sums.at(j));
    worst = std::max(worst, std::fabs(got - want) / std::fabs(want));
  }
  return static_cast<double>(worst);
}

TEST(PrefixSum, DifferencesOfAMillionTokensKeepTheirBits) {
  // A difference rounds three times, 2^-53 each; the reference's own sums of up to 31623 terms of
  // one sign are good to 2^-64 a step, and the sums behind to 2^-105 of 3e7 a step.
  constexpr double kBound = 4 * 0x1p-53 + 31623 * 0x1p-64;
  Random random(311);
  for (const double mean : {-1e-6, -0.1, -30.0}) {
    SCOPED_TRACE(mean);
    const std::vector<double> x = random.uniforms(kTokens, 2 * mean, 0);
    EXPECT_LE(worst_error(x, sums_of(x), random), kBound);
  }
}

TEST(PrefixSum, WeakGatesAmongStrongOnesKeepTheirBits) {
  // Half of the sequence is strong, then nothing but gates of 1e-9: a double sum would lose them.
  Random random(312);
  std::vector<double> x = random.uniforms(kTokens / 2, -60, 0);
  const std::vector<double> weak = random.uniforms(kTokens / 2, -2e-9, -1e-9);
  x.insert(x.end(), weak.begin(), weak.end());
  const Sums sums = sums_of(x);
  double plain = 0;
  double lost = 0;
  for (Index t = 0; t < kTokens; ++t) {
    const double before = plain;
    plain += x[static_cast<std::size_t>(t)];
    if (t <= kTokens / 2) continue;
    const double want = x[static_cast<std::size_t>(t)];
    lost = std::max(lost, std::fabs(plain - before - want) / std::fabs(want));
    // The sums' own steps: 2^-105 of 1.5e7 is 4e-25, 4e-16 of the gate.
    const double got = grape::difference(sums.at(t), sums.at(t - 1));
    ASSERT_NEAR(got, want, (4 * 0x1p-53 + 1e-15) * std::fabs(want));
  }
  EXPECT_GT(lost, 0.5);  // so that this test is about something
}

TEST(PrefixSum, IsInclusiveMonotoneAndStillWhereGatesAreOpen) {
  const std::vector<double> x{-1, -2, 0, -0.1, 0, -1e-30, 0};
  const Sums sums = sums_of(x);
  EXPECT_EQ(sums.high[0], -1);
  EXPECT_EQ(sums.high[1], -3);
  EXPECT_EQ(grape::difference(sums.at(2), sums.at(1)), 0);
  EXPECT_EQ(grape::difference(sums.at(4), sums.at(3)), 0);
  EXPECT_LE(grape::difference(sums.at(5), sums.at(4)), 0);
  for (std::size_t t = 1; t < x.size(); ++t) EXPECT_LE(sums.high[t], sums.high[t - 1]);
}

TEST(PrefixSum, CancellationLeavesTheRest) {
  CompensatedSum sum;
  for (const double x : {1e16, 1.0, 1e-5, -1e16}) sum.add(x);
  EXPECT_NEAR(sum.high, 1.00001, 4 * 0x1p-105 * 1e16 + 0x1p-52);
}

TEST(PrefixSum, SuffixSumsAreTheTranspose) {
  Random random(313);
  const std::vector<double> x = random.uniforms(50, -1, 1), y = random.uniforms(50, -1, 1);
  const Sums prefix = sums_of(x);
  std::vector<double> suffix(50);
  Index last = 50;
  grape::suffix_sums(
      50, [&](Index t) { return y[static_cast<std::size_t>(t)]; },
      [&](Index t, double s) {
        EXPECT_EQ(t, --last);
        suffix[static_cast<std::size_t>(t)] = s;
      });
  double left = 0, right = 0;
  for (std::size_t t = 0; t < 50; ++t) {
    left += prefix.high[t] * y[t];
    right += x[t] * suffix[t];
  }
  EXPECT_NEAR(left, right, 2 * 50 * 50 * 0x1p-53);
  EXPECT_EQ(last, 0);
}

TEST(PrefixSum, OfNothing) {
  const Sums sums = sums_of({});
  EXPECT_TRUE(sums.high.empty());
  grape::suffix_sums(
      0, [](Index) { return 1.0; }, [](Index, double) { FAIL(); });
}

}  // namespace
