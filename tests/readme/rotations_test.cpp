// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <grape/grape.hpp>
#include <vector>

namespace {

constexpr grape::Index batch = 2, seq = 5, heads = 3, head_dim = 16;

TEST(Readme, RotationsOnOtherPaths) {
  std::vector<float> q_data(batch * seq * heads * head_dim, 1.0f), k_data = q_data;
  auto q = grape::blhd(q_data.data(), batch, seq, heads, head_dim);
  auto k = grape::blhd(k_data.data(), batch, seq, heads, head_dim);
  const std::vector<float> omega(batch * seq * heads, 0.5f);
  const std::vector<std::int64_t> grid{0, 0, 0, 1, 1, 0, 1, 2, 0, 1};
  // [readme]
  using namespace grape;
  // An image: the first planes turn by the row, the others by the column; [axes, batch or 1, seq].
  auto axis = spectrum::log_uniform(8, 100.0);
  AxialRoPE<float> image(spectrum::concatenated({axis, axis}), AxialPath::sections({4, 4}));
  apply_rotation(image, Positions::axes(grid, 2, 1, seq), q, k);

  // A phase that tokens advance themselves, by omega >= 0 a token and head (GRAPE-M-ctx).
  ContextualRoPE<float> contextual(spectrum::log_uniform(head_dim));
  apply_rotation(contextual.at(blh(omega.data(), batch, seq, heads)), q, k);
  // [/readme]
  EXPECT_NE(q(0, 1, 0, 0), 1.0f);
  EXPECT_EQ(q(0, 0, 0, 0), 1.0f);
}

TEST(Readme, ContextualStream) {
  const auto numbers = [](grape::Index count, float first) {
    std::vector<float> out(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = first + 0.01F * static_cast<float>(i);
    return out;
  };
  std::vector<float> q_data = numbers(batch * (seq + 1) * heads * head_dim, 0.5F), k_data = q_data;
  std::vector<float> projected = numbers(batch * (seq + 1) * heads, -1.0F), omega(projected.size());
  const auto tokens = [](std::vector<float>& x, grape::Index first, grape::Index count,
                         grape::Index dim) {
    return grape::TensorView<float>(x.data() + first * heads * dim, {batch, count, heads, dim},
                                    {(seq + 1) * heads * dim, heads * dim, dim, 1});
  };
  const auto before = q_data;
  const auto q = tokens(q_data, 0, seq, head_dim), k = tokens(k_data, 0, seq, head_dim);
  const auto next_q = tokens(q_data, seq, 1, head_dim), next_k = tokens(k_data, seq, 1, head_dim);
  const auto increments = tokens(omega, 0, seq, 1), next_increment = tokens(omega, seq, 1, 1);
  // [readme]
  grape::ContextualRoPE<float> contextual(grape::spectrum::log_uniform(head_dim));
  for (std::size_t i = 0; i < omega.size(); ++i) omega[i] = grape::softplus(projected[i]);  // > 0
  std::vector<double> phases(batch * heads);  // where a stream is; zeros begin one
  grape::RotationAction<float> turn;
  contextual.at(increments, grape::PhaseCarry{phases}, turn);  // prefill, [batch, seq, heads, 1]
  grape::apply_rotation(turn, q, k);
  contextual.at(next_increment, grape::PhaseCarry{phases}, turn);  // then a token
  grape::apply_rotation(turn, next_q, next_k);
  // [/readme]
  std::vector<float> want = before;
  grape::apply_rotation(contextual.at(grape::blh(omega.data(), batch, seq + 1, heads)),
                        grape::blhd(want.data(), batch, seq + 1, heads, head_dim));
  EXPECT_EQ(q_data, want);
  EXPECT_EQ(k_data, want);
  EXPECT_NE(next_q(1, 0, 2, 0), before[before.size() - head_dim]);
}

TEST(Readme, MovedKeys) {
  std::vector<Eigen::half> key_data(batch * seq * heads * head_dim, Eigen::half(1.0f));
  auto keys = grape::blhd(key_data.data(), batch, seq, heads, head_dim);
  const grape::RoPE<Eigen::half> rope(grape::spectrum::log_uniform(head_dim));
  // [readme]
  grape::PendingShift shift(seq);
  shift.add(-1);  // every key one position back, as often as you like: added up as integers,
  shift.add(-1);
  grape::rerotate(rope, shift, keys);  // applied in one rotation, rounded once
  // [/readme]
  EXPECT_FALSE(shift.pending());
  EXPECT_NEAR(static_cast<double>(static_cast<float>(keys(0, 0, 0, 0))),
              std::cos(2.0) + std::sin(2.0), 0x1p-11 * 2);
}

}  // namespace
