// SPDX-License-Identifier: Apache-2.0
#include "grape/spectrum/learned.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "grape/spectrum/log_uniform.hpp"
#include "support/errors.hpp"
#include "support/random.hpp"

namespace {

using grape::Spectrum;
namespace spectrum = grape::spectrum;

TEST(Learned, StartsFromAnySpectrum) {
  const Spectrum rope = spectrum::log_uniform(64, 10000.0);
  for (const double scale : {1.0, 16.0, 0.25}) {
    const Spectrum back = spectrum::learned(spectrum::log_frequencies(rope, scale), scale);
    for (grape::Index m = 0; m < rope.planes(); ++m) {
      // log theta is below 10 and rounded twice.
      EXPECT_NEAR(back(0, m) / rope(0, m), 1, 24 * 0x1p-53);
    }
  }
  const Spectrum sets = spectrum::learned(std::vector<double>{0, 1, 2, 3, 4, 5}, 2.0, 3);
  EXPECT_EQ(sets.sets(), 3);
  EXPECT_EQ(sets(2, 1), std::exp(2.5));
}

TEST(Learned, GradientsAgainstFiniteDifferences) {
  Random random(211);
  for (const double scale : {1.0, 16.0}) {
    const std::vector<double> log_frequency = random.uniforms(5, -3, 0),
                              w = random.uniforms(5, -1, 1);
    for (const bool negated : {false, true}) {
      const auto loss = [&](const std::vector<double>& x) {
        const Spectrum s = spectrum::learned(x, scale);
        double sum = 0;
        for (std::size_t i = 0; i < x.size(); ++i) {
          sum += w[i] * (negated ? s.negated() : s).frequencies()[i];
        }
        return sum;
      };
      const Spectrum s = spectrum::learned(log_frequency, scale);
      std::vector<double> d(5, 1.0);
      spectrum::learned_vjp(negated ? s.negated() : s, scale, w, d);
      constexpr double kStep = 0x1p-16;
      for (std::size_t i = 0; i < d.size(); ++i) {
        std::vector<double> up = log_frequency, down = log_frequency;
        up[i] += kStep;
        down[i] -= kStep;
        // The loss is below 5, its third derivative below 1.
        EXPECT_NEAR(d[i] - 1, (loss(up) - loss(down)) / (2 * kStep),
                    10 * 0x1p-53 / kStep + kStep * kStep);
      }
    }
  }
}

TEST(Learned, RejectsWhatItCannotUse) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  const std::vector<double> bad{0, kNan}, large{0, 800}, good{0, 1};
  EXPECT_TRUE(rejects([&] { spectrum::learned(bad); }, "log_frequencies[1]", "nan", "finite"));
  EXPECT_TRUE(rejects([&] { spectrum::learned(large); }, "frequencies[1]", "inf", "finite"));
  EXPECT_TRUE(rejects([&] { spectrum::learned(good, 0.0); }, "scale", "0", "> 0"));
  EXPECT_TRUE(rejects([&] { spectrum::learned(good, kNan); }, "scale", "nan", "> 0"));
  EXPECT_TRUE(rejects([&] { spectrum::learned(good, 1.0, 3); }, "sets", "3", "divisor"));
  EXPECT_TRUE(rejects(
      [&] {
        spectrum::log_frequencies(Spectrum({1.0, 0.0}));
      },
      "frequencies[1]", "0", "!= 0"));
  const Spectrum s = spectrum::learned(good);
  std::vector<double> one(1), two(2);
  EXPECT_TRUE(rejects([&] { spectrum::learned_vjp(s, 1, one, two); }, "d_frequencies", "1 entries",
                      "2 (sets x planes"));
  EXPECT_TRUE(rejects([&] { spectrum::learned_vjp(s, 1, two, one); }, "d_log_frequencies",
                      "1 entries", "2 (sets x planes"));
}

}  // namespace
