// SPDX-License-Identifier: Apache-2.0
#include "grape/spectrum/yarn.hpp"

#include <algorithm>

#include "spectrum/scaled.hpp"

namespace {

using grape::Index;
using grape::spectrum::deepseek_softmax_scale_factor;
using grape::spectrum::yarn;
using grape::spectrum::YarnOptions;

constexpr double kPi = 3.14159265358979323846;
const YarnOptions kQwen{.factor = 4, .original_max_position = 32768};

// The options of a case; absent keys keep grape's defaults.
YarnOptions options_of(const scaled::Golden& c, const char* original) {
  const YarnOptions defaults;
  return {.factor = c.get<double>("factor"),
          .original_max_position = c.get<Index>(original),
          .beta_fast = c.get_or<double>("beta_fast", defaults.beta_fast),
          .beta_slow = c.get_or<double>("beta_slow", defaults.beta_slow),
          .truncate = c.get_or<bool>("truncate", defaults.truncate),
          .mscale = c.get_or<double>("mscale", defaults.mscale),
          .mscale_all_dim = c.get_or<double>("mscale_all_dim", defaults.mscale_all_dim)};
}

TEST(Yarn, Golden) {
  const auto first = scaled::first_set("yarn"), second = scaled::second_set("yarn");
  ASSERT_EQ(first.size(), 1U);
  ASSERT_EQ(second.size(), 4U);
  for (const scaled::Golden& c : first) {
    scaled::expect_golden(yarn(c.dim, c.base, options_of(c, "original_max_position")), c);
  }
  for (const scaled::Golden& c : second) {
    scaled::expect_golden(yarn(c.dim, c.base, options_of(c, "original_max_position_embeddings")),
                          c);
  }
}

TEST(Yarn, FactorOneIsPlain) {
  for (const bool truncate : {true, false}) {
    scaled::expect_plain(
        yarn(128, 1e6, {.factor = 1, .original_max_position = 32768, .truncate = truncate}), 128,
        1e6);
  }
}

TEST(Yarn, FastPlanesStayAndSlowOnesAreInterpolated) {
  const grape::Spectrum plain = grape::spectrum::log_uniform(128, 1e6);
  for (const bool truncate : {true, false}) {
    YarnOptions options = kQwen;
    options.truncate = truncate;
    const grape::Spectrum s = yarn(128, 1e6, options);
    // Truncation moves the ends by less than one plane.
    const double widened = truncate ? std::pow(1e6, 2.0 / 128) : 1;
    int fast = 0, between = 0, slow = 0;
    for (Index m = 0; m < 64; ++m) {
      const double turns = 32768 * plain(0, m) / (2 * kPi);
      if (turns > 32 * widened) {
        EXPECT_EQ(s(0, m), plain(0, m)) << m;
        ++fast;
      } else if (turns < 1 / widened) {
        EXPECT_NEAR(s(0, m) * 4 / plain(0, m), 1, scaled::kTolerance) << m;
        ++slow;
      } else if (turns < 32 && turns > 1) {
        EXPECT_GT(s(0, m), plain(0, m) / 4) << m;
        EXPECT_LT(s(0, m), plain(0, m)) << m;
        ++between;
      }
    }
    EXPECT_GT(fast, 0);
    EXPECT_GT(between, 0);
    EXPECT_GT(slow, 0);
    scaled::expect_decreasing(s);
  }
}

// The ramp from its definition, with the ends worked out apart: for d = 64, base 1e4, L = 4096 the
// plane that turns 32 times is 64 ln(4096 / 64 pi) / (2 ln 1e4), and so on.
TEST(Yarn, TruncationRoundsTheEndsOfTheRamp) {
  const grape::Spectrum plain = grape::spectrum::log_uniform(64, 1e4);
  const long double low = 64 * std::log(4096 / (64 * std::acos(-1.0L))) / (2 * std::log(1e4L));
  const long double high = 64 * std::log(4096 / (2 * std::acos(-1.0L))) / (2 * std::log(1e4L));
  ASSERT_EQ(std::floor(low), 10);
  ASSERT_EQ(std::ceil(high), 23);
  for (const bool truncate : {true, false}) {
    const long double from = truncate ? 10 : low, to = truncate ? 23 : high;
    std::vector<double> want;
    for (Index m = 0; m < 32; ++m) {
      const long double ramp =
          std::clamp((static_cast<long double>(m) - from) / (to - from), 0.0L, 1.0L);
      want.push_back(static_cast<double>(plain(0, m) * (1 - ramp + ramp / 40)));
    }
    const grape::Spectrum s =
        yarn(64, 1e4, {.factor = 40, .original_max_position = 4096, .truncate = truncate});
    // ln(base) and the cut positions are rounded before the ramp; a slow plane's share of 1 / 40
    // makes 40 of each rounding.
    ASSERT_EQ(s.planes(), 32);
    for (Index m = 0; m < 32; ++m) {
      EXPECT_NEAR(s(0, m) / want[static_cast<std::size_t>(m)], 1, 400 * 0x1p-53) << m;
    }
  }
  const grape::Spectrum cut = yarn(64, 1e4, {.factor = 40, .original_max_position = 4096});
  const grape::Spectrum uncut =
      yarn(64, 1e4, {.factor = 40, .original_max_position = 4096, .truncate = false});
  EXPECT_EQ(cut(0, 10), uncut(0, 10));
  EXPECT_LT(cut(0, 11), uncut(0, 11));
  EXPECT_GT(cut(0, 22), uncut(0, 22));
}

TEST(Yarn, BetasMoveTheRamp) {
  YarnOptions options = kQwen;
  const grape::Spectrum usual = yarn(128, 1e6, options);
  options.beta_fast = 64;
  const grape::Spectrum earlier = yarn(128, 1e6, options);
  options.beta_fast = 32;
  options.beta_slow = 0.25;
  const grape::Spectrum later = yarn(128, 1e6, options);
  bool faster = false, slower = false;
  for (Index m = 0; m < 64; ++m) {
    EXPECT_LE(earlier(0, m), usual(0, m));
    EXPECT_GE(later(0, m), usual(0, m));
    slower |= earlier(0, m) < usual(0, m);
    faster |= later(0, m) > usual(0, m);
  }
  EXPECT_TRUE(slower && faster);
  // Equal betas without truncation: a step.
  options.beta_fast = options.beta_slow = 1.8;
  options.truncate = false;
  const grape::Spectrum step = yarn(128, 1e6, options);
  const grape::Spectrum plain = grape::spectrum::log_uniform(128, 1e6);
  for (Index m = 0; m < 64; ++m) {
    const bool fast = 32768 * plain(0, m) / (2 * kPi) > 1.8;
    EXPECT_NEAR(step(0, m) / plain(0, m), fast ? 1 : 0.25, scaled::kTolerance) << m;
  }
}

// d = 8, base 10: L = 512 puts the ends at floor(1.6) and min(ceil(7.6), d - 1), L = 4 both at 0.
TEST(Yarn, TheRampIsBoundedByZeroAndTheDimensionLessOne) {
  const grape::Spectrum plain = grape::spectrum::log_uniform(8, 10);
  const auto expect_ramp = [&](Index length, const std::vector<double>& ramp) {
    const grape::Spectrum s = yarn(8, 10, {.factor = 4, .original_max_position = length});
    for (Index m = 0; m < 4; ++m) {
      EXPECT_NEAR(s(0, m) / plain(0, m), 1 - 0.75 * ramp[static_cast<std::size_t>(m)], 4 * 0x1p-53)
          << length << " " << m;
    }
  };
  expect_ramp(512, {0, 0, 1.0 / 6, 1.0 / 3});
  expect_ramp(4, {0, 1, 1, 1});
}

TEST(Yarn, AttentionFactorIsComputed) {
  EXPECT_NEAR(yarn(128, 1e6, kQwen).attention_factor(), 0.1 * std::log(4.0) + 1, 0x1p-50);
  YarnOptions options = kQwen;
  options.mscale = 0.5;
  EXPECT_NEAR(yarn(128, 1e6, options).attention_factor(), 0.05 * std::log(4.0) + 1, 0x1p-50);
  options.mscale_all_dim = 2;
  EXPECT_NEAR(yarn(128, 1e6, options).attention_factor(),
              (0.05 * std::log(4.0) + 1) / (0.2 * std::log(4.0) + 1), 0x1p-50);
  options.mscale = 2;
  EXPECT_EQ(yarn(128, 1e6, options).attention_factor(), 1.0);
}

TEST(Yarn, ExplicitAttentionFactorReplacesTheComputedOne) {
  const grape::Spectrum computed = yarn(128, 1e6, kQwen);
  for (const double given : {1.0, 0.5, 1.2079, 3.0}) {
    YarnOptions options = kQwen;
    options.attention_factor = given;
    EXPECT_EQ(yarn(128, 1e6, options).attention_factor(), given);
    options.mscale = 0.7;
    options.mscale_all_dim = 0.3;
    const grape::Spectrum s = yarn(128, 1e6, options);
    EXPECT_EQ(s.attention_factor(), given);
    for (Index m = 0; m < 64; ++m) EXPECT_EQ(s(0, m), computed(0, m));
  }
}

TEST(Yarn, RejectsBadInput) {
  scaled::expect_rejects_dim_and_base([](Index dim, double base) { yarn(dim, base, kQwen); },
                                      {0, 1, 7, -2}, {0.0, -1.0, 0.5, 1.0});
  const auto with = [](double YarnOptions::*member) {
    return [member](double x) {
      YarnOptions options = kQwen;
      options.*member = x;
      yarn(8, 1e4, options);
    };
  };
  scaled::expect_rejects(with(&YarnOptions::factor), "factor", ">= 1", {0.0, -4.0, 0.25});
  scaled::expect_rejects(with(&YarnOptions::beta_slow), "beta_slow", "> 0", {0.0, -1.0});
  scaled::expect_rejects(with(&YarnOptions::beta_fast), "beta_fast", ">= beta_slow = 1",
                         {0.0, -32.0, 0.5});
  scaled::expect_rejects(with(&YarnOptions::mscale), "mscale", ">= 0", {-0.5});
  scaled::expect_rejects(with(&YarnOptions::mscale_all_dim), "mscale_all_dim", ">= 0", {-0.5});
  scaled::expect_rejects(
      [](double x) {
        YarnOptions options = kQwen;
        options.attention_factor = x;
        yarn(8, 1e4, options);
      },
      "attention_factor", "> 0", {0.0, -1.0});
  EXPECT_TRUE(rejects([] { yarn(8, 1e4, {.factor = 4}); }, "original_max_position", "0", ">= 1"));
  EXPECT_TRUE(rejects([] { yarn(8, 1e4, {}); }, "factor", "0", ">= 1"));
}

TEST(Yarn, RejectsARampThatRunsBackwards) {
  // Even the fastest plane turns less than once, or even the slowest more than 32 times.
  EXPECT_TRUE(rejects([] { yarn(64, 1e4, {.factor = 4, .original_max_position = 1}); },
                      "original_max_position", "1", "between 1 and 32 times"));
  EXPECT_TRUE(rejects([] { yarn(64, 1.5, {.factor = 4, .original_max_position = 4096}); },
                      "original_max_position", "4096", "between 1 and 32 times"));
}

TEST(DeepseekSoftmaxScaleFactor, IsTheFormula) {
  // DeepSeek-V3 and DeepSeek-V2-Lite: 1.87 and 1.59, with attention factor 1.
  EXPECT_NEAR(deepseek_softmax_scale_factor(40, 1), std::pow(0.1 * std::log(40.0) + 1, 2), 0x1p-50);
  EXPECT_NEAR(deepseek_softmax_scale_factor(40, 1), 1.87, 0.005);
  EXPECT_NEAR(deepseek_softmax_scale_factor(40, 0.707), 1.59, 0.005);
  EXPECT_EQ(deepseek_softmax_scale_factor(40, 0), 1.0);
  EXPECT_EQ(deepseek_softmax_scale_factor(1, 1), 1.0);
  int cases = 0;
  for (const scaled::Golden& c : scaled::second_set("yarn")) {
    if (!c.config.contains("mscale_all_dim")) continue;
    ++cases;
    // mscale(s, mscale)^2 = attention_factor^2 * the softmax-scale factor.
    const double mscale = 0.1 * c.get<double>("mscale") * std::log(c.get<double>("factor")) + 1;
    EXPECT_NEAR(
        deepseek_softmax_scale_factor(c.get<double>("factor"), c.get<double>("mscale_all_dim")) *
            c.attention_factor * c.attention_factor,
        mscale * mscale, 32 * 0x1p-52)
        << c.name;
  }
  EXPECT_EQ(cases, 3);
}

TEST(DeepseekSoftmaxScaleFactor, RejectsBadInput) {
  scaled::expect_rejects([](double x) { deepseek_softmax_scale_factor(x, 1); }, "factor", ">= 1",
                         {0.0, -40.0, 0.5});
  scaled::expect_rejects([](double x) { deepseek_softmax_scale_factor(40, x); }, "mscale_all_dim",
                         ">= 0", {-1.0});
  EXPECT_TRUE(rejects([] { deepseek_softmax_scale_factor(40, 1e200); }, "mscale_all_dim",
                      grape::detail::text(1e200), "does not overflow"));
}

}  // namespace
