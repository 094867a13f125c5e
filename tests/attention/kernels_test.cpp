// SPDX-License-Identifier: Apache-2.0
// The pieces of attention, each against the loop that says what it means.
#include <gtest/gtest.h>

#include "grape/attention/detail/exp.hpp"
#include "grape/attention/detail/online_softmax.hpp"
#include "grape/attention/detail/product.hpp"
#include "support/random.hpp"
#include "support/strided.hpp"

namespace {

namespace detail = grape::detail;
using detail::Factor;
using detail::Start;
using grape::Index;

template <class A>
class Kernels : public testing::Test {};
using Scalars = testing::Types<float, double>;
TYPED_TEST_SUITE(Kernels, Scalars);

TYPED_TEST(Kernels, ExpIsExactToTwoUlp) {
  using A = TypeParam;
  Random random(511);
  const double least = std::log(static_cast<double>(std::numeric_limits<A>::min()));
  constexpr Index kCount = 1 << 16;
  std::vector<A> x;
  for (Index i = 0; i < kCount; ++i) {
    const double decade = std::pow(10.0, random.uniform(-12, 3.1));
    x.push_back(static_cast<A>(i % 2 == 0 ? -decade : random.uniform(least - 2, 1)));
  }
  x[0] = 0;
  x[1] = -std::numeric_limits<A>::infinity();
  x[2] = std::numeric_limits<A>::quiet_NaN();
  x[3] = std::numeric_limits<A>::lowest();
  std::vector<A> row = x;
  detail::exp_row(row.data(), kCount, A(0));
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const A one = detail::exp_weight(x[i]);
    if (std::isnan(x[i])) {
      EXPECT_TRUE(std::isnan(row[i]) && std::isnan(one));
      continue;
    }
    const long double want = std::exp(static_cast<long double>(x[i]));
    if (want < static_cast<long double>(std::numeric_limits<A>::min())) {
      // At the very edge the result may be the smallest normal number.
      ASSERT_LE(row[i], std::numeric_limits<A>::min()) << x[i];
      ASSERT_LE(one, std::numeric_limits<A>::min()) << x[i];
      continue;
    }
    const long double ulp = std::ldexp(1.0L, std::ilogb(want) + 1 - std::numeric_limits<A>::digits);
    for (const A got : {row[i], one}) {
      const auto error = static_cast<double>(std::fabs(static_cast<long double>(got) - want) / ulp);
      worst = std::max(worst, error);
    }
  }
  EXPECT_LE(worst, (std::is_same_v<A, float> ? 1.5 : 2.0));
  EXPECT_EQ(row[0], 1);
  EXPECT_EQ(row[1], 0);
  EXPECT_EQ(row[3], 0);
}

template <class A, Start start>
void expect_product(Random& random, bool transposed) {
  const Index rows = random.integer(1, 13), depth = random.integer(0, 70);
  const Index columns = detail::kLane<A> * random.integer(1, 11);
  const Index b_step = columns + random.integer(0, 3), c_step = columns + random.integer(0, 3);
  const auto draw = [&](Index count) {
    std::vector<A> x;
    for (Index i = 0; i < count; ++i) x.push_back(static_cast<A>(random.uniform(-1, 1)));
    return x;
  };
  // One more, so that there is memory to point into where the depth is 0.
  const std::vector<A> a = draw(rows * depth + 1), b = draw(depth * b_step + 1);
  const std::vector<A> factor = draw(rows);
  std::vector<A> c = draw(rows * c_step), want = c, before = c;
  const Factor<A> left{a.data(), transposed ? 1 : depth, transposed ? rows : 1};
  detail::multiply<start>(left, b.data(), b_step, c.data(), c_step, rows, depth, columns,
                          factor.data());
  detail::multiply_reference<start>(left, b.data(), b_step, want.data(), c_step, rows, depth,
                                    columns, factor.data());
  for (std::size_t i = 0; i < c.size(); ++i) {
    if (static_cast<Index>(i) % c_step >= columns) {
      ASSERT_TRUE(same_bits(c[i], before[i]));
      continue;
    }
    // Products and sums of numbers below 1, each with one rounding or two.
    const double terms = static_cast<double>(depth) + 2;
    ASSERT_NEAR(static_cast<double>(c[i]), static_cast<double>(want[i]),
                2 * Rounding<A>::unit * terms * terms);
  }
}

TYPED_TEST(Kernels, ProductsAreTheirReference) {
  Random random(512);
  for (int round = 0; round < 200; ++round) {
    for (const bool transposed : {false, true}) {
      expect_product<TypeParam, Start::zero>(random, transposed);
      expect_product<TypeParam, Start::add>(random, transposed);
      expect_product<TypeParam, Start::scaled>(random, transposed);
    }
  }
}

TYPED_TEST(Kernels, SoftmaxInTilesIsTheSoftmaxOfTheRow) {
  using A = TypeParam;
  Random random(513);
  const Index rows = 5, tiles = 4, width = detail::kKeys;
  std::vector<double> all(static_cast<std::size_t>(rows * tiles * width));
  for (double& x : all) x = static_cast<double>(static_cast<A>(random.uniform(-30, 30)));
  detail::SoftmaxRows<A> state;
  state.start();
  std::vector<double> weights(all.size(), 0);
  for (Index t = tiles; t-- > 0;) {
    std::vector<A> tile(static_cast<std::size_t>(rows * width));
    for (Index r = 0; r < rows; ++r) {
      for (Index c = 0; c < width; ++c) {
        tile[static_cast<std::size_t>(r * width + c)] =
            static_cast<A>(all[static_cast<std::size_t>((r * tiles + t) * width + c)]);
      }
    }
    detail::softmax_tile(tile.data(), rows, width, state);
    for (Index r = 0; r < rows; ++r) {
      for (Index c = 0; c < tiles * width; ++c) {
        double& w = weights[static_cast<std::size_t>(r * tiles * width + c)];
        w = c / width == t
                ? static_cast<double>(tile[static_cast<std::size_t>(r * width + c % width)])
                : w * static_cast<double>(state.rescale[r]);
      }
    }
  }
  for (Index r = 0; r < rows; ++r) {
    const double* row = all.data() + r * tiles * width;
    const double most = *std::max_element(row, row + tiles * width);
    double sum = 0;
    for (Index c = 0; c < tiles * width; ++c) sum += std::exp(row[c] - most);
    EXPECT_EQ(static_cast<double>(state.maximum[r]), most);
    EXPECT_NEAR(static_cast<double>(state.log_sum(r)), most + std::log(sum),
                Rounding<A>::unit * (tiles * width + 4 + std::fabs(most)));
    for (Index c = 0; c < tiles * width; ++c) {
      // Differences of scores below 30, rounded, in four exponentials at most.
      EXPECT_NEAR(weights[static_cast<std::size_t>(r * tiles * width + c)], std::exp(row[c] - most),
                  Rounding<A>::unit * 4 * (60 + 4) * std::exp(row[c] - most) +
                      static_cast<double>(std::numeric_limits<A>::min()));
    }
  }
}

}  // namespace
