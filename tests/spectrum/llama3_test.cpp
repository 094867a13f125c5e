// SPDX-License-Identifier: Apache-2.0
#include "grape/spectrum/llama3.hpp"

#include "spectrum/scaled.hpp"

namespace {

using grape::Index;
using grape::spectrum::llama3;
using grape::spectrum::Llama3Options;

TEST(Llama3, Golden) {
  const auto first = scaled::first_set("llama3"), second = scaled::second_set("llama3");
  ASSERT_EQ(first.size(), 1U);
  ASSERT_EQ(second.size(), 1U);
  const auto check = [](const scaled::Golden& c, const char* original) {
    scaled::expect_golden(llama3(c.dim, c.base,
                                 {.factor = c.get<double>("factor"),
                                  .original_max_position = c.get<Index>(original),
                                  .low_freq_factor = c.get<double>("low_freq_factor"),
                                  .high_freq_factor = c.get<double>("high_freq_factor")}),
                          c);
  };
  for (const scaled::Golden& c : first) check(c, "original_max_position");
  for (const scaled::Golden& c : second) check(c, "original_max_position_embeddings");
}

TEST(Llama3, FactorOneIsPlain) {
  scaled::expect_plain(llama3(128, 5e5, {.factor = 1, .original_max_position = 8192}), 128, 5e5);
}

TEST(Llama3, FastPlanesStayAndSlowOnesAreInterpolated) {
  const grape::Spectrum plain = grape::spectrum::log_uniform(128, 5e5);
  const grape::Spectrum s = llama3(128, 5e5, {.factor = 8, .original_max_position = 8192});
  int fast = 0, between = 0, slow = 0;
  for (Index m = 0; m < 64; ++m) {
    const double turns = 8192 * plain(0, m) / (2 * 3.14159265358979323846);
    if (turns > 4) {
      EXPECT_EQ(s(0, m), plain(0, m)) << m;
      ++fast;
    } else if (turns < 1) {
      EXPECT_EQ(s(0, m), plain(0, m) / 8) << m;
      ++slow;
    } else {
      EXPECT_GT(s(0, m), plain(0, m) / 8) << m;
      EXPECT_LT(s(0, m), plain(0, m)) << m;
      ++between;
    }
  }
  EXPECT_GT(fast, 0);
  EXPECT_GT(between, 0);
  EXPECT_GT(slow, 0);
  scaled::expect_decreasing(s);
  EXPECT_EQ(s.attention_factor(), 1.0);
}

// Llama 4 Scout: no plane lies between, so each is left or divided whole.
TEST(Llama3, EqualFactorsAreAStep) {
  const grape::Spectrum plain = grape::spectrum::log_uniform(128, 5e5);
  const grape::Spectrum s = llama3(
      128, 5e5,
      {.factor = 16, .original_max_position = 8192, .low_freq_factor = 1, .high_freq_factor = 1});
  int fast = 0;
  for (Index m = 0; m < 64; ++m) {
    const bool stays = 8192 * plain(0, m) > 2 * 3.14159265358979323846;
    EXPECT_EQ(s(0, m), stays ? plain(0, m) : plain(0, m) / 16) << m;
    fast += stays;
  }
  EXPECT_GT(fast, 0);
  EXPECT_LT(fast, 64);
}

TEST(Llama3, DefaultsAreLlamas) {
  const grape::Spectrum a = llama3(64, 5e5, {.factor = 32, .original_max_position = 8192});
  const grape::Spectrum b = llama3(
      64, 5e5,
      {.factor = 32, .original_max_position = 8192, .low_freq_factor = 1, .high_freq_factor = 4});
  for (Index m = 0; m < 32; ++m) EXPECT_EQ(a(0, m), b(0, m));
}

TEST(Llama3, RejectsBadInput) {
  const Llama3Options good{.factor = 8, .original_max_position = 8192};
  scaled::expect_rejects_dim_and_base([&](Index dim, double base) { llama3(dim, base, good); },
                                      {0, 1, 7, -2}, {0.0, -1.0});
  const auto with = [&](double Llama3Options::*member) {
    return [&good, member](double x) {
      Llama3Options options = good;
      options.*member = x;
      llama3(8, 5e5, options);
    };
  };
  scaled::expect_rejects(with(&Llama3Options::factor), "factor", ">= 1", {0.0, -8.0, 0.125});
  scaled::expect_rejects(with(&Llama3Options::low_freq_factor), "low_freq_factor", "> 0",
                         {0.0, -1.0});
  scaled::expect_rejects(with(&Llama3Options::high_freq_factor), "high_freq_factor",
                         ">= low_freq_factor = 1", {0.5, -4.0});
  EXPECT_TRUE(rejects([] { llama3(8, 5e5, {.factor = 8}); }, "original_max_position", "0", ">= 1"));
  EXPECT_TRUE(rejects([] { llama3(8, 5e5, {}); }, "factor", "0", ">= 1"));
}

}  // namespace
