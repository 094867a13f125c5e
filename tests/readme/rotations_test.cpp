// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <grape/grape.hpp>

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
