// SPDX-License-Identifier: Apache-2.0
#include "grape/encoder/joint.hpp"

#include <gtest/gtest.h>

#include "grape/presets.hpp"
#include "grape/spectrum/log_uniform.hpp"
#include "support/random.hpp"

namespace {

using grape::Index;
using grape::Positions;

TEST(Joint, GivesTheActionsOfBothEncoders) {
  const grape::RoPE<float> rope(grape::spectrum::log_uniform(8));
  const grape::ALiBi<float> alibi(4);
  const grape::Joint<grape::RoPE<float>, grape::ALiBi<float>> both = grape::joint(rope, alibi);
  const auto range = Positions::range(3, 6);
  const auto action = both.at(range);
  static_assert(std::same_as<decltype(action), const grape::JointAction<float>>);
  const auto rotation = rope.at(range);
  const auto bias = alibi.at(range, range);
  for (Index t = 0; t < 6; ++t) {
    for (Index m = 0; m < 4; ++m) {
      EXPECT_EQ(action.rotation.element(0, t, 0, m).sin, rotation.element(0, t, 0, m).sin);
    }
    for (Index j = 0; j < 6; ++j) EXPECT_EQ(action.bias(0, 1, t, j), bias(0, 1, t, j));
  }
  // Decoding: the rotation of the new token, the bias of its row; into an action that exists.
  grape::JointAction<float> row;
  both.at(Positions::range(9, 1), Positions::range(9, 1), Positions::range(0, 10), row);
  EXPECT_EQ(row.rotation.seq(), 1);
  EXPECT_EQ(row.bias.keys(), 10);
  EXPECT_EQ(row.bias(0, 0, 0, 1), -8 * 0.25F);
  row = both.at(range, range, range, grape::Future::symmetric);
  EXPECT_EQ(row.bias(0, 0, 0, 1), -0.25F);
}

TEST(Joint, TakesGatesForItsBias) {
  const grape::RoPE<double> rope(grape::spectrum::log_uniform(4));
  const grape::FoX<double> fox(2);
  const std::vector<double> gates(5 * 2, -0.5);
  const auto log_forget = grape::blh(gates.data(), 1, 5, 2);
  const auto both = grape::joint(rope, fox);
  const auto action = both.at(Positions::range(0, 5), log_forget);
  EXPECT_EQ(action.bias(0, 1, 4, 1), -1.5);
  EXPECT_EQ(action.rotation.seq(), 5);
  const auto last = both.at(Positions::range(4, 1), log_forget, grape::QueryRange{4, 1});
  EXPECT_EQ(last.bias.queries(), 1);
}

}  // namespace
