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
  grape::RoPE<float, Pairing::half_split> authors(
      grape::spectrum::log_uniform(128).negated());  // GRAPE's training code: the other way round
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

TEST(Readme, GatedSlopesAndSums) {
  std::vector<float> q_data(batch * seq * heads * head_dim, 0.0f), k_data = q_data;
  std::vector<float> log_forget(batch * seq * heads, -0.5f);
  std::vector<float> score_data(batch * heads * seq * seq, 0.0f);
  auto q = grape::blhd(q_data.data(), batch, seq, heads, head_dim);
  auto k = grape::blhd(k_data.data(), batch, seq, heads, head_dim);
  auto scores = grape::bhqk(score_data.data(), batch, heads, seq, seq);
  const auto decay = grape::FoX<float>(heads).at(grape::blh(log_forget.data(), batch, seq, heads));
  const std::vector<double> u(heads * head_dim), v = u, omega(heads, 1.0);
  // [readme]
  using grape::Gate;
  grape::GatedALiBi<float, Gate::both> gated(
      grape::alibi_slopes(heads),
      grape::GatedPath<Gate::both>({.query_weights = v, .key_weights = u, .omega = omega}));
  auto all = grape::Positions::range(0, seq);
  auto bias = grape::sum(gated.at(q, k, all, all), decay);
  grape::add_bias(bias, scores);
  // [/readme]
  const double slope = grape::alibi_slopes(heads)[2];
  EXPECT_NEAR(scores(1, 2, 4, 1), -1.5 - 3 * slope * 2 * std::log(2.0), 1e-6);
}

TEST(Readme, Streaming) {
  std::vector<float> log_forget(batch * seq * heads, -0.5f);
  std::vector<float> score_data(batch * heads * seq * seq, 0.0f);
  auto scores = grape::bhqk(score_data.data(), batch, heads, seq, seq);
  const grape::FoX<float> fox(heads);
  const auto new_gates = grape::blh(log_forget.data(), batch, seq, heads);
  // [readme]
  grape::BiasAction<float> bias;  // grows with the sequence
  fox.append(new_gates, bias);    // its new tokens are the queries
  grape::add_bias(bias, scores);
  bias.truncate(seq);  // a refused draft, taken back to the bit
  // [/readme]
  EXPECT_EQ(bias.keys(), seq);
  EXPECT_FLOAT_EQ(scores(1, 2, 4, 1), -1.5f);
}

TEST(Readme, PathIntegral) {
  constexpr grape::Index width = 8;
  const std::vector<float> features(batch * seq * heads * width, 1.0f);
  const std::vector<float> next(batch * heads * width, 1.0f);
  std::vector<float> score_data(batch * heads * seq * seq, 0.0f);
  auto scores = grape::bhqk(score_data.data(), batch, heads, seq, seq);
  // [readme]
  grape::PathIntegral<float> ap(heads);
  auto edges = ap.at(grape::blhd(features.data(), batch, seq, heads, width));
  grape::add_bias(edges, scores);
  ap.append(grape::blhd(next.data(), batch, 1, heads, width), edges);  // the next token asks
  edges.truncate(seq);                                                 // and is taken back
  // [/readme]
  // All features alike: <p, R_l p> / width = cos(l).
  EXPECT_NEAR(scores(0, 0, 1, 0), 0.25f * grape::log_sigmoid(std::cos(1.0f)), 1e-6f);
  EXPECT_EQ(edges.keys(), seq);
}

