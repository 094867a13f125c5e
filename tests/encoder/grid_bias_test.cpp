// SPDX-License-Identifier: Apache-2.0
#include "grape/encoder/grid_bias.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "grape/apply/bias.hpp"
#include "grape/presets.hpp"
#include "support/errors.hpp"
#include "support/random.hpp"
#include "support/strided.hpp"

namespace {

using grape::GridPath;
using grape::Index;
using grape::Positions;

template <class A>
class GridBiasOf : public testing::Test {};
using Accumulators = testing::Types<float, double>;
TYPED_TEST_SUITE(GridBiasOf, Accumulators);

template <class S>
using Grid = grape::Encoder<grape::UnipotentGenerator<S>, GridPath>;

TYPED_TEST(GridBiasOf, IsItsDefinitionInTwoAndThreeDimensions) {
  using A = TypeParam;
  Random random(701);
  const std::vector<double> slopes{0.5, 2};
  for (const Index axes : {1, 2, 3}) {
    const auto q = random.integers(axes * 2 * 5, -20, 20),
               k = random.integers(axes * 2 * 7, -20, 20);
    const auto w = random.uniforms(axes, 0.1, 2);
    const GridPath paths[] = {GridPath::weighted(w), GridPath::distances(w), GridPath::radial()};
    for (const GridPath& path : paths) {
      const Grid<A> grid(slopes, path);
      const auto bias = grid.at(Positions::axes(q, axes, 2, 5), Positions::axes(k, axes, 2, 7));
      std::vector<A> scores(2 * 4 * 5 * 7, A(0));
      grape::add_bias(bias, grape::bhqk(scores.data(), 2, 4, 5, 7));
      std::vector<double> got(2, 0.0), wanted(2, 0.0);
      const std::vector<A> d(scores.size(), A(1));
      grape::add_bias_vjp(bias, grape::bhqk(d.data(), 2, 4, 5, 7), {.slopes = got});
      std::size_t n = 0;
      for (Index b = 0; b < 2; ++b) {
        for (Index h = 0; h < 4; ++h) {
          for (Index i = 0; i < 5; ++i) {
            for (Index j = 0; j < 7; ++j, ++n) {
              long double sum = 0, squares = 0, size = 0;
              for (Index a = 0; a < axes; ++a) {
                const auto offset =
                    static_cast<long double>(k[static_cast<std::size_t>((a * 2 + b) * 7 + j)] -
                                             q[static_cast<std::size_t>((a * 2 + b) * 5 + i)]);
                const long double x = w[static_cast<std::size_t>(a)] * offset;
                sum += path.kind() == GridPath::Kind::weighted ? x : -std::fabs(x);
                squares += offset * offset;
                size += std::fabs(x) + std::fabs(offset);
              }
              if (path.kind() == GridPath::Kind::radial) sum = -std::sqrt(squares);
              const double slope = slopes[static_cast<std::size_t>(h / 2)];
              const double want = slope * static_cast<double>(sum);
              // A cast to A, and in double a product, three sums of products and a root.
              ASSERT_NEAR(scores[n], want,
                          Rounding<A>::unit * std::fabs(want) +
                              12 * 0x1p-53 * slope * static_cast<double>(size));
              ASSERT_EQ(bias(b, h / 2, i, j), scores[n]);
              wanted[static_cast<std::size_t>(h / 2)] += static_cast<double>(sum);
              ASSERT_TRUE(path.kind() == GridPath::Kind::weighted || scores[n] <= 0);
            }
          }
        }
      }
      for (std::size_t p = 0; p < 2; ++p) ASSERT_NEAR(got[p], wanted[p], 140 * 140 * 240 * 0x1p-53);
      const bool falls = path.kind() != GridPath::Kind::weighted;
      EXPECT_EQ(bias.upper_bound({1, 1, 0, 5, 0, 7}),
                falls ? A(0) : std::numeric_limits<A>::infinity());
    }
  }
}

TYPED_TEST(GridBiasOf, OneAxisIsSymmetricALiBiAndMayBeReal) {
  using A = TypeParam;
  const std::vector<double> slopes{0.25};
  const auto alibi = grape::ALiBi<A>(slopes).at(Positions::range(2, 4), Positions::range(0, 9),
                                                grape::Future::symmetric);
  const std::vector<double> q{2, 3, 4, 5}, k{0, 1, 2, 3, 4, 5, 6, 7, 8};
  const Grid<A> grid(slopes, GridPath::radial());
  const auto real = grid.at(Positions::real(q), Positions::real(k));
  const auto whole = grid.at(Positions::range(2, 4), Positions::range(0, 9));
  for (Index i = 0; i < 4; ++i) {
    for (Index j = 0; j < 9; ++j) {
      EXPECT_EQ(real(0, 0, i, j), alibi(0, 0, i, j));
      EXPECT_EQ(whole(0, 0, i, j), alibi(0, 0, i, j));
    }
  }
  const std::vector<double> half{0.5};
  EXPECT_EQ(grid.at(Positions::real(half), Positions::real(k))(0, 0, 0, 3), A(-0.625));
}

TEST(GridBias, RejectsWhatDoesNotFit) {
  const std::vector<std::int64_t> list(12);
  const Grid<float> grid(std::vector<double>{1}, GridPath::weighted({1, 2}));
  const auto two = Positions::axes(list, 2, 1, 6), three = Positions::axes(list, 3, 1, 4);
  EXPECT_TRUE(rejects([&] { grid.at(three, three); }, "query_positions", "3 axes", "2 axes"));
  EXPECT_TRUE(rejects([&] { grid.at(two, three); }, "key_positions", "3 axes", "2 axes"));
  EXPECT_TRUE(
      rejects([&] { grid.at(Positions::axes(list, 2, 2, 3), Positions::axes(list, 2, 3, 2)); },
              "key_positions", "batch 3", "batch 2"));
  EXPECT_TRUE(rejects([] { GridPath::weighted({}); }, "weights", "empty", "one weight"));
  EXPECT_TRUE(rejects([] { GridPath::distances({1, NAN}); }, "weights[1]", "nan", "finite"));
}

}  // namespace
