// SPDX-License-Identifier: Apache-2.0
#include "grape/spectrum/linear.hpp"

#include "spectrum/scaled.hpp"

namespace {

using grape::Index;
using grape::spectrum::linear;

TEST(Linear, Golden) {
  const auto first = scaled::first_set("linear"), second = scaled::second_set("linear");
  ASSERT_EQ(first.size(), 1U);
  ASSERT_EQ(second.size(), 1U);
  for (const auto* set : {&first, &second}) {
    for (const scaled::Golden& c : *set) {
      scaled::expect_golden(linear(c.dim, c.base, c.get<double>("factor")), c);
    }
  }
}

TEST(Linear, FactorOneIsPlain) {
  scaled::expect_plain(linear(64, 1e4, 1), 64, 1e4);
  const auto plain = scaled::second_set("default");
  ASSERT_EQ(plain.size(), 1U);
  for (const scaled::Golden& c : plain) scaled::expect_golden(linear(c.dim, c.base, 1), c);
}

TEST(Linear, IsTheFormula) {
  const grape::Spectrum plain = grape::spectrum::log_uniform(32, 5e5);
  const grape::Spectrum s = linear(32, 5e5, 3);
  EXPECT_EQ(s.rotary_dim(), 32);
  for (Index m = 0; m < 16; ++m) EXPECT_EQ(s(0, m), plain(0, m) / 3) << m;
  scaled::expect_decreasing(s);
}

TEST(Linear, RejectsBadInput) {
  scaled::expect_rejects_dim_and_base([](Index dim, double base) { linear(dim, base, 2); },
                                      {0, 1, 7, -2}, {0.0, -1.0});
  scaled::expect_rejects([](double x) { linear(8, 1e4, x); }, "factor", ">= 1",
                         {0.0, -2.0, 0.25, 1 - 0x1p-53});
}

}  // namespace
