// SPDX-License-Identifier: Apache-2.0
#include "grape/spectrum/longrope.hpp"

#include "spectrum/scaled.hpp"

namespace {

using grape::Index;
using grape::spectrum::longrope;
using grape::spectrum::LongRopeOptions;

const LongRopeOptions kSmall{.short_factors = {1, 1.5, 2},
                             .long_factors = {1, 4, 16},
                             .original_max_position = 4096,
                             .sequence_length = 4096,
                             .factor = 32};

TEST(LongRope, Golden) {
  const auto first = scaled::first_set("longrope"), second = scaled::second_set("longrope");
  ASSERT_EQ(first.size(), 1U);
  ASSERT_EQ(second.size(), 4U);
  for (const scaled::Golden& c : first) {
    const auto factors = c.get<std::vector<double>>("factors");
    const auto original = c.get<Index>("original_max_position");
    for (const Index tokens : {original, original + 1}) {
      scaled::expect_golden(
          longrope(c.dim, c.base,
                   {.short_factors = factors,
                    .long_factors = factors,
                    .original_max_position = original,
                    .sequence_length = tokens,
                    .factor = c.get<double>("max_position") / static_cast<double>(original)}),
          c);
    }
  }
  for (const scaled::Golden& c : second) {
    const auto original = c.get<Index>("config_original_max_position_embeddings");
    scaled::expect_golden(longrope(c.dim, c.base,
                                   {.short_factors = c.get<std::vector<double>>("short_factor"),
                                    .long_factors = c.get<std::vector<double>>("long_factor"),
                                    .original_max_position = original,
                                    // Without a length the reference takes the short list.
                                    .sequence_length = c.get_or<Index>("seq_len", original),
                                    .factor = c.get<double>("max_position_embeddings") /
                                              static_cast<double>(original)}),
                          c);
  }
}

TEST(LongRope, OnesAreThePlainFrequencies) {
  const std::vector<double> ones(32, 1.0);
  for (const Index tokens : {1, 4096, 4097, 100000}) {
    scaled::expect_plain(longrope(64, 1e4,
                                  {.short_factors = ones,
                                   .long_factors = ones,
                                   .original_max_position = 4096,
                                   .sequence_length = tokens,
                                   .factor = 1}),
                         64, 1e4);
  }
}

TEST(LongRope, TheLengthChoosesTheList) {
  const grape::Spectrum plain = grape::spectrum::log_uniform(6, 1e4);
  for (const Index tokens : {1, 4095, 4096, 4097, 131072, 1000000}) {
    LongRopeOptions options = kSmall;
    options.sequence_length = tokens;
    const grape::Spectrum s = longrope(6, 1e4, options);
    const auto& lambda = tokens > 4096 ? kSmall.long_factors : kSmall.short_factors;
    ASSERT_EQ(s.planes(), 3);
    for (Index m = 0; m < 3; ++m) {
      EXPECT_EQ(s(0, m), plain(0, m) / lambda[static_cast<std::size_t>(m)]) << tokens << " " << m;
    }
    EXPECT_NEAR(s.attention_factor(), std::sqrt(1 + std::log(32.0) / std::log(4096.0)), 0x1p-51);
    scaled::expect_decreasing(s);
  }
}

TEST(LongRope, ExplicitAttentionFactorReplacesTheComputedOne) {
  for (const double given : {1.0, 0.5, 1.1902380714238083, 2.0}) {
    LongRopeOptions options = kSmall;
    options.attention_factor = given;
    EXPECT_EQ(longrope(6, 1e4, options).attention_factor(), given);
    options.sequence_length = 5000;
    EXPECT_EQ(longrope(6, 1e4, options).attention_factor(), given);
  }
}

TEST(LongRope, RejectsBadInput) {
  EXPECT_TRUE(rejects([] { longrope(7, 1e4, kSmall); }, "rotary_dim", "7", "even"));
  EXPECT_TRUE(rejects([] { longrope(0, 1e4, kSmall); }, "rotary_dim", "0", "even"));
  scaled::expect_rejects([](double base) { longrope(6, base, kSmall); }, "base", "> 0",
                         {0.0, -1.0});
  EXPECT_TRUE(rejects([] { longrope(8, 1e4, kSmall); }, "short_factors", "3 factors",
                      "4, one for each plane"));

  const auto changed = [](auto&& change) {
    return [change](auto x) {
      LongRopeOptions options = kSmall;
      change(options, x);
      longrope(6, 1e4, options);
    };
  };
  scaled::expect_rejects(changed([](LongRopeOptions& o, double x) { o.short_factors[1] = x; }),
                         "short_factors[1]", "> 0", {0.0, -1.0});
  scaled::expect_rejects(changed([](LongRopeOptions& o, double x) { o.long_factors[2] = x; }),
                         "long_factors[2]", "> 0", {0.0, -1.0});
  scaled::expect_rejects(changed([](LongRopeOptions& o, double x) { o.factor = x; }), "factor",
                         ">= 1", {0.0, -32.0, 0.5});
  scaled::expect_rejects(changed([](LongRopeOptions& o, double x) { o.attention_factor = x; }),
                         "attention_factor", "> 0", {0.0, -1.0});
  const auto list = changed([](LongRopeOptions& o, std::size_t n) { o.long_factors.resize(n, 1); });
  for (const std::size_t n : {0U, 2U, 4U}) {
    EXPECT_TRUE(rejects([&] { list(n); }, "long_factors", std::to_string(n) + " factors",
                        "3, one for each plane"));
  }
  const auto original = changed([](LongRopeOptions& o, Index n) { o.original_max_position = n; });
  const auto tokens = changed([](LongRopeOptions& o, Index n) { o.sequence_length = n; });
  for (const Index n : {0, -4}) {
    EXPECT_TRUE(rejects([&] { tokens(n); }, "sequence_length", std::to_string(n), ">= 1"));
    EXPECT_TRUE(rejects([&] { original(n); }, "original_max_position", std::to_string(n), ">= 2"));
  }
  EXPECT_TRUE(rejects([&] { original(Index{1}); }, "original_max_position", "1", ">= 2"));
}

}  // namespace
