// SPDX-License-Identifier: Apache-2.0
#include "grape/path/positions.hpp"

#include <gtest/gtest.h>

#include <array>
#include <span>
#include <vector>

#include "grape/path/linear.hpp"
#include "grape/path/path.hpp"
#include "support/errors.hpp"

namespace {

using grape::Positions;

static_assert(grape::Path<grape::LinearPath> && !grape::Path<int>);

constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kMin = std::numeric_limits<std::int64_t>::min();

TEST(Positions, Range) {
  const Positions p = Positions::range(-3, 5);
  EXPECT_EQ(p.kind(), Positions::Kind::range);
  EXPECT_EQ(p.batch(), 1);
  EXPECT_EQ(p.seq(), 5);
  EXPECT_EQ(p.axis_count(), 1);
  for (int t = 0; t < 5; ++t) {
    EXPECT_EQ(p.integer(0, t), t - 3);
    EXPECT_EQ(p.value(0, t), t - 3.0);
  }
  EXPECT_EQ(Positions::range(7, 0).seq(), 0);
  EXPECT_EQ(Positions::range(kMin, 2).integer(0, 1), kMin + 1);
  EXPECT_EQ(Positions::range(kMax - 5, 6).integer(0, 5), kMax);
  EXPECT_EQ(Positions::range(1, kMax).seq(), kMax);
  EXPECT_EQ(Positions::range(kMax, 0).seq(), 0);
  EXPECT_TRUE(
      rejects([] { Positions::range(kMax, 2); }, "start", std::to_string(kMax), "2 positions"));
  EXPECT_TRUE(rejects([] { Positions::range(kMax - 5, 7); }, "start", std::to_string(kMax - 5),
                      "7 positions"));
  EXPECT_TRUE(rejects([] { Positions::range(0, -1); }, "count", "-1", ">= 0"));
  EXPECT_TRUE(rejects([] { Positions::range(kMax - 5, 8); }, "start", std::to_string(kMax - 5),
                      "8 positions"));
  EXPECT_TRUE(rejects([] { Positions::range(2, kMax); }, "start", "2", "64 bits"));
}

TEST(Positions, SharedAndPerToken) {
  const std::vector<std::int64_t> list{5, -7, kMax, kMin, 0, 1};
  const Positions shared = Positions::shared(list);
  EXPECT_EQ(shared.kind(), Positions::Kind::integers);
  EXPECT_EQ(shared.batch(), 1);
  EXPECT_EQ(shared.seq(), 6);
  const Positions each = Positions::per_token(list, 2, 3);
  EXPECT_EQ(each.batch(), 2);
  EXPECT_EQ(each.seq(), 3);
  for (std::ptrdiff_t i = 0; i < 6; ++i) {
    const std::int64_t want = list[static_cast<std::size_t>(i)];
    EXPECT_EQ(shared.integer(0, i), want);
    EXPECT_EQ(each.integer(i / 3, i % 3), want);
    EXPECT_EQ(each.value(i / 3, i % 3), static_cast<double>(want));
  }
  EXPECT_EQ(Positions::shared({}).seq(), 0);
  EXPECT_EQ(Positions::per_token({}, 4, 0).batch(), 4);
}

TEST(Positions, PerTokenNeedsTheRightCount) {
  const std::vector<std::int64_t> list(6);
  EXPECT_TRUE(
      rejects([&] { Positions::per_token(list, 2, 4); }, "positions", "6 positions", "1 x 2 x 4"));
  EXPECT_TRUE(rejects([&] { Positions::per_token(list, 1, 5); }, "positions", "6", "1 x 1 x 5"));
  EXPECT_TRUE(rejects([&] { Positions::per_token(list, 0, 6); }, "batch", "0", ">= 1"));
  EXPECT_TRUE(rejects([&] { Positions::per_token(list, -2, -3); }, "batch", "-2", ">= 1"));
  EXPECT_TRUE(rejects([&] { Positions::per_token(list, 1, -6); }, "seq", "-6", ">= 0"));
  // A product that wraps around to 0 or 6 must not pass.
  constexpr std::ptrdiff_t kHalf = std::ptrdiff_t{1} << 32;
  EXPECT_TRUE(rejects([&] { Positions::per_token({}, kHalf, kHalf); }, "positions", "0 positions",
                      "4294967296 x 4294967296"));
}

TEST(Positions, Axes) {
  const std::vector<std::int64_t> list{0, 1, 2, 10, 11, 12, 20, 21, 22, 30, 31, 32};
  const Positions p = Positions::axes(list, 2, 2, 3);
  EXPECT_EQ(p.axis_count(), 2);
  EXPECT_EQ(p.integer(1, 2, 0), 12);
  EXPECT_EQ(p.integer(0, 1, 1), 21);
  EXPECT_EQ(p.value(1, 0, 1), 30.0);
  EXPECT_TRUE(rejects([&] { Positions::axes(list, 0, 2, 3); }, "axes", "0", ">= 1"));
  EXPECT_TRUE(
      rejects([&] { Positions::axes(list, 3, 2, 3); }, "positions", "12 positions", "3 x 2 x 3"));
  EXPECT_TRUE(rejects([&] { Positions::axes(list, 2, 0, 3); }, "batch", "0", ">= 1"));
}

TEST(Positions, Real) {
  const std::vector<double> list{0.5, -2.25, 1e18, -0.0};
  const Positions p = Positions::real(list);
  EXPECT_EQ(p.kind(), Positions::Kind::reals);
  EXPECT_EQ(p.batch(), 1);
  EXPECT_EQ(p.seq(), 4);
  for (std::size_t i = 0; i < list.size(); ++i) {
    EXPECT_EQ(p.value(0, static_cast<std::ptrdiff_t>(i)), list[i]);
  }
  using Limits = std::numeric_limits<double>;
  for (const double bad : {Limits::quiet_NaN(), Limits::infinity(), -Limits::infinity(), 0x1p63,
                           -0x1p63, Limits::max()}) {
    const std::vector<double> with{0.0, bad};
    EXPECT_TRUE(rejects([&] { Positions::real(with); }, "positions[1]", grape::detail::text(bad),
                        "finite position below 2^63"));
  }
}

TEST(Positions, ListsOfAnyKind) {
  std::vector<std::int64_t> vector{3, 1, 2, 4};
  const std::array<double, 4> reals{0.5, 1.5, 2.5, 3.5};
  std::int64_t array[] = {3, 1, 2, 4};
  const auto is_the_list = [&](const Positions& p) {
    return p.integer(p.batch() - 1, p.seq() - 1, p.axis_count() - 1) == 4;
  };
  EXPECT_TRUE(is_the_list(Positions::shared(vector)));
  EXPECT_TRUE(is_the_list(Positions::shared(array)));
  EXPECT_TRUE(is_the_list(Positions::shared(std::span(vector))));
  EXPECT_TRUE(is_the_list(Positions::shared({vector.data(), 4})));
  EXPECT_TRUE(is_the_list(Positions::per_token(vector, 2, 2)));
  EXPECT_TRUE(is_the_list(Positions::per_token(std::span(array), 2, 2)));
  EXPECT_TRUE(is_the_list(Positions::axes(vector, 2, 2, 1)));
  EXPECT_TRUE(is_the_list(Positions::axes(std::span(vector), 2, 1, 2)));
  EXPECT_EQ(Positions::real(reals).value(0, 3), 3.5);
  EXPECT_EQ(Positions::real(std::span(reals)).value(0, 3), 3.5);
  EXPECT_EQ(Positions::real_per_token(reals, 2, 2).value(1, 1), 3.5);
  EXPECT_EQ(Positions::real_axes(reals, 2, 1, 2).value(0, 1, 1), 3.5);
  // Within one expression a temporary lives long enough.
  EXPECT_TRUE(is_the_list(Positions::shared(std::vector<std::int64_t>{3, 1, 2, 4})));
}

}  // namespace
