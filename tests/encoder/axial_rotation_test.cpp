// SPDX-License-Identifier: Apache-2.0
#include "grape/encoder/axial_rotation.hpp"

#include <gtest/gtest.h>

#include "grape/presets.hpp"
#include "grape/spectrum/log_uniform.hpp"
#include "support/errors.hpp"
#include "support/random.hpp"
#include "support/reference.hpp"

namespace {

using grape::AxialPath;
using grape::Index;
using grape::Positions;
using grape::Spectrum;

template <class A>
class AxialRotationOf : public testing::Test {};
using Accumulators = testing::Types<float, double>;
TYPED_TEST_SUITE(AxialRotationOf, Accumulators);

// Every entry within half an ulp of 1 and 3e-9 in float; in double half an ulp for the value, the
// angle and a product.
TYPED_TEST(AxialRotationOf, IsExactAtEveryCoordinate) {
  Random random(221);
  constexpr double kEntry = std::same_as<TypeParam, float> ? 0x1p-25 + 3e-9 : 3 * 0x1p-53;
  constexpr std::int64_t kFar = (std::int64_t{1} << 31) - 1;
  for (int trial = 0; trial < 60; ++trial) {
    SCOPED_TRACE(trial);
    const Index planes = random.integer(3, 150), sets = random.integer(1, 2);
    const Index axes = random.integer(1, 3), batch = random.integer(1, 2),
                seq = random.integer(1, 4);
    std::vector<Index> axis_of_plane;
    for (Index m = 0; m < planes; ++m) {
      axis_of_plane.push_back(m < axes ? m : random.integer(0, axes - 1));
    }
    const Spectrum spectrum = Spectrum::per_head(random.frequencies(planes * sets), sets);
    std::vector<std::int64_t> list = random.integers(axes * batch * seq, -kFar, kFar);
    if (trial % 3 == 0) list[0] = std::numeric_limits<std::int64_t>::min();
    if (trial % 3 == 1) list.back() = std::numeric_limits<std::int64_t>::max();
    const grape::AxialRoPE<TypeParam> rope(spectrum, AxialPath(axis_of_plane));
    const auto action = rope.at(Positions::axes(list, axes, batch, seq));
    ASSERT_EQ(action.batch(), batch);
    ASSERT_EQ(action.channels(), axes);
    ASSERT_EQ(action.sets(), sets);
    for (Index b = 0; b < batch; ++b) {
      for (Index t = 0; t < seq; ++t) {
        for (Index s = 0; s < sets; ++s) {
          for (Index m = 0; m < planes; ++m) {
            const Index axis = axis_of_plane[static_cast<std::size_t>(m)];
            const auto n = list[static_cast<std::size_t>((axis * batch + b) * seq + t)];
            const auto got = action.element(b, t, s, m);
            const auto want = reference::turn(spectrum(s, m), n);
            ASSERT_NEAR(got.cos, static_cast<double>(want.cos), kEntry) << m;
            ASSERT_NEAR(got.sin, static_cast<double>(want.sin), kEntry) << m;
            ASSERT_EQ(action.position(b, t, s, m), static_cast<double>(n));
            ASSERT_EQ(action.frequency(s, m), spectrum(s, m));
            ASSERT_EQ(action.channel(s, m), axes == 1 ? 0 : axis);
          }
        }
      }
    }
  }
}

TYPED_TEST(AxialRotationOf, RealCoordinates) {
  Random random(222);
  const Spectrum spectrum(random.frequencies(7), 0.75);
  const std::vector<double> list = random.uniforms(2 * 2 * 5, -5000, 5000);
  const AxialPath path = AxialPath::sections({3, 4});
  const grape::AxialRoPE<TypeParam> rope(spectrum, path);
  const auto action = rope.at(Positions::real_axes(list, 2, 2, 5));
  const double unit = std::same_as<TypeParam, float> ? 0x1p-24 : 14 * 0x1p-53;
  for (Index b = 0; b < 2; ++b) {
    for (Index t = 0; t < 5; ++t) {
      for (Index m = 0; m < 7; ++m) {
        const double x = list[static_cast<std::size_t>(((m < 3 ? 0 : 2) + b) * 5 + t)];
        const auto want = reference::turn(spectrum(0, m), x);
        EXPECT_NEAR(action.element(b, t, 0, m).cos, 0.75 * static_cast<double>(want.cos), unit);
        EXPECT_NEAR(action.element(b, t, 0, m).sin, 0.75 * static_cast<double>(want.sin), unit);
        EXPECT_EQ(action.position(b, t, 0, m), x);
      }
    }
  }
}

// Text among pictures stands at the same coordinate on every axis: then it is plain RoPE, bit for
// bit.
TYPED_TEST(AxialRotationOf, EqualCoordinatesAreRope) {
  const Spectrum spectrum = grape::spectrum::log_uniform(128, 1e6);
  std::vector<std::int64_t> list;
  for (int axis = 0; axis < 3; ++axis) {
    for (std::int64_t n = 0; n < 9; ++n) list.push_back(4090 + n);
  }
  const auto plain = grape::RoPE<TypeParam>(spectrum).at(Positions::range(4090, 9));
  for (const AxialPath& path :
       {AxialPath::sections({16, 24, 24}), AxialPath::interleaved({24, 20, 20})}) {
    const auto grid =
        grape::AxialRoPE<TypeParam>(spectrum, path).at(Positions::axes(list, 3, 1, 9));
    for (Index t = 0; t < 9; ++t) {
      for (Index m = 0; m < 64; ++m) {
        EXPECT_EQ(grid.element(0, t, 0, m).cos, plain.element(0, t, 0, m).cos);
        EXPECT_EQ(grid.element(0, t, 0, m).sin, plain.element(0, t, 0, m).sin);
      }
    }
  }
}

TEST(AxialRotation, RejectsWhatDoesNotFitAndKeepsTheAction) {
  const std::vector<std::int64_t> six(6, 1), nine(9, 1);
  const grape::AxialRoPE<float> rope(grape::spectrum::log_uniform(12), AxialPath::sections({2, 4}));
  auto action = rope.at(Positions::axes(six, 2, 1, 3));
  const float before = action.element(0, 2, 0, 1).cos;
  EXPECT_TRUE(rejects([&] { rope.at(Positions::axes(nine, 3, 1, 3), action); }, "positions",
                      "3 axes", "the 2 axes of the path"));
  EXPECT_TRUE(rejects([&] { rope.at(Positions::range(0, 5), action); }, "positions", "1 axes",
                      "the 2 axes of the path"));
  const grape::AxialRoPE<float> wrong(grape::spectrum::log_uniform(12),
                                      AxialPath::sections({2, 5}));
  EXPECT_TRUE(rejects([&] { wrong.at(Positions::axes(six, 2, 1, 3), action); }, "path",
                      "axes for 7 planes", "the 6 planes"));
  EXPECT_EQ(action.seq(), 3);
  EXPECT_EQ(action.element(0, 2, 0, 1).cos, before);
}

}  // namespace
