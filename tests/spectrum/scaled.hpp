// SPDX-License-Identifier: Apache-2.0
// The golden scaled spectra of both sets in one frame, and what all tests of scaled spectra ask.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "grape/spectrum/log_uniform.hpp"
#include "support/errors.hpp"
#include "support/golden.hpp"

namespace scaled {

struct Golden {
  std::string name;
  nlohmann::json config;
  grape::Index dim;
  double base;
  std::vector<double> frequencies;
  double attention_factor;

  template <class T>
  T get(const char* key) const {
    if (!config.contains(key)) throw std::runtime_error(name + " has no " + key);
    return config[key].get<T>();
  }
  template <class T>
  T get_or(const char* key, T otherwise) const {
    return config.contains(key) ? config[key].get<T>() : otherwise;
  }
};

// Every case of one type in spectra.json.
inline std::vector<Golden> first_set(const std::string& type) {
  std::vector<Golden> out;
  const golden::Case file = golden::load("spectra");
  for (const nlohmann::json& c : file.json().at("cases")) {
    if (c.at("type").get<std::string>() != type) continue;
    out.push_back({"spectra: " + type, c, c.at("dim").get<grape::Index>(),
                   c.at("base").get<double>(), c.at("freq").get<std::vector<double>>(),
                   c.at("attention_factor").get<double>()});
  }
  return out;
}

// Every case of one rope_type in more/rope_scaling__*.json.
inline std::vector<Golden> second_set(const std::string& type) {
  std::vector<Golden> out;
  for (const std::string& name : golden::families("rope_scaling")) {
    const golden::Case c = golden::load(name);
    if (c.config<std::string>("rope_type") != type) continue;
    out.push_back({name, c.json().at("config"), c.config<grape::Index>("head_dim"),
                   c.config<double>("rope_theta"), c.outputs("inv_freq_f64").data,
                   c.outputs("attention_factor").data.at(0)});
  }
  return out;
}

// Both sides round a power (whose exponent times ln(base) < 14 is rounded before), and a few
// products after it.
inline constexpr double kTolerance = 64 * 0x1p-53;

inline void expect_equal(const grape::Spectrum& s, const std::vector<double>& want,
                         double attention_factor) {
  ASSERT_EQ(s.frequencies().size(), want.size());
  EXPECT_EQ(s.sets(), 1);
  for (std::size_t m = 0; m < want.size(); ++m) {
    EXPECT_NEAR(s.frequencies()[m] / want[m], 1, kTolerance) << m;
  }
  EXPECT_NEAR(s.attention_factor() / attention_factor, 1, kTolerance);
}

inline void expect_golden(const grape::Spectrum& s, const Golden& c) {
  SCOPED_TRACE(c.name);
  expect_equal(s, c.frequencies, c.attention_factor);
}

// Bit for bit RoPE's frequencies and attention factor.
inline void expect_plain(const grape::Spectrum& s, grape::Index dim, double base) {
  const grape::Spectrum plain = grape::spectrum::log_uniform(dim, base);
  ASSERT_EQ(s.planes(), plain.planes());
  for (grape::Index m = 0; m < plain.planes(); ++m) EXPECT_EQ(s(0, m), plain(0, m)) << m;
  EXPECT_EQ(s.attention_factor(), 1.0);
}

inline void expect_decreasing(const grape::Spectrum& s) {
  for (grape::Index m = 1; m < s.planes(); ++m) EXPECT_LT(s(0, m), s(0, m - 1)) << m;
}

inline constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
inline constexpr double kInfinity = std::numeric_limits<double>::infinity();

// `make(x)` takes x for the argument and must refuse all of these.
template <class F>
void expect_rejects(F&& make, const char* argument, const char* wanted, std::vector<double> bad) {
  bad.insert(bad.end(), {kNan, -kNan, kInfinity, -kInfinity});
  for (const double x : bad) {
    EXPECT_TRUE(rejects([&] { make(x); }, argument, grape::detail::text(x), wanted));
  }
}

template <class F>
void expect_rejects_dim_and_base(F&& make, std::vector<grape::Index> dims,
                                 std::vector<double> bases) {
  for (const grape::Index dim : dims) {
    EXPECT_TRUE(rejects([&] { make(dim, 1e4); }, "rotary_dim", std::to_string(dim), "even"));
  }
  expect_rejects([&](double base) { make(8, base); }, "base", "finite value >", std::move(bases));
}

}  // namespace scaled
