// SPDX-License-Identifier: Apache-2.0
#include "grape/math/sincos.hpp"

#include <gtest/gtest.h>

#include "support/golden.hpp"
#include "support/random.hpp"
#include "support/reference.hpp"

namespace {

using grape::cos_sin;
using grape::Index;
using grape::phase_at;
using grape::turn_of;

// Half an ulp of 1 for the result and as much for the angle, which is below 1 in its quadrant.
constexpr double kDouble = 2 * 0x1p-53;
// What sincos.hpp says of its float rows, in the tighter form that holds below 1: half an ulp of
// numbers below 1 and 3e-9.
constexpr double kFloat = 0x1p-25 + 3e-9;

constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kMin = std::numeric_limits<std::int64_t>::min();

std::vector<std::int64_t> test_positions(Random& random) {
  std::vector<std::int64_t> out{0, 1, -1, 2, 3, kMax, kMin, kMin + 1};
  for (int bit = 1; bit < 63; ++bit) {
    const std::int64_t n = std::int64_t{1} << bit;
    out.insert(out.end(), {n, -n, n - 1, -n + 1, n + 1, random.integer(-n, n)});
  }
  return out;
}

std::vector<double> test_frequencies(Random& random) {
  std::vector<double> out{0.0,
                          1.0,
                          -1.0,
                          0.5,
                          3.14159265358979312,
                          6.28318530717958623,
                          std::numeric_limits<double>::denorm_min(),
                          std::numeric_limits<double>::min(),
                          0x1p63,
                          -0x1.fffffffffffffp63};
  for (int decade = -300; decade <= 18; ++decade) {
    if (decade < -20 && decade % 20 != 0) continue;
    const double theta = std::pow(10.0, decade) * random.uniform(0.5, 5);
    out.insert(out.end(), {std::pow(10.0, decade), theta, -theta});
  }
  return out;
}

TEST(SinCos, EveryDecadeOfBothFactorsInDouble) {
  Random random(21);
  const auto positions = test_positions(random);
  for (const double theta : test_frequencies(random)) {
    const grape::Turn turn = turn_of(theta);
    for (const std::int64_t n : positions) {
      const auto got = cos_sin(phase_at(turn, n));
      const reference::Rotation want = reference::turn(theta, n);
      ASSERT_NEAR(got.cos, static_cast<double>(want.cos), kDouble) << theta << " " << n;
      ASSERT_NEAR(got.sin, static_cast<double>(want.sin), kDouble) << theta << " " << n;
    }
  }
}

TEST(SinCos, RandomFrequenciesUpToTheLastPositionInBothScalars) {
  Random random(22);
  constexpr std::int64_t kFar = (std::int64_t{1} << 31) - 1;
  for (int i = 0; i < 20000; ++i) {
    const double theta = std::pow(10.0, random.uniform(-9, 0));
    const std::int64_t n = i % 3 == 0 ? random.integer(-5000, 5000) : random.integer(-kFar, kFar);
    const reference::Rotation want = reference::turn(theta, n);
    const auto got = cos_sin(phase_at(turn_of(theta), n));
    ASSERT_NEAR(got.cos, static_cast<double>(want.cos), kDouble) << theta << " " << n;
    ASSERT_NEAR(got.sin, static_cast<double>(want.sin), kDouble) << theta << " " << n;
    const grape::TurnList list(std::vector<double>{theta});
    float c = 0, s = 0;
    grape::cos_sin_row(list, 0, 1, n, 1.0, &c, &s);
    ASSERT_NEAR(c, static_cast<double>(want.cos), kFloat) << theta << " " << n;
    ASSERT_NEAR(s, static_cast<double>(want.sin), kFloat) << theta << " " << n;
  }
}

TEST(SinCos, QuarterTurnsAndTheirNeighbours) {
  // Phases are fractions of a turn, so quarter turns are exact; around them lie the seams.
  for (int quarter = 0; quarter < 8; ++quarter) {
    const auto middle = static_cast<std::uint64_t>(quarter) << 61;
    for (int step = -3; step <= 3; ++step) {
      for (const int bit : {0, 1, 20, 31, 32, 33}) {
        const auto phase = static_cast<grape::Phase>(
            middle +
            static_cast<std::uint64_t>(static_cast<std::int64_t>(step) * (std::int64_t{1} << bit)));
        const auto got = cos_sin(phase);
        const long double angle =
            static_cast<long double>(phase) * 0x1p-64L * 6.283185307179586476925286766559005768L;
        EXPECT_NEAR(got.cos, static_cast<double>(std::cos(angle)), kDouble)
            << quarter << " " << step;
        EXPECT_NEAR(got.sin, static_cast<double>(std::sin(angle)), kDouble)
            << quarter << " " << step;
      }
    }
  }
  EXPECT_EQ(cos_sin(0).cos, 1);
  EXPECT_EQ(cos_sin(0).sin, 0);
  EXPECT_EQ(cos_sin(grape::Phase{1} << 62).sin, 1);
  EXPECT_EQ(cos_sin(grape::Phase{1} << 62).cos, 0);
  EXPECT_EQ(cos_sin(kMin).cos, -1);
  EXPECT_EQ(cos_sin(kMin).sin, 0);
}

TEST(SinCos, IsAConstantExpression) {
  static_assert(cos_sin(phase_at(turn_of(1.0), 0)).cos == 1);
  static_assert(cos_sin(phase_at(turn_of(0.5), 1)).sin > 0.4794255 &&
                cos_sin(phase_at(turn_of(0.5), 1)).sin < 0.4794256);
  SUCCEED();
}

TEST(SinCos, PhasesAreAGroup) {
  Random random(23);
  for (int i = 0; i < 5000; ++i) {
    const double theta = random.frequencies(1)[0];
    const grape::Turn turn = turn_of(theta), back = turn_of(-theta);
    const std::int64_t n = random.integer(kMin / 2, kMax / 2),
                       m = random.integer(kMin / 2, kMax / 2);
    const auto a = static_cast<std::uint64_t>(phase_at(turn, n));
    const auto b = static_cast<std::uint64_t>(phase_at(turn, m));
    const auto both =
        static_cast<std::int64_t>(static_cast<std::uint64_t>(phase_at(turn, n + m)) - a - b);
    EXPECT_LE(std::abs(both), 2);  // each of the three is rounded
    EXPECT_EQ(phase_at(turn, -n), -phase_at(turn, n));
    const auto sum = static_cast<std::int64_t>(static_cast<std::uint64_t>(phase_at(back, n)) + a);
    EXPECT_LE(std::abs(sum), 1);
  }
}

TEST(SinCos, RealPositions) {
  Random random(24);
  for (int i = 0; i < 20000; ++i) {
    const double theta = random.frequencies(1)[0];
    const double size = std::pow(10.0, random.uniform(-8, 18));
    const double x = random.uniform(-size, size);
    const auto got = cos_sin(phase_at(turn_of(theta), theta, x));
    const reference::Rotation want = reference::turn(theta, x);
    // The part behind the point is below one position: its angle is below |theta|, rounded three
    // times, and wrapped into a turn, and cut to 2^-62 turns.
    const double tolerance = kDouble + 4 * 0x1p-53 * std::fabs(theta) + 7 * 0x1p-53;
    ASSERT_NEAR(got.cos, static_cast<double>(want.cos), tolerance) << theta << " " << x;
    ASSERT_NEAR(got.sin, static_cast<double>(want.sin), tolerance) << theta << " " << x;
  }
  // Whole numbers are those of the integers, bit by bit.
  for (const std::int64_t n :
       {std::int64_t{0}, std::int64_t{5}, std::int64_t{-5}, std::int64_t{1} << 52}) {
    EXPECT_EQ(phase_at(turn_of(0.3), 0.3, static_cast<double>(n)), phase_at(turn_of(0.3), n));
  }
}

TEST(SinCos, RowsOfEveryLengthWriteTheirEntriesAlone) {
  Random random(25);
  const std::vector<double> theta = random.frequencies(140);
  const grape::TurnList turns(theta);
  ASSERT_EQ(turns.size(), 140U);
  for (Index count = 0; count <= 130; ++count) {
    const Index first = count % 10;
    const std::int64_t n = random.integer(-100000, 100000);
    const double scale = random.uniform(0.5, 2);
    std::vector<float> c(140, 7.0F), s(140, 7.0F);
    std::vector<double> cd(140, 7.0), sd(140, 7.0);
    grape::cos_sin_row(turns, first, count, n, scale, c.data() + 2, s.data() + 2);
    grape::cos_sin_row(turns, first, count, n, scale, cd.data() + 2, sd.data() + 2);
    for (Index i = 0; i < 138; ++i) {
      const auto at = static_cast<std::size_t>(i);
      if (i < 2 || i >= count + 2) {
        ASSERT_TRUE(c[at] == 7 && s[at] == 7 && cd[at] == 7 && sd[at] == 7) << count << " " << i;
        continue;
      }
      const auto want = reference::turn(theta[static_cast<std::size_t>(first + i - 2)], n);
      const double wc = scale * static_cast<double>(want.cos),
                   ws = scale * static_cast<double>(want.sin);
      // Above 1 an ulp of float is twice as large.
      ASSERT_NEAR(c[at], wc, scale * (0x1p-24 + 3e-9)) << count << " " << i;
      ASSERT_NEAR(s[at], ws, scale * (0x1p-24 + 3e-9)) << count << " " << i;
      ASSERT_NEAR(cd[at], wc, 2 * scale * kDouble) << count << " " << i;
      ASSERT_NEAR(sd[at], ws, 2 * scale * kDouble) << count << " " << i;
    }
  }
}

TEST(SinCos, FloatRowsOnBothSidesOfTheShortKernelsLimit) {
  Random random(26);
  const std::vector<double> theta = random.frequencies(64);
  const grape::TurnList turns(theta);
  const std::int64_t limit = std::int64_t{1} << 31;
  for (const std::int64_t n :
       {limit - 1, limit, limit + 1, -limit + 1, -limit, -limit - 1, kMax, kMin}) {
    float c[64], s[64];
    grape::cos_sin_row(turns, 0, 64, n, 1.0, c, s);
    for (std::size_t m = 0; m < 64; ++m) {
      const auto want = reference::turn(theta[m], n);
      EXPECT_NEAR(c[m], static_cast<double>(want.cos), kFloat) << n << " " << theta[m];
      EXPECT_NEAR(s[m], static_cast<double>(want.sin), kFloat) << n << " " << theta[m];
    }
  }
}

// `sign` times the position: both directions from one set of numbers.
void expect_golden(const std::vector<double>& theta, std::int64_t n, const double* cos,
                   const double* sin) {
  ASSERT_FALSE(theta.empty());
  const grape::TurnList turns(theta);
  const auto count = static_cast<Index>(theta.size());
  for (const int sign : {1, -1}) {
    std::vector<float> c(theta.size()), s(theta.size());
    std::vector<double> cd(theta.size()), sd(theta.size());
    grape::cos_sin_row(turns, 0, count, sign * n, 1.0, c.data(), s.data());
    grape::cos_sin_row(turns, 0, count, sign * n, 1.0, cd.data(), sd.data());
    for (std::size_t m = 0; m < theta.size(); ++m) {
      EXPECT_NEAR(c[m], cos[m], kFloat) << n << " " << m;
      EXPECT_NEAR(s[m], sign * sin[m], kFloat) << n << " " << m;
      EXPECT_NEAR(cd[m], cos[m], kDouble) << n << " " << m;
      EXPECT_NEAR(sd[m], sign * sin[m], kDouble) << n << " " << m;
    }
  }
}

static_assert(kFloat < 1.2e-7 && kDouble < 4e-16);

TEST(SinCos, GoldenLongPositions) {
  const golden::Case file = golden::load("long_positions");
  std::int64_t furthest = 0;
  for (const auto& c : file.json().at("cases")) {
    const auto cos = c.at("cos").get<std::vector<double>>();
    const auto sin = c.at("sin").get<std::vector<double>>();
    const auto n = c.at("n").get<std::int64_t>();
    expect_golden(c.at("theta").get<std::vector<double>>(), n, cos.data(), sin.data());
    furthest = std::max(furthest, n);
  }
  EXPECT_EQ(furthest, (std::int64_t{1} << 31) - 1);
}

TEST(SinCos, GoldenLongPositionsOfTheSecondSet) {
  for (const std::string& name : golden::families("long_position")) {
    SCOPED_TRACE(name);
    const golden::Case c = golden::load(name);
    const std::vector<double> theta = c.inputs("theta").data, n = c.inputs("n").data;
    const std::vector<double> cos = c.outputs("cos").data, sin = c.outputs("sin").data;
    for (std::size_t i = 0; i < n.size(); ++i) {
      expect_golden(theta, static_cast<std::int64_t>(n[i]), &cos[i * theta.size()],
                    &sin[i * theta.size()]);
    }
  }
}

TEST(SinCos, TheReferenceOfTheTestsAgreesWithTheGoldenNumbers) {
  const golden::Case file = golden::load("long_positions");
  for (const auto& c : file.json().at("cases")) {
    const auto theta = c.at("theta").get<std::vector<double>>();
    for (std::size_t m = 0; m < theta.size(); ++m) {
      const auto got = reference::turn(theta[m], c.at("n").get<std::int64_t>());
      EXPECT_NEAR(static_cast<double>(got.cos), c.at("cos")[m].get<double>(), 0x1p-53);
      EXPECT_NEAR(static_cast<double>(got.sin), c.at("sin")[m].get<double>(), 0x1p-53);
    }
  }
}

// Frequencies on both sides of pi, where a turn is no signed fraction of it any more, and positions
// on both sides of what the short kernel takes.
TEST(CosSinRow, RealPositions) {
  Random random(31);
  for (int trial = 0; trial < 40; ++trial) {
    std::vector<double> theta = random.frequencies(70);
    if (trial % 4 == 0) theta[7] = random.uniform(3.2, 100);
    if (trial % 4 == 1) theta[7] = random.integer(0, 1) == 0 ? 3.1415 : -3.1415;
    const grape::TurnList turns(theta);
    EXPECT_EQ(turns.below_pi(), trial % 4 != 0);
    const double range = std::pow(10.0, random.uniform(-3, 11));
    const double x = random.uniform(-range, range), scale = random.uniform(0.5, 2);
    const grape::Index first = random.integer(0, 7), count = 70 - first;
    std::vector<float> c(70), s(70);
    std::vector<double> c2(70), s2(70);
    grape::cos_sin_row_real(turns, theta.data(), first, count, x, scale, c.data(), s.data());
    grape::cos_sin_row_real(turns, theta.data(), first, count, x, scale, c2.data(), s2.data());
    for (grape::Index m = 0; m < count; ++m) {
      const auto i = static_cast<std::size_t>(m);
      const auto want = reference::turn(theta[static_cast<std::size_t>(first + m)], x);
      EXPECT_NEAR(c[i], scale * static_cast<double>(want.cos), scale * (0x1p-24 + 5e-9));
      EXPECT_NEAR(s[i], scale * static_cast<double>(want.sin), scale * (0x1p-24 + 5e-9));
      // The part behind the point adds 2^-52 of its angle, up to 100 radians.
      EXPECT_NEAR(c2[i], scale * static_cast<double>(want.cos), scale * 200 * 0x1p-52);
      EXPECT_NEAR(s2[i], scale * static_cast<double>(want.sin), scale * 200 * 0x1p-52);
    }
  }
}

}  // namespace