TEST(Readme, KeyValueShift) {
  const std::vector<float> gate(batch * seq * heads, 0.25f);
  std::vector<float> k_data(batch * seq * heads * head_dim, 1.0f), d_k_data = k_data;
  std::vector<float> next_data(batch * heads * head_dim, 5.0f);
  const std::vector<float> before = k_data;
  auto k = grape::blhd(k_data.data(), batch, seq, heads, head_dim);
  auto d_k = grape::blhd(d_k_data.data(), batch, seq, heads, head_dim);
  auto k_before = grape::blhd(before.data(), batch, seq, heads, head_dim);
  auto next_k = grape::blhd(next_data.data(), batch, 1, heads, head_dim);
  std::vector<double> d_gate(gate.size());
  // [readme]
  grape::TokenShiftState<float> state;                                           // of a stream
  grape::shift_tokens(grape::blh(gate.data(), batch, seq, heads), k, state);     // prefill
  grape::shift_tokens(grape::blh(gate.data(), batch, 1, heads), next_k, state);  // then a token
  grape::shift_tokens_vjp(grape::blh(gate.data(), batch, seq, heads), k_before, d_k, d_gate);
  // [/readme]
  EXPECT_EQ(k(0, 0, 0, 0), 0.75f);
  EXPECT_EQ(k(1, 1, 2, 3), 1.0f);
  EXPECT_EQ(next_k(1, 0, 2, 3), 4.0f);
  EXPECT_EQ(d_gate[0], -1.0 * head_dim);
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

TEST(Readme, Attention) {
  std::vector<float> data(batch * seq * heads * head_dim, 0.5f), out_data(data.size());
  std::vector<float> d_data(data.size(), 1.0f), d_q_data(data.size()), d_k_data(data.size());
  std::vector<float> d_v_data(data.size()), log_forget(batch * seq * heads, -0.5f);
  const auto view = [](std::vector<float>& x, grape::Index h) {
    return grape::blhd(x.data(), batch, seq, h, head_dim);
  };
  const auto q = view(data, heads), k = view(data, key_heads), v = view(data, key_heads);
  const auto out = view(out_data, heads), d_out = view(d_data, heads), d_q = view(d_q_data, heads);
  const auto d_k = view(d_k_data, key_heads), d_v = view(d_v_data, key_heads);
  const grape::RoPE<float> rope(grape::spectrum::log_uniform(head_dim));
  const auto action = rope.at(grape::Positions::range(0, seq));
  const grape::FoX<float> fox(heads);
  const auto decay = fox.at(grape::blh(log_forget.data(), batch, seq, heads));
  {
    // [readme]
    grape::attend(q, k, v, out, {.rotation = &action, .bias = &decay, .causal = true});
    // [/readme]
  }
  EXPECT_FLOAT_EQ(out(1, 4, 3, 7), 0.5f);
  // [readme]
  std::vector<float> log_sum(batch * heads * seq);
  std::vector<double> d_gates(batch * seq * heads), d_theta(head_dim / 2);
  grape::AttendOptions<float> options{
      .rotation = &action, .bias = &decay, .causal = true, .log_sum = log_sum};
  grape::attend(q, k, v, out, options);
  grape::attend_vjp(
      {q, k, v, out}, d_out,
      {.q = d_q, .k = d_k, .v = d_v, .bias = {.log_forget = d_gates}, .frequencies = d_theta},
      options);
  // [/readme]
  EXPECT_GT(d_v(0, 0, 0, 0), 0);
}

TEST(Readme, Cache) {
  std::vector<float> data(batch * seq * heads * head_dim, 0.5f), out_data(data.size());
  const grape::RoPE<float> rope(grape::spectrum::log_uniform(head_dim));
  const grape::ALiBi<float> alibi(heads);
  // [readme]
  grape::KeyValueCache<float> cache(batch, key_heads, head_dim, head_dim);
  grape::RotationAction<float> turn;
  grape::BiasAction<float> slope;
  for (grape::Index t = 0; t < seq; ++t) {
    auto q1 = grape::blhd(data.data(), batch, 1, heads, head_dim);  // of the new token
    auto k1 = grape::blhd(data.data(), batch, 1, key_heads, head_dim), v1 = k1;
    auto out1 = grape::blhd(out_data.data(), batch, 1, heads, head_dim);
    rope.at(grape::Positions::range(t, 1), turn);
    alibi.append(grape::Positions::range(t, 1), slope);
    cache.append(k1, v1, &turn);
    grape::attend(q1, cache, out1, {.rotation = &turn, .bias = &slope});
  }
  auto draft = cache;       // shares what it holds, until one of the two writes
  draft.truncate(seq - 2);  // and this leaves `cache` as it was
  // [/readme]
  EXPECT_EQ(cache.size(), seq);
  EXPECT_EQ(draft.size(), seq - 2);
  EXPECT_FLOAT_EQ(out_data[0], 0.5f);
}

TEST(Readme, PlanesOfAnyDirection) {
  std::vector<float> q_data(batch * seq * heads * head_dim, 1.0f), d_q_data = q_data;
  std::vector<float> k_data(batch * seq * key_heads * head_dim, 1.0f);
  auto q = grape::blhd(q_data.data(), batch, seq, heads, head_dim);
  auto k = grape::blhd(k_data.data(), batch, seq, key_heads, head_dim);
  auto d_q = grape::blhd(d_q_data.data(), batch, seq, heads, head_dim);
  const grape::FrameMatrix reflectors = grape::FrameMatrix::Identity(head_dim, 4);
  const std::vector<double> theta{1.0, 0.1};
  std::vector<double> d_frame(4 * head_dim);
  const grape::FrameMatrix a = grape::FrameMatrix::Identity(head_dim, 2);
  const grape::FrameMatrix b = grape::FrameMatrix::Ones(head_dim, 2);
  const Eigen::VectorXd speeds = Eigen::VectorXd::Ones(2);
  Eigen::MatrixXf w_q = Eigen::MatrixXf::Ones(heads * head_dim, 3);
  Eigen::MatrixXf w_k = Eigen::MatrixXf::Ones(key_heads * head_dim, 3);
  // [readme]
  grape::HouseholderRoPE<float> framed(reflectors, grape::Spectrum(theta));  // [d, 2 M], [M]
  auto turned = framed.at(grape::Positions::range(0, seq));
  grape::apply_rotation(turned, q, k);
  grape::apply_rotation_frame_vjp(turned, q, d_q, d_frame);
  auto d_reflectors = framed.generator().vjp(d_frame);

  grape::CompactRoPE<float> compact(grape::OverlappingPlanes{a, b, speeds});  // a, b [d, m]
  grape::apply_rotation(compact, grape::Positions::range(0, seq), q, k);

  grape::RoPE<float> stock(grape::fold(framed.generator(), grape::QkNorm::none, w_q, w_k));
  // [/readme]
  EXPECT_FLOAT_EQ(k(0, 0, 0, 0), 1);
  EXPECT_EQ(turned.frame_columns(), 4);
  EXPECT_EQ(stock.generator().spectrum().planes(), 2);
  EXPECT_NE(d_frame[0], 0);
  EXPECT_EQ(d_reflectors.rows(), head_dim);
}

}  // namespace
