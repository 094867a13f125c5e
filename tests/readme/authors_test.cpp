// SPDX-License-Identifier: Apache-2.0
// The page's block about the paper's training code, against numbers of that code.
#include <gtest/gtest.h>

#include <cmath>
#include <grape/grape.hpp>
#include <vector>

#include "support/golden.hpp"

namespace {

using grape::Index;

TEST(Pages, FromThePaper) {
  const golden::Case rope = golden::load("rope_authors_sign");
  const golden::Case context = golden::load("grape_m_ctx_0");
  const Index batch = 2, seq = 6, heads = 2, head_dim = 8;
  ASSERT_EQ(rope.inputs("x").shape, (std::vector<Index>{batch, seq, heads, head_dim}));
  std::vector<float> data = rope.inputs("x").as<float>();
  const auto q = grape::blhd(data.data(), batch, seq, heads, head_dim);
  // Its features times their weights, one increment a token of the first `seq` of 7.
  const golden::Array x = context.inputs("x"), weights = context.inputs("W");
  std::vector<float> projected;
  for (Index b = 0; b < batch; ++b) {
    for (Index t = 0; t < seq; ++t) {
      double sum = context.inputs("bias").data[0];
      for (std::size_t c = 0; c < weights.data.size(); ++c) {
        const auto row = static_cast<std::size_t>(b * x.shape[1] + t);
        sum += x.data[row * weights.data.size() + c] * weights.data[c];
      }
      projected.push_back(static_cast<float>(sum));
    }
  }
  std::vector<float> omega(projected.size());
  // [readme]
  // The authors' training code pairs (m, m + M) and turns by -n theta; the increments of its
  // contextual phases are sigmoid(x / 16).
  grape::RoPE<float, grape::Pairing::half_split> authors(
      grape::spectrum::log_uniform(head_dim).negated());
  grape::apply_rotation(authors, grape::Positions::range(0, seq), q);

  for (std::size_t i = 0; i < omega.size(); ++i) omega[i] = grape::sigmoid(projected[i] / 16);
  grape::ContextualRoPE<float, grape::Pairing::half_split> contextual(
      grape::spectrum::log_uniform(head_dim).negated());
  auto phases = contextual.at(grape::blh(omega.data(), batch, seq, 1));  // one for all heads

  grape::PathIntegral<float> ap(heads, grape::PathIntegralPath<>::authors());
  // [/readme]
  const golden::Array turned = rope.outputs("y"), phi = context.outputs("phi");
  for (std::size_t i = 0; i < data.size(); ++i) {  // its cosines are rounded to bfloat16
    EXPECT_NEAR(data[i], turned.data[i], 1e-2 * (1 + std::fabs(turned.data[i]))) << i;
  }
  for (Index b = 0; b < batch; ++b) {
    for (Index t = 0; t < seq; ++t) {
      const double want = phi.data[static_cast<std::size_t>(b * x.shape[1] + t)];
      EXPECT_NEAR(phases.position(b, t), want, 1e-5) << b << ' ' << t;
    }
  }
  EXPECT_LT(phases.element(0, 1, 0, 0).sin, 0);
  EXPECT_EQ(phases.pairing(), grape::Pairing::half_split);
  EXPECT_EQ(ap.generator().sets(), heads);
}

}  // namespace
