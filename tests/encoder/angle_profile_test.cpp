// SPDX-License-Identifier: Apache-2.0
#include "grape/generator/angle_profile.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "grape/apply/rotation.hpp"
#include "grape/presets.hpp"
#include "grape/spectrum/log_uniform.hpp"
#include "grape/spectrum/yarn.hpp"
#include "support/errors.hpp"
#include "support/golden.hpp"
#include "support/random.hpp"

namespace {

using grape::AngleProfile;
using grape::Index;
using grape::Positions;
using grape::Spectrum;

constexpr AngleProfile kProfiles[] = {AngleProfile::exact, AngleProfile::float32_product,
                                      AngleProfile::float32_recurrence,
                                      AngleProfile::bfloat16_tables};

// The table of angle_profile.hpp and of the README, against 60 digits: no worse, and no better
// either, or a profile would not do what it says. A last bit of libm is left for the machine.
TEST(AngleProfile, ErrorsAreTheDocumentedOnes) {
  const std::map<std::int64_t, std::vector<double>> documented{
      {4095, {2.95e-8, 1.36e-4, 4.99e-4, 2.03e-3}},
      {131071, {2.96e-8, 2.61e-3, 1.20e-2, 2.63e-3}},
      {16777215, {2.97e-8, 0.722, 1.04, 0.723}},
      {2147483647, {2.98e-8, 1.97, 2.00, 1.97}}};
  std::map<std::int64_t, std::vector<double>> worst;
  const golden::Case file = golden::load("long_positions");
  for (const auto& c : file.json().at("cases")) {
    const auto theta = c.at("theta").get<std::vector<double>>();
    const auto cosines = c.at("cos").get<std::vector<double>>();
    const auto sines = c.at("sin").get<std::vector<double>>();
    const auto n = c.at("n").get<std::int64_t>();
    worst.try_emplace(n, 4, 0.0);
    for (std::size_t p = 0; p < 4; ++p) {
      const auto action =
          grape::RoPE<float>(Spectrum(theta), kProfiles[p]).at(Positions::range(n, 1));
      for (std::size_t m = 0; m < theta.size(); ++m) {
        const auto got = action.element(0, 0, 0, static_cast<Index>(m));
        worst[n][p] =
            std::max({worst[n][p], std::fabs(got.cos - cosines[m]), std::fabs(got.sin - sines[m])});
      }
    }
  }
  for (const auto& [n, errors] : documented) {
    ASSERT_EQ(worst.count(n), 1U) << n;
    for (std::size_t p = 0; p < 4; ++p) {
      EXPECT_LE(worst[n][p], 1.01 * errors[p]) << n << " " << p;
      EXPECT_GE(worst[n][p], (p == 0 ? 0.5 : 0.98) * errors[p]) << n << " " << p;
    }
  }
}

// The loops of the two engines, one after the other.
TEST(AngleProfile, IsWhatTheEnginesCompute) {
  constexpr int kPlanes = 32;
  const double base = 10000;
  const Spectrum spectrum = grape::spectrum::log_uniform(2 * kPlanes, base);
  const std::vector<std::int64_t> list{0, 1, 77, 4095, -3, 131071};
  const auto product =
      grape::RoPE<double>(spectrum, AngleProfile::float32_product).at(Positions::shared(list));
  const auto rounded =
      grape::RoPE<double>(spectrum, AngleProfile::bfloat16_tables).at(Positions::shared(list));
  const auto recurrence =
      grape::RoPE<double>(spectrum, AngleProfile::float32_recurrence).at(Positions::shared(list));
  for (std::size_t t = 0; t < list.size(); ++t) {
    const auto n = static_cast<float>(list[t]);
    float theta = n;
    // theta_scale = powf(base, -2 / n_dims), to an ulp.
    const auto scale = static_cast<float>(std::pow(base, -1.0 / kPlanes));
    for (int m = 0; m < kPlanes; ++m) {
      const auto token = static_cast<Index>(t);
      const auto frequency = static_cast<float>(std::pow(base, -static_cast<double>(m) / kPlanes));
      const float angle = n * frequency;
      EXPECT_EQ(product.element(0, token, 0, m).cos, std::cos(angle));
      EXPECT_EQ(product.element(0, token, 0, m).sin, std::sin(angle));
      EXPECT_EQ(rounded.element(0, token, 0, m).cos,
                static_cast<float>(static_cast<Eigen::bfloat16>(std::cos(angle))));
      EXPECT_EQ(recurrence.element(0, token, 0, m).cos, std::cos(theta)) << n << " " << m;
      EXPECT_EQ(recurrence.element(0, token, 0, m).sin, std::sin(theta)) << n << " " << m;
      theta *= scale;
    }
  }
}

TEST(AngleProfile, GoesWithFactorsAxesPhasesAndSets) {
  Random random(261);
  const Spectrum spectrum = grape::Spectrum::per_head({1.0, 0.5, 0.25, 0.9, 0.3, 0.1}, 2, 1.25);
  const std::vector<std::int64_t> grid{5, 1000, 7, 2000};
  using Planes = grape::CanonicalPlanes<float>;
  const auto axes = grape::AxialRoPE<float>(Planes(spectrum, AngleProfile::float32_recurrence),
                                            grape::AxialPath::sections({1, 2}))
                        .at(Positions::axes(grid, 2, 1, 2));
  // Plane 2 of set 1 at the second token: coordinate 2000, 0.9 * (2000 * (0.3 / 0.9)^2).
  const auto ratio = static_cast<float>(0.3 / 0.9);
  const float angle = static_cast<float>(0.9) * (2000.0F * ratio * ratio);
  EXPECT_EQ(axes.element(0, 1, 1, 2).cos, std::cos(angle) * 1.25F);
  const std::vector<float> omega{0.1F, 0.2F, 0.3F};
  const auto phases = grape::ContextualRoPE<float>(spectrum, AngleProfile::float32_product)
                          .at(grape::blh(omega.data(), 1, 3, 1));
  const auto phase = static_cast<float>(static_cast<double>(0.1F) + static_cast<double>(0.2F));
  EXPECT_EQ(phases.element(0, 2, 1, 1).sin, std::sin(static_cast<float>(0.3) * phase) * 1.25F);
}

TEST(AngleProfile, ARecurrenceNeedsAGeometricSpectrum) {
  const auto build = [](const Spectrum& s) {
    grape::RoPE<float> rope(s, AngleProfile::float32_recurrence);
  };
  EXPECT_NO_THROW(build(grape::spectrum::log_uniform(128, 1e6)));
  EXPECT_NO_THROW(build(Spectrum({0.5, 0.7})));
  EXPECT_NO_THROW(build(Spectrum({0.5})));
  EXPECT_TRUE(rejects(
      [&] {
        build(Spectrum({1.0, 0.5, 0.3}));
      },
      "frequencies[2]", "0.29999", "float32_recurrence"));
  EXPECT_TRUE(rejects(
      [&] {
        build(Spectrum::per_head({1, 0.5, 0.25, 1, 0.5, 0.3}, 2));
      },
      "frequencies[5]", "0.29999", "float32_recurrence"));
  EXPECT_TRUE(rejects(
      [&] {
        build(Spectrum({0.0, 0.5, 0.5}));
      },
      "frequencies[0]", "0", "divides by"));
  EXPECT_TRUE(rejects(
      [&] {
        build(Spectrum::per_head({1.0, 0.5, 1e-50, 0.5}, 2));
      },
      "frequencies[2]", "1e-50", "divides by"));
}

// Hugging Face's rotary embedding in float32, given its own frequencies: its rounding meets it to a
// few ulp, where exact angles show its error.
TEST(AngleProfile, MeetsTheReferenceThatComputesInFloat) {
  int files = 0;
  for (const char* name :
       {"more/rope_half_split__float32_B1T5H2d64", "more/rope_half_split__float32_B2T7H3d8"}) {
    SCOPED_TRACE(name);
    const golden::Case c = golden::load(name);
    const golden::Array x = c.inputs("x"), y = c.outputs("y");
    std::vector<std::int64_t> positions;
    for (const double n : c.inputs("positions").data) {
      positions.push_back(static_cast<std::int64_t>(n));
    }
    const auto error = [&](AngleProfile profile) {
      std::vector<float> data = x.as<float>();
      const grape::RoPE<float, grape::Pairing::half_split> rope(Spectrum(c.inputs("inv_freq").data),
                                                                profile);
      grape::apply_rotation(
          rope, Positions::per_token(positions, x.shape[0], x.shape[1]),
          grape::blhd(data.data(), x.shape[0], x.shape[1], x.shape[2], x.shape[3]));
      double worst = 0;
      for (std::size_t i = 0; i < data.size(); ++i) {
        worst = std::max(worst, std::fabs(static_cast<double>(data[i]) - y.data[i]));
      }
      return worst;
    };
    // Inputs are below 4: entries off by an ulp of 1, two products and a sum.
    EXPECT_LE(error(AngleProfile::float32_product), 4 * 4 * 0x1p-24);
    EXPECT_GE(error(AngleProfile::exact), 1e-5);
    ++files;
  }
  EXPECT_EQ(files, 2);
}

}  // namespace
