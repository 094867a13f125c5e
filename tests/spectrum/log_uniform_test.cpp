// SPDX-License-Identifier: Apache-2.0
#include "grape/spectrum/log_uniform.hpp"

#include <gtest/gtest.h>

#include "support/errors.hpp"
#include "support/golden.hpp"

namespace {

using grape::spectrum::log_uniform;
using grape::spectrum::proportional;

TEST(LogUniform, IsTheFormula) {
  for (const double base : {10000.0, 500000.0, 2.0, 0.5}) {
    for (const grape::Index dim : {2, 6, 64, 128}) {
      const grape::Spectrum s = log_uniform(dim, base);
      ASSERT_EQ(s.rotary_dim(), dim);
      EXPECT_EQ(s.sets(), 1);
      EXPECT_EQ(s.attention_factor(), 1.0);
      EXPECT_EQ(s(0, 0), 1.0);
      for (grape::Index m = 0; m < dim / 2; ++m) {
        const long double want =
            std::pow(static_cast<long double>(base),
                     -2.0L * static_cast<long double>(m) / static_cast<long double>(dim));
        // The exponent is rounded once (times log(base) < 14), the power once.
        EXPECT_NEAR(s(0, m) / static_cast<double>(want), 1.0, 16 * 0x1p-53) << base << " " << m;
      }
    }
  }
  EXPECT_EQ(log_uniform(64)(0, 5), log_uniform(64, 10000.0)(0, 5));
}

TEST(LogUniform, GoldenFrequencies) {
  int files = 0;
  for (const char* family : {"rope_half_split", "rope_interleaved"}) {
    for (const std::string& name : golden::families(family)) {
      const golden::Case c = golden::load(name);
      if (!c.has_input("inv_freq") || c.dtype() != "float64") continue;
      ++files;
      const std::vector<double> want = c.inputs("inv_freq").data;
      const grape::Spectrum s = log_uniform(c.config<int>("rotary_dim"), c.config<double>("base"));
      ASSERT_EQ(s.frequencies().size(), want.size()) << name;
      for (std::size_t m = 0; m < want.size(); ++m) {
        EXPECT_NEAR(s.frequencies()[m] / want[m], 1, 16 * 0x1p-53) << name << " " << m;
      }
    }
  }
  EXPECT_GT(files, 10);
}

TEST(LogUniform, RejectsWhatIsNoDimensionOrBase) {
  for (const grape::Index bad : {0, 1, 3, 127, -2, -1}) {
    EXPECT_TRUE(rejects([&] { log_uniform(bad, 10000.0); }, "rotary_dim", std::to_string(bad),
                        "even number >= 2"));
  }
  using Limits = std::numeric_limits<double>;
  for (const double bad : {0.0, -1.0, Limits::quiet_NaN(), Limits::infinity()}) {
    EXPECT_TRUE(rejects([&] { log_uniform(8, bad); }, "base", grape::detail::text(bad),
                        "finite value > 0"));
  }
}

TEST(Proportional, TurnsTheFirstPlanesOfTheWholeHead) {
  const grape::Spectrum full = log_uniform(16, 10000.0);
  for (const double fraction : {0.0, 0.25, 0.3, 0.5, 1.0}) {
    const grape::Spectrum s = proportional(16, 10000.0, fraction);
    ASSERT_EQ(s.planes(), 8);
    for (grape::Index m = 0; m < 8; ++m) {
      EXPECT_EQ(s(0, m), static_cast<double>(m) < std::floor(fraction * 8) ? full(0, m) : 0.0)
          << fraction << " " << m;
    }
  }
  EXPECT_TRUE(rejects([] { proportional(16, 1e4, -0.1); }, "fraction", "-0.1", "[0, 1]"));
  EXPECT_TRUE(rejects([] { proportional(16, 1e4, 1.5); }, "fraction", "1.5", "[0, 1]"));
  EXPECT_TRUE(rejects([] { proportional(16, 1e4, std::nan("")); }, "fraction", "nan", "[0, 1]"));
  EXPECT_TRUE(rejects([] { proportional(15, 1e4, 0.5); }, "dim", "15", "even"));
}

}  // namespace
