// SPDX-License-Identifier: Apache-2.0
// The README's block about lifting.
#include <gtest/gtest.h>

#include <cmath>
#include <grape/grape.hpp>
#include <vector>

namespace {

constexpr grape::Index batch = 1, seq = 6, heads = 4, key_heads = 2, head_dim = 8;

TEST(Readme, Lift) {
  std::vector<float> q_data(batch * seq * heads * head_dim, 1.0f);
  std::vector<float> k_data(batch * seq * key_heads * head_dim, 1.0f);
  std::vector<float> wide_q(batch * seq * heads * 16), wide_k(batch * seq * key_heads * 16);
  auto q = grape::blhd(q_data.data(), batch, seq, heads, head_dim);
  auto k = grape::blhd(k_data.data(), batch, seq, key_heads, head_dim);
  auto q_out = grape::blhd(wide_q.data(), batch, seq, heads, 16);
  auto k_out = grape::blhd(wide_k.data(), batch, seq, key_heads, 16);
  auto bias = grape::ALiBi<float>(heads).at(grape::Positions::range(0, seq),
                                            grape::Positions::range(0, seq));
  // [readme]
  // A causal kernel with head_dim 16 and softmax scale 1 / sqrt(head_dim) now computes ALiBi.
  grape::lift(bias, q, k, q_out, k_out);  // [.., head_dim + 2 or more]; the rest is 0
  // [/readme]
  float sum = 0;
  for (grape::Index d = 0; d < 16; ++d) sum += q_out(0, 5, 1, d) * k_out(0, 2, 0, d);
  EXPECT_FLOAT_EQ(sum / std::sqrt(8.0f), std::sqrt(8.0f) - 3 * 0x1p-4f);
}

}  // namespace
