// SPDX-License-Identifier: Apache-2.0
#include "grape/encoder/encoder.hpp"

#include <gtest/gtest.h>

#include "grape/presets.hpp"
#include "grape/spectrum/log_uniform.hpp"
#include "support/errors.hpp"

// A user's own generator, path and their preparation join in by overload.
namespace user {

struct Quarter {
  using Scalar = float;
  using Kind = grape::SkewGenerator;
};
struct Steps {
  using Input = int;
};
// Quarter turns of one plane, by a spectrum of our own.
inline void prepare(const Quarter&, Steps, int count, grape::RotationAction<float>& action) {
  const grape::RoPE<float> rope(grape::Spectrum({1.57079632679489662}));
  rope.at(grape::Positions::range(0, count), action);
}

}  // namespace user

namespace {

using grape::Positions;

static_assert(std::same_as<grape::RoPE<float>::Action, grape::RotationAction<float>>);
static_assert(std::same_as<grape::RoPE<double>::Action, grape::RotationAction<double>>);
static_assert(std::same_as<grape::RoPE<Eigen::half>::Action, grape::RotationAction<float>>);
static_assert(std::same_as<grape::ALiBi<Eigen::bfloat16>::Action, grape::BiasAction<float>>);
static_assert(std::same_as<grape::ALiBi<double>::Action, grape::BiasAction<double>>);
static_assert(!std::is_convertible_v<int, grape::ALiBi<float>>);
static_assert(!std::is_convertible_v<grape::Spectrum, grape::RoPE<float>>);
static_assert(!std::is_constructible_v<grape::RoPE<float>, int>);

TEST(Encoder, IsMadeOfWhatItsGeneratorIsMadeOf) {
  const grape::RoPE<float> rope(grape::spectrum::log_uniform(8, 10000.0), grape::RotarySlice{2});
  EXPECT_EQ(rope.generator().spectrum().planes(), 4);
  EXPECT_EQ(rope.generator().first_coordinate(), 2);
  const grape::RoPE<float> again(rope.generator(), rope.path());
  EXPECT_EQ(again.generator().first_coordinate(), 2);
  const grape::ALiBi<float> standard(4);
  EXPECT_EQ(standard.generator().slopes()[0], 0.25);
  const grape::ALiBi<float> own(std::vector<double>{0.5, 0.125});
  EXPECT_EQ(own.generator().sets(), 2);
  EXPECT_TRUE(rejects([] { grape::ALiBi<float>(0); }, "heads", "0", ">= 1"));
  const grape::RoPE<float> copy = rope;
  EXPECT_EQ(copy.generator().first_coordinate(), 2);
}

TEST(Encoder, PreparesTheSameActionInPlace) {
  const grape::RoPE<float> rope(grape::spectrum::log_uniform(8, 10000.0));
  grape::RotationAction<float> action;
  rope.at(Positions::range(5, 3), action);
  const auto fresh = rope.at(Positions::range(5, 3));
  for (int t = 0; t < 3; ++t) {
    for (int m = 0; m < 4; ++m) {
      EXPECT_EQ(action.element(0, t, 0, m).cos, fresh.element(0, t, 0, m).cos);
      EXPECT_EQ(action.element(0, t, 0, m).sin, fresh.element(0, t, 0, m).sin);
    }
  }
  const grape::ALiBi<float> alibi(2);
  grape::BiasAction<float> bias;
  alibi.at(Positions::range(0, 3), Positions::range(0, 4), bias);
  EXPECT_EQ(bias(0, 1, 2, 0), -2 * 0x1p-8F);
  EXPECT_EQ(bias(0, 1, 0, 3), -std::numeric_limits<float>::infinity());
  alibi.at(Positions::range(0, 3), Positions::range(0, 4), grape::Future::zero, bias);
  EXPECT_EQ(bias(0, 1, 0, 3), 0);
  EXPECT_EQ(alibi.at(Positions::range(0, 3), Positions::range(0, 4), grape::Future::symmetric)(
                0, 0, 0, 2),
            -2 * 0x1p-4F);
}

TEST(Encoder, TakesAUsersGeneratorAndPath) {
  static_assert(grape::Generator<user::Quarter> && grape::Path<user::Steps>);
  const grape::Encoder<user::Quarter, user::Steps> encoder{};
  const auto action = encoder.at(3);
  EXPECT_NEAR(action.element(0, 1, 0, 0).sin, 1, 1e-7);
  EXPECT_NEAR(action.element(0, 2, 0, 0).cos, -1, 1e-7);
}

}  // namespace
