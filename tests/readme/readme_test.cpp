// SPDX-License-Identifier: Apache-2.0
// The README's code, compiled and run. A test compares the README with the marked regions.

// [readme]
#include <grape/grape.hpp>

// [/readme]
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

namespace {

constexpr grape::Index batch = 2, seq = 5, heads = 4, key_heads = 2, head_dim = 8;

TEST(Readme, FirstLook) {
  std::vector<float> q_data(batch * seq * heads * head_dim, 1.0f);
  std::vector<float> k_data(batch * seq * key_heads * head_dim, 1.0f);
  std::vector<float> score_data(batch * heads * seq * seq, 0.0f);
  // [readme]
  auto q = grape::blhd(q_data.data(), batch, seq, heads, head_dim);      // your memory,
  auto k = grape::blhd(k_data.data(), batch, seq, key_heads, head_dim);  // any strides
  grape::RoPE<float> rope(grape::spectrum::log_uniform(head_dim, 10000.0));
  auto action = rope.at(grape::Positions::range(0, seq));  // once a step, for every layer
  grape::apply_rotation(action, q, k);                     // in place

  grape::ALiBi<float> alibi(heads);
  auto bias = alibi.at(grape::Positions::range(0, seq), grape::Positions::range(0, seq));
  grape::add_bias(bias, grape::bhqk(score_data.data(), batch, heads, seq, seq));
  // [/readme]
  EXPECT_FLOAT_EQ(q(0, 1, 0, 0), std::cos(1.0f) - std::sin(1.0f));
  EXPECT_FLOAT_EQ(k(1, 1, 1, 1), std::cos(1.0f) + std::sin(1.0f));
  EXPECT_FLOAT_EQ(score_data[seq], -0.25f);
  EXPECT_EQ(score_data[1], -INFINITY);
}

TEST(Readme, Decoding) {
  constexpr grape::Index past = 7;
  std::vector<float> q_data(heads * head_dim, 1.0f), k_data(key_heads * head_dim, 1.0f);
  std::vector<float> score_data(heads * (past + 1), 0.0f);
  auto q = grape::blhd(q_data.data(), 1, 1, heads, head_dim);
  auto k = grape::blhd(k_data.data(), 1, 1, key_heads, head_dim);
  auto scores = grape::bhqk(score_data.data(), 1, heads, 1, past + 1);
  const grape::RoPE<float> rope(grape::spectrum::log_uniform(head_dim));
  const grape::ALiBi<float> alibi(heads);
  auto action = rope.at(grape::Positions::range(0, 1));
  // [readme]
  // One new token after `past` cached ones: prepare the action again, without allocation.
  rope.at(grape::Positions::range(past, 1), action);
  grape::apply_rotation(action, q, k);  // then append k to the cache, never to be touched again
  auto row = alibi.at(grape::Positions::range(past, 1), grape::Positions::range(0, past + 1));
  grape::add_bias(row, scores);
  // [/readme]
  EXPECT_FLOAT_EQ(q(0, 0, 0, 0), std::cos(7.0f) - std::sin(7.0f));
  EXPECT_FLOAT_EQ(scores(0, 0, 0, 0), -7 * 0.25f);
  EXPECT_EQ(scores(0, 0, 0, past), 0.0f);
}

TEST(Readme, Checkpoints) {
  // [readme]
  using grape::Pairing;
  grape::RoPE<float, Pairing::half_split> llama(grape::spectrum::log_uniform(128, 500000.0));
  grape::RoPE<float> gpt_j(grape::spectrum::log_uniform(64));  // the first 64 of 256
  grape::RoPE<float> behind(grape::spectrum::log_uniform(64), grape::RotarySlice{.begin = 128});
  grape::RoPE<float, Pairing::half_split> tail(grape::spectrum::proportional(256, 1e6, 0.25));
  grape::RoPE<float> authors(grape::spectrum::log_uniform(128).negated());  // turns the other way
  // [/readme]
  EXPECT_EQ(llama.at(grape::Positions::range(0, 1)).required_dim(), 128);
  EXPECT_EQ(gpt_j.at(grape::Positions::range(0, 1)).required_dim(), 64);
  EXPECT_EQ(behind.at(grape::Positions::range(0, 1)).required_dim(), 192);
  EXPECT_EQ(tail.at(grape::Positions::range(0, 1)).turning_planes(), 32);
  EXPECT_LT(authors.at(grape::Positions::range(1, 1)).element(0, 0, 0, 0).sin, 0);
}

TEST(Readme, Forgetting) {
  std::vector<float> log_forget(batch * seq * heads, -0.5f);
  std::vector<float> score_data(batch * heads * seq * seq, 0.0f);
  auto scores = grape::bhqk(score_data.data(), batch, heads, seq, seq);
  // [readme]
  grape::FoX<float> fox(heads);
  auto decay = fox.at(grape::blh(log_forget.data(), batch, seq, heads));  // each <= 0
  grape::add_bias(decay, scores);
  // [/readme]
  EXPECT_FLOAT_EQ(scores(1, 2, 4, 1), -1.5f);
}

TEST(Readme, Gradients) {
  std::vector<float> q_data(batch * seq * heads * head_dim, 1.0f), d_q_data = q_data;
  std::vector<float> d_score_data(batch * heads * seq * seq, 1.0f);
  auto q = grape::blhd(q_data.data(), batch, seq, heads, head_dim);
  auto d_q = grape::blhd(d_q_data.data(), batch, seq, heads, head_dim);
  auto d_scores = grape::bhqk(d_score_data.data(), batch, heads, seq, seq);
  const grape::RoPE<float> rope(grape::spectrum::log_uniform(head_dim));
  const grape::ALiBi<float> alibi(heads);
  const auto positions = grape::Positions::range(0, seq);
  const auto action = rope.at(positions);
  const auto bias = alibi.at(positions, positions);
  grape::apply_rotation(action, q);
  // [readme]
  std::vector<double> d_theta(head_dim / 2), d_slopes(heads);
  grape::apply_rotation_frequency_vjp(action, q, d_q, d_theta);  // q as rotated, d_q there
  grape::apply_rotation_vjp(action, d_q, d_q);                   // now d_q before the rotation
  grape::add_bias_vjp(bias, d_scores, {.slopes = d_slopes});
  // [/readme]
  EXPECT_NE(d_theta[0], 0);
  EXPECT_DOUBLE_EQ(d_slopes[0], -2.0 * (4 * 1 + 3 * 2 + 2 * 3 + 1 * 4));
}

}  // namespace
