// SPDX-License-Identifier: Apache-2.0
// Seeded random inputs.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}

  double uniform(double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(engine_);
  }
  // Both ends included.
  std::int64_t integer(std::int64_t low, std::int64_t high) {
    return std::uniform_int_distribution<std::int64_t>(low, high)(engine_);
  }
  std::vector<double> uniforms(std::ptrdiff_t count, double low, double high) {
    std::vector<double> out;
    for (std::ptrdiff_t i = 0; i < count; ++i) out.push_back(uniform(low, high));
    return out;
  }
  std::vector<std::int64_t> integers(std::ptrdiff_t count, std::int64_t low, std::int64_t high) {
    std::vector<std::int64_t> out;
    for (std::ptrdiff_t i = 0; i < count; ++i) out.push_back(integer(low, high));
    return out;
  }
  // Frequencies of both signs, spread over five decades below 1.
  std::vector<double> frequencies(std::ptrdiff_t count) {
    std::vector<double> out;
    for (std::ptrdiff_t i = 0; i < count; ++i) {
      out.push_back(std::pow(10.0, uniform(-5, 0)) * (integer(0, 1) == 0 ? 1 : -1));
    }
    return out;
  }
  std::mt19937_64& engine() { return engine_; }

 private:
  std::mt19937_64 engine_;
};
