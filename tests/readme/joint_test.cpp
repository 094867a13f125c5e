// SPDX-License-Identifier: Apache-2.0
// The README's block about joint encoders.
#include <gtest/gtest.h>

#include <grape/grape.hpp>

namespace {

constexpr grape::Index seq = 4, heads = 2, head_dim = 8;

TEST(Readme, Joint) {
  const grape::RoPE<float> rope(grape::spectrum::log_uniform(head_dim));
  const grape::ALiBi<float> alibi(heads);
  // [readme]
  auto both = grape::joint(rope, alibi).at(grape::Positions::range(0, seq));
  // both.rotation and both.bias, for apply_rotation, add_bias, attend
  // [/readme]
  EXPECT_EQ(both.rotation.seq(), seq);
  EXPECT_EQ(both.bias(0, 0, 3, 1), -2 * 0x1p-4F);
}

}  // namespace
