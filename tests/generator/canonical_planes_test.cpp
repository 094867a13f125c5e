// SPDX-License-Identifier: Apache-2.0
#include "grape/generator/canonical_planes.hpp"

#include <gtest/gtest.h>

#include "support/errors.hpp"

namespace {

using Planes = grape::CanonicalPlanes<float, grape::Pairing::half_split>;

static_assert(grape::Generator<Planes> && grape::Generator<grape::CanonicalPlanes<double>>);
static_assert(grape::Generator<grape::CanonicalPlanes<Eigen::half>>);
static_assert(std::same_as<Planes::Kind, grape::SkewGenerator>);
static_assert(grape::CanonicalPlanes<float>::kPairing == grape::Pairing::interleaved);

struct NoScalar {
  using Kind = grape::SkewGenerator;
};
struct OtherKind {
  using Scalar = float;
  using Kind = int;
};
struct IntScalar {
  using Scalar = int;
  using Kind = grape::NilpotentGenerator;
};
static_assert(!grape::Generator<NoScalar> && !grape::Generator<OtherKind> &&
              !grape::Generator<IntScalar> && !grape::Generator<int>);

TEST(CanonicalPlanes, HoldsSpectrumTurnsAndSlice) {
  const Planes planes(grape::Spectrum::per_head({1, 0.5, -0.25, 0}, 2), grape::RotarySlice{6});
  EXPECT_EQ(planes.spectrum().planes(), 2);
  EXPECT_EQ(planes.first_coordinate(), 6);
  ASSERT_EQ(planes.turns().size(), 4U);
  for (std::size_t i = 0; i < 4; ++i) {
    const grape::Turn want = grape::turn_of(planes.spectrum().frequencies()[i]);
    EXPECT_EQ(planes.turns()[i].high, want.high);
    EXPECT_EQ(planes.turns()[i].low, want.low);
  }
  EXPECT_EQ(Planes(grape::Spectrum({1.0})).first_coordinate(), 0);
}

TEST(CanonicalPlanes, RejectsASliceBeforeTheHead) {
  EXPECT_TRUE(rejects([] { Planes(grape::Spectrum({1.0}), grape::RotarySlice{-1}); }, "slice.begin",
                      "-1", ">= 0"));
}

}  // namespace
