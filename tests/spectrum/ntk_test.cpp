// SPDX-License-Identifier: Apache-2.0
#include "grape/spectrum/ntk.hpp"

#include "spectrum/scaled.hpp"

namespace {

using grape::Index;
using grape::spectrum::dynamic_ntk;
using grape::spectrum::ntk;

TEST(Ntk, Golden) {
  const auto cases = scaled::first_set("ntk");
  ASSERT_EQ(cases.size(), 1U);
  for (const scaled::Golden& c : cases) {
    scaled::expect_golden(ntk(c.dim, c.base, c.get<double>("factor")), c);
  }
}

TEST(Ntk, FactorOneIsPlain) {
  scaled::expect_plain(ntk(64, 1e4, 1), 64, 1e4);
  scaled::expect_plain(ntk(4, 5e5, 1), 4, 5e5);
}

TEST(Ntk, FastestPlaneStaysAndSlowestIsInterpolated) {
  for (const Index dim : {4, 6, 64, 128}) {
    for (const double factor : {1.5, 4.0, 64.0}) {
      const grape::Spectrum plain = grape::spectrum::log_uniform(dim, 1e4);
      const grape::Spectrum s = ntk(dim, 1e4, factor);
      const Index last = dim / 2 - 1;
      EXPECT_EQ(s(0, 0), 1.0);
      EXPECT_NEAR(s(0, last) * factor / plain(0, last), 1, scaled::kTolerance) << dim;
      EXPECT_EQ(s.attention_factor(), 1.0);
      scaled::expect_decreasing(s);
      for (Index m = 1; m <= last; ++m) EXPECT_LT(s(0, m), plain(0, m));
    }
  }
}

TEST(Ntk, RejectsBadInput) {
  scaled::expect_rejects_dim_and_base([](Index dim, double base) { ntk(dim, base, 2); },
                                      {0, 1, 2, 7, -4}, {0.0, -1.0});
  scaled::expect_rejects([](double x) { ntk(8, 1e4, x); }, "factor", ">= 1", {0.0, -2.0, 0.5});
  EXPECT_TRUE(rejects([] { ntk(4, 1e4, 1e200); }, "factor", grape::detail::text(1e200), "finite"));
}

TEST(DynamicNtk, Golden) {
  const auto first = scaled::first_set("dynamic_ntk"), second = scaled::second_set("dynamic");
  ASSERT_EQ(first.size(), 1U);
  ASSERT_EQ(second.size(), 2U);
  for (const scaled::Golden& c : first) {
    scaled::expect_golden(dynamic_ntk(c.dim, c.base,
                                      {.factor = c.get<double>("factor"),
                                       .original_max_position = c.get<Index>("max_position"),
                                       .sequence_length = c.get<Index>("seq_len")}),
                          c);
  }
  for (const scaled::Golden& c : second) {
    scaled::expect_golden(
        dynamic_ntk(c.dim, c.base,
                    {.factor = c.get<double>("factor"),
                     .original_max_position = c.get<Index>("max_position_embeddings"),
                     .sequence_length = c.get<Index>("seq_len")}),
        c);
  }
}

grape::Spectrum at_length(Index tokens, double factor = 2) {
  return dynamic_ntk(64, 1e4,
                     {.factor = factor, .original_max_position = 4096, .sequence_length = tokens});
}

TEST(DynamicNtk, IsPlainWithinTheTrainedContext) {
  for (const Index tokens : {1, 100, 4095, 4096}) {
    scaled::expect_plain(at_length(tokens), 64, 1e4);
    scaled::expect_plain(at_length(tokens, 1), 64, 1e4);
  }
}

TEST(DynamicNtk, SlowsDownWithTheSequence) {
  grape::Spectrum before = at_length(4096);
  for (const Index tokens : {4097, 5000, 8192, 100000}) {
    const grape::Spectrum s = at_length(tokens);
    EXPECT_EQ(s(0, 0), 1.0);
    for (Index m = 1; m < 32; ++m) EXPECT_LT(s(0, m), before(0, m)) << tokens << " " << m;
    before = s;
  }
  // n = L s with factor 1 is NTK by s, since s n / L - (s - 1) = n / L then.
  const grape::Spectrum fixed = ntk(64, 1e4, 4);
  scaled::expect_equal(at_length(4 * 4096, 1),
                       {fixed.frequencies().begin(), fixed.frequencies().end()}, 1);
}

TEST(DynamicNtk, RejectsBadInput) {
  scaled::expect_rejects_dim_and_base(
      [](Index dim, double base) {
        dynamic_ntk(dim, base, {.factor = 2, .original_max_position = 64, .sequence_length = 100});
      },
      {0, 1, 2, 7, -4}, {0.0, -1.0});
  scaled::expect_rejects([](double x) { at_length(5000, x); }, "factor", ">= 1", {0.0, -2.0, 0.5});
  EXPECT_TRUE(rejects([] { at_length(0); }, "sequence_length", "0", ">= 1"));
  EXPECT_TRUE(rejects([] { at_length(-5); }, "sequence_length", "-5", ">= 1"));
  EXPECT_TRUE(rejects([] { dynamic_ntk(8, 1e4, {.factor = 2, .sequence_length = 9}); },
                      "original_max_position", "0", ">= 1"));
  EXPECT_TRUE(rejects([] { dynamic_ntk(8, 1e4, {}); }, "factor", "0", ">= 1"));
  EXPECT_TRUE(
      rejects([] { at_length(8192, 1e300); }, "factor", grape::detail::text(1e300), "finite"));
}

}  // namespace
