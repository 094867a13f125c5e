// SPDX-License-Identifier: Apache-2.0
#include "grape/encoder/rotation_action.hpp"

#include <gtest/gtest.h>

#include "grape/presets.hpp"
#include "grape/spectrum/log_uniform.hpp"
#include "support/errors.hpp"
#include "support/random.hpp"
#include "support/reference.hpp"

namespace {

using grape::Index;
using grape::Positions;
using grape::RotationAction;
using grape::Spectrum;

// Half an ulp below 1 and 3e-9 in float (sincos.hpp); in double half an ulp for the value, the
// angle and a product.
template <class A>
constexpr double kEntry = std::same_as<A, float> ? 0x1p-25 + 3e-9 : 3 * 0x1p-53;

// Compares every entry with the exact cosine and sine.
template <class A, class PositionOf>
void expect_exact(const RotationAction<A>& action, const Spectrum& spectrum,
                  const PositionOf& position) {
  ASSERT_EQ(action.sets(), spectrum.sets());
  ASSERT_EQ(action.planes(), spectrum.planes());
  const double factor = spectrum.attention_factor();
  // A factor moves entries above 1, where an ulp is larger.
  const double tolerance = factor == 1 ? kEntry<A> : 2 * factor * kEntry<A>;
  for (Index b = 0; b < action.batch(); ++b) {
    for (Index t = 0; t < action.seq(); ++t) {
      for (Index s = 0; s < action.sets(); ++s) {
        for (Index m = 0; m < action.planes(); ++m) {
          const auto got = action.element(b, t, s, m);
          const reference::Rotation want = reference::turn(spectrum(s, m), position(b, t));
          ASSERT_NEAR(got.cos, factor * static_cast<double>(want.cos), tolerance)
              << b << " " << t << " " << s << " " << m;
          ASSERT_NEAR(got.sin, factor * static_cast<double>(want.sin), tolerance)
              << b << " " << t << " " << s << " " << m;
        }
      }
    }
  }
}

template <class A>
void expect_exact_range(const Spectrum& spectrum, std::int64_t start, Index count) {
  SCOPED_TRACE(testing::Message() << start << " + " << count << ", " << spectrum.planes() << " x "
                                  << spectrum.sets());
  const auto action = grape::RoPE<A>(spectrum).at(Positions::range(start, count));
  ASSERT_EQ(action.batch(), 1);
  ASSERT_EQ(action.seq(), count);
  expect_exact(action, spectrum, [&](Index, Index t) { return start + t; });
}

template <class A>
class RotationActionOf : public testing::Test {};
using Accumulators = testing::Types<float, double>;
TYPED_TEST_SUITE(RotationActionOf, Accumulators);

TYPED_TEST(RotationActionOf, ShortRangesOfEveryPlaneCount) {
  Random random(51);
  for (Index planes = 1; planes <= 70; ++planes) {
    const std::int64_t start = random.integer(-100000, 100000);
    expect_exact_range<TypeParam>(Spectrum(random.frequencies(planes)), start, 1 + planes % 5);
  }
}

TYPED_TEST(RotationActionOf, LongRangesAreExactInEveryEntry) {
  Random random(52);
  const Spectrum standard = grape::spectrum::log_uniform(32, 10000.0);
  for (const Index count : {1023, 1024, 1025, 1056, 2047}) {
    expect_exact_range<TypeParam>(standard, 0, count);
  }
  constexpr std::int64_t kFar = std::int64_t{1} << 31;
  const std::vector<double> theta = random.frequencies(9);
  expect_exact_range<TypeParam>(Spectrum(theta), kFar - 700, 1300);
  expect_exact_range<TypeParam>(Spectrum(theta), -kFar - 700, 1300);
  expect_exact_range<TypeParam>(Spectrum(theta), -600, 1200);
  expect_exact_range<TypeParam>(Spectrum::per_head(random.frequencies(12), 4), 77, 1100);
  expect_exact_range<TypeParam>(Spectrum(theta, 1.4), 12345, 1100);
  // Long rows: 3 sets of 100 planes.
  expect_exact_range<TypeParam>(Spectrum::per_head(random.frequencies(300), 3), -5, 1024);
}

TYPED_TEST(RotationActionOf, LongHeadOfTheDefaultSpectrum) {
  expect_exact_range<TypeParam>(grape::spectrum::log_uniform(128, 500000.0), 130000, 1100);
}

TYPED_TEST(RotationActionOf, PerTokenPositionsUpToTheLast) {
  Random random(53);
  constexpr std::int64_t kFar = (std::int64_t{1} << 31) - 1;
  const Spectrum spectrum = Spectrum::per_head(random.frequencies(10), 2);
  std::vector<std::int64_t> list = random.integers(30, -kFar, kFar);
  list[0] = kFar;
  list[1] = -kFar;
  list[2] = std::numeric_limits<std::int64_t>::max();
  list[3] = std::numeric_limits<std::int64_t>::min();
  const auto at = [&](Index i) { return list[static_cast<std::size_t>(i)]; };
  const grape::RoPE<TypeParam> rope(spectrum);
  const auto each = rope.at(Positions::per_token(list, 3, 10));
  EXPECT_EQ(each.batch(), 3);
  EXPECT_EQ(each.seq(), 10);
  expect_exact(each, spectrum, [&](Index b, Index t) { return at(b * 10 + t); });
  const auto shared = rope.at(Positions::shared(list));
  EXPECT_EQ(shared.batch(), 1);
  EXPECT_EQ(shared.seq(), 30);
  expect_exact(shared, spectrum, [&](Index, Index t) { return at(t); });
  for (Index t = 0; t < 30; ++t) EXPECT_EQ(shared.position(0, t), static_cast<double>(at(t)));
  EXPECT_EQ(each.position(2, 4), static_cast<double>(at(24)));
  EXPECT_EQ(rope.at(Positions::range(7, 3)).position(0, 2), 9.0);
}

TYPED_TEST(RotationActionOf, RealPositions) {
  Random random(54);
  const Spectrum spectrum(random.frequencies(7), 0.75);
  std::vector<double> list = random.uniforms(40, -5000, 5000);
  list[0] = 1e15 + 0.5;
  const auto action = grape::RoPE<TypeParam>(spectrum).at(Positions::real(list));
  const double unit = std::same_as<TypeParam, float> ? 0x1p-24 : 14 * 0x1p-53;
  for (Index t = 0; t < 40; ++t) {
    const double x = list[static_cast<std::size_t>(t)];
    EXPECT_EQ(action.position(0, t), x);
    for (Index m = 0; m < 7; ++m) {
      const auto want = reference::turn(spectrum(0, m), x);
      EXPECT_NEAR(action.element(0, t, 0, m).cos, 0.75 * static_cast<double>(want.cos), unit);
      EXPECT_NEAR(action.element(0, t, 0, m).sin, 0.75 * static_cast<double>(want.sin), unit);
    }
  }
}

TEST(RotationAction, ZeroTailIsNotTurned) {
  const Spectrum spectrum = grape::spectrum::proportional(16, 10000.0, 0.25);
  const auto action = grape::RoPE<float>(spectrum).at(Positions::range(1000, 3));
  EXPECT_EQ(action.planes(), 8);
  EXPECT_EQ(action.turning_planes(), 2);
  EXPECT_EQ(action.required_dim(), 16);
  expect_exact(action, spectrum, [](Index, Index t) { return std::int64_t{1000} + t; });
  EXPECT_EQ(action.element(0, 2, 0, 7).cos, 1);
  EXPECT_EQ(action.element(0, 2, 0, 7).sin, 0);
  // With a factor the tail is scaled, so it counts.
  const Spectrum scaled({1.0, 0.0}, 2.0);
  const auto other = grape::RoPE<float>(scaled).at(Positions::range(4, 1));
  EXPECT_EQ(other.turning_planes(), 2);
  EXPECT_EQ(other.element(0, 0, 0, 1).cos, 2);
  // A tail counts only where all sets have it.
  const auto sets = grape::RoPE<float>(Spectrum::per_head({1.0, 0.0, 0.5, 0.5}, 2));
  EXPECT_EQ(sets.at(Positions::range(0, 1)).turning_planes(), 2);
}

TEST(RotationAction, TellsItsShape) {
  const grape::RoPE<float, grape::Pairing::half_split> rope(
      Spectrum::per_head({1, 2, 3, 4}, 2, 1.5), grape::RotarySlice{5});
  const auto action = rope.at(Positions::range(0, 6));
  EXPECT_EQ(action.pairing(), grape::Pairing::half_split);
  EXPECT_EQ(action.first_coordinate(), 5);
  EXPECT_EQ(action.required_dim(), 9);
  EXPECT_EQ(action.sets(), 2);
  EXPECT_EQ(action.planes(), 2);
  EXPECT_EQ(action.attention_factor(), 1.5);
  const RotationAction<float> none;
  EXPECT_EQ(none.seq(), 0);
  EXPECT_EQ(none.batch(), 1);
  EXPECT_TRUE(rejects([&] { none.element(0, 0, 0, 0); }, "token", "0", "[0, 0)"));
}

TEST(RotationAction, ElementRejectsIndicesOutOfRange) {
  for (const Index count : {4, 1100}) {
    const auto action =
        grape::RoPE<float>(Spectrum::per_head({1, 2, 3, 4}, 2)).at(Positions::range(0, count));
    EXPECT_TRUE(rejects([&] { action.element(1, 0, 0, 0); }, "batch", "1", "[0, 1)"));
    EXPECT_TRUE(
        rejects([&] { action.element(0, count, 0, 0); }, "token", std::to_string(count), "[0, "));
    EXPECT_TRUE(rejects([&] { action.element(0, -1, 0, 0); }, "token", "-1", "[0, "));
    EXPECT_TRUE(rejects([&] { action.element(0, 0, 2, 0); }, "set", "2", "[0, 2)"));
    EXPECT_TRUE(rejects([&] { action.element(0, 0, 0, 2); }, "plane", "2", "[0, 2)"));
  }
}

TEST(RotationAction, PreparationRejectsWhatItCannotUseAndKeepsTheAction) {
  const grape::RoPE<float> rope(grape::spectrum::log_uniform(8, 10000.0));
  auto action = rope.at(Positions::range(5, 3));
  const auto before = action.element(0, 2, 0, 3);
  const std::vector<std::int64_t> grid(6);
  EXPECT_TRUE(rejects([&] { rope.at(Positions::axes(grid, 2, 1, 3), action); }, "positions",
                      "2 axes", "one position a token"));
  EXPECT_TRUE(rejects([&] { rope.at(Positions::range(0, Index{1} << 62), action); }, "positions",
                      "4611686018427387904 tokens", "fits into memory"));
  EXPECT_TRUE(rejects([&] { rope.at(Positions::range(0, Index{1} << 59), action); }, "positions",
                      "576460752303423488 tokens", "fits into memory"));
  EXPECT_EQ(action.seq(), 3);
  EXPECT_EQ(action.element(0, 2, 0, 3).cos, before.cos);
  EXPECT_EQ(action.position(0, 1), 6.0);
  // One axis is what it always was.
  EXPECT_EQ(rope.at(Positions::axes(grid, 1, 2, 3)).batch(), 2);
}

TEST(RotationAction, CopiesAreIndependentValues) {
  const grape::RoPE<float> rope(grape::spectrum::log_uniform(8, 10000.0));
  auto action = rope.at(Positions::range(5, 3));
  const auto copy = action;
  rope.at(Positions::range(0, 7), action);
  EXPECT_EQ(copy.seq(), 3);
  EXPECT_EQ(action.seq(), 7);
  EXPECT_NEAR(copy.element(0, 0, 0, 0).cos, std::cos(5.0), kEntry<float>);
}

TEST(RotationAction, NoTokens) {
  const grape::RoPE<float> rope(grape::spectrum::log_uniform(8, 10000.0));
  EXPECT_EQ(rope.at(Positions::range(5, 0)).seq(), 0);
  EXPECT_EQ(rope.at(Positions::shared({})).seq(), 0);
  EXPECT_EQ(rope.at(Positions::per_token({}, 3, 0)).batch(), 3);
  const grape::RoPE<float> still(Spectrum(std::vector<double>{}));
  EXPECT_EQ(still.at(Positions::range(0, 2000)).required_dim(), 0);
}

}  // namespace
