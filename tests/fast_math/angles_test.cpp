// SPDX-License-Identifier: Apache-2.0
// Built with -ffast-math, an executable of its own. Compilers that re-associate have turned exact
// angles into wrong ones elsewhere.
#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <vector>

#include "grape/grape.hpp"
#include "support/errors.hpp"
#include "support/golden.hpp"

#if !defined(__FAST_MATH__)
#error "this test means nothing without -ffast-math"
#endif

namespace {

using grape::Positions;
using grape::Spectrum;

template <class A>
void expect_golden(double tolerance) {
  int entries = 0;
  const golden::Case file = golden::load("long_positions");
  for (const auto& c : file.json().at("cases")) {
    const grape::RoPE<A> rope(Spectrum(c.at("theta").get<std::vector<double>>()));
    const auto n = c.at("n").get<std::int64_t>();
    // As one position and inside of ranges.
    for (const grape::Index before : {0, 1, 1000}) {
      const auto action = rope.at(Positions::range(n - before, before + 100));
      for (grape::Index m = 0; m < action.planes(); ++m, ++entries) {
        const auto got = action.element(0, before, 0, m);
        const auto at = static_cast<std::size_t>(m);
        ASSERT_NEAR(got.cos, c.at("cos")[at].get<double>(), tolerance) << n << " " << m;
        ASSERT_NEAR(got.sin, c.at("sin")[at].get<double>(), tolerance) << n << " " << m;
      }
    }
  }
  EXPECT_GT(entries, 1000);
}

TEST(FastMath, AnglesStayExact) {
  expect_golden<float>(1.2e-7);
  expect_golden<double>(4e-16);
}

TEST(FastMath, NanAndInfinityAreStillErrors) {
  const auto nan = std::bit_cast<double>(std::uint64_t{0x7ff8000000000000});
  const auto infinity = std::bit_cast<double>(std::uint64_t{0x7ff0000000000000});
  for (const double bad : {nan, infinity, -infinity}) {
    EXPECT_TRUE(rejects([&] { Spectrum({1.0, bad}); }, "frequencies[1]", "", "finite"));
    EXPECT_TRUE(rejects([&] { Spectrum({1.0}, bad); }, "attention_factor", "", "finite"));
    EXPECT_TRUE(rejects([&] { grape::spectrum::log_uniform(8, bad); }, "base", "", "finite"));
    EXPECT_TRUE(
        rejects([&] { grape::spectrum::proportional(8, 1e4, bad); }, "fraction", "", "[0, 1]"));
    const std::vector<double> list{bad};
    EXPECT_TRUE(rejects([&] { Positions::real(list); }, "positions[0]", "", "finite"));
    EXPECT_TRUE(
        rejects([&] { grape::ALiBi<float>(std::vector<double>{bad}); }, "slopes[0]", "", "finite"));
  }
}

}  // namespace
