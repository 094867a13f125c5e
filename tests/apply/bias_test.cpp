// SPDX-License-Identifier: Apache-2.0
#include "grape/apply/bias.hpp"

#include <gtest/gtest.h>

#include "grape/presets.hpp"
#include "support/errors.hpp"
#include "support/executors.hpp"
#include "support/random.hpp"
#include "support/reference.hpp"
#include "support/strided.hpp"

namespace {

using grape::Future;
using grape::Index;
using grape::Positions;

constexpr Future kFutures[] = {Future::mask, Future::zero, Future::symmetric};

template <class T>
class BiasOf : public testing::Test {};
TYPED_TEST_SUITE(BiasOf, ElementTypes);

// The distance that a slope is multiplied by, <= 0.
std::int64_t slope_factor(std::int64_t distance, Future future) {
  return distance <= 0 ? distance : future == Future::symmetric ? -distance : 0;
}

template <class T, class QueryAt, class KeyAt>
void expect_added(const grape::BiasAction<grape::accumulation_t<T>>& bias,
                  const std::vector<double>& slopes, Future future, const QueryAt& query,
                  const KeyAt& key, const Layout& layout) {
  using A = grape::accumulation_t<T>;
  SCOPED_TRACE(layout.name);
  Random random(111);
  Strided<T> scores(layout, random, 3);
  const std::vector<T> memory = scores.memory();
  const std::vector<double> before = scores.values();
  grape::add_bias(bias, scores.scores());
  EXPECT_TRUE(scores.same_outside(memory));
  const std::vector<double> got = scores.values();
  const auto& e = layout.extents;
  std::size_t i = 0;
  for (Index b = 0; b < e[0]; ++b) {
    for (Index h = 0; h < e[1]; ++h) {
      const double slope = slopes[static_cast<std::size_t>(h * std::ssize(slopes) / e[1])];
      for (Index q = 0; q < e[2]; ++q) {
        for (Index k = 0; k < e[3]; ++k, ++i) {
          const std::int64_t distance = key(b, k) - query(b, q);
          if (distance > 0 && future == Future::mask) {
            ASSERT_EQ(got[i], -std::numeric_limits<double>::infinity());
            continue;
          }
          const double term = slope * static_cast<double>(slope_factor(distance, future));
          const double want = before[i] + term;
          // Slope, difference and product are rounded, then the sum, which this reference rounds
          // too; then the store to T.
          const double kernel =
              Rounding<A>::unit * (5.01 * std::fabs(term) + 2 * std::fabs(before[i]));
          const double narrow =
              std::same_as<T, A> ? 0 : Rounding<T>::unit * (std::fabs(want) + kernel);
          ASSERT_NEAR(got[i], want, kernel + narrow + Rounding<T>::least)
              << b << " " << h << " " << q << " " << k;
        }
      }
    }
  }
}

TYPED_TEST(BiasOf, EveryLayoutAndFuture) {
  using T = TypeParam;
  const std::vector<double> slopes = grape::alibi_slopes(3);
  const auto key = [](Index, Index t) { return std::int64_t{t}; };
  for (const Future future : kFutures) {
    // Prefill, a chunk behind a cache, decode.
    for (const auto& [start, queries, keys] :
         {std::array<Index, 3>{0, 9, 9}, {5, 4, 9}, {11, 1, 12}, {0, 3, 1}}) {
      const auto bias = grape::ALiBi<T>(3).at(Positions::range(start, queries),
                                              Positions::range(0, keys), future);
      const auto query = [first = start](Index, Index t) { return std::int64_t{first} + t; };
      for (const Layout& layout : layouts(2, 3, queries, keys)) {
        expect_added<T>(bias, slopes, future, query, key, layout);
      }
      // Grouped: six heads, three slopes.
      expect_added<T>(bias, slopes, future, query, key, layouts(2, 6, queries, keys)[1]);
    }
  }
}

TYPED_TEST(BiasOf, PositionsOfEachBatchEntry) {
  using T = TypeParam;
  Random random(112);
  const std::vector<double> slopes{0.5, 0.01};
  const std::vector<std::int64_t> q = random.integers(12, -20, 20),
                                  k = random.integers(21, -20, 20);
  for (const Future future : kFutures) {
    const auto bias = grape::ALiBi<T>(slopes).at(Positions::per_token(q, 3, 4),
                                                 Positions::per_token(k, 3, 7), future);
    for (const Layout& layout : layouts(3, 2, 4, 7)) {
      expect_added<T>(
          bias, slopes, future,
          [&](Index b, Index t) { return q[static_cast<std::size_t>(b * 4 + t)]; },
          [&](Index b, Index t) { return k[static_cast<std::size_t>(b * 7 + t)]; }, layout);
    }
  }
}

TYPED_TEST(BiasOf, LongRowsTakeSeveralTiles) {
  using T = TypeParam;
  const std::vector<double> slopes{0.001};
  const auto bias =
      grape::ALiBi<T>(slopes).at(Positions::range(1000, 19), Positions::range(0, 1300));
  for (const std::size_t i : {std::size_t{0}, std::size_t{2}, std::size_t{4}}) {
    expect_added<T>(
        bias, slopes, Future::mask, [](Index, Index t) { return std::int64_t{1000} + t; },
        [](Index, Index t) { return std::int64_t{t}; }, layouts(1, 1, 19, 1300)[i]);
  }
}

TYPED_TEST(BiasOf, AnyExecutorGivesTheSameBits) {
  using T = TypeParam;
  Random random(113);
  const auto bias = grape::ALiBi<T>(3).at(Positions::range(5, 20), Positions::range(0, 25));
  Strided<T> a(layouts(3, 6, 20, 25)[0], random);
  Strided<T> b = a, c = a;
  grape::add_bias(bias, a.scores());
  grape::add_bias(bias, b.scores(), Reversed{});
  grape::add_bias(bias, c.scores(), Threads{});
  EXPECT_TRUE(same_bits(a.memory(), b.memory()) && same_bits(a.memory(), c.memory()));

  Strided<T> d(layouts(3, 6, 20, 25)[2], random);
  std::vector<double> serial(3, 1.0), reversed = serial, threaded = serial;
  grape::add_bias_vjp(bias, d.scores(), {.slopes = serial});
  grape::add_bias_vjp(bias, d.scores(), {.slopes = reversed}, Reversed{});
  grape::add_bias_vjp(bias, d.scores(), {.slopes = threaded}, Threads{});
  EXPECT_TRUE(same_bits(serial, reversed) && same_bits(serial, threaded));
  EXPECT_NE(serial[0], 1.0);
}

TYPED_TEST(BiasOf, NanAndInfinityPropagate) {
  using T = TypeParam;
  using A = grape::accumulation_t<T>;
  using Limits = std::numeric_limits<A>;
  const auto bias = grape::ALiBi<T>(1).at(Positions::range(0, 4), Positions::range(0, 4));
  std::vector<T> x(16, static_cast<T>(A(1)));
  x[4] = static_cast<T>(Limits::quiet_NaN());  // below the diagonal
  x[2] = static_cast<T>(Limits::quiet_NaN());  // above it
  x[8] = static_cast<T>(Limits::infinity());
  x[13] = static_cast<T>(-Limits::infinity());
  grape::add_bias(bias, grape::bhqk(x.data(), 1, 1, 4, 4));
  EXPECT_TRUE(std::isnan(static_cast<A>(x[4])));
  EXPECT_TRUE(std::isnan(static_cast<A>(x[2])));
  EXPECT_EQ(static_cast<A>(x[8]), Limits::infinity());
  EXPECT_EQ(static_cast<A>(x[13]), -Limits::infinity());
  EXPECT_TRUE(std::isfinite(static_cast<A>(x[5])));
}

TYPED_TEST(BiasOf, SlopeGradientsInEveryLayout) {
  using T = TypeParam;
  Random random(114);
  const std::vector<double> slopes{0.5, 0.01, -0.3};
  for (const Future future : kFutures) {
    for (const bool own : {false, true}) {
      const std::vector<std::int64_t> q = random.integers(8, -20, 20),
                                      k = random.integers(14, -20, 20);
      const grape::ALiBi<T> alibi(slopes);
      const auto bias =
          own ? alibi.at(Positions::per_token(q, 2, 4), Positions::per_token(k, 2, 7), future)
              : alibi.at(Positions::range(3, 4), Positions::range(0, 7), future);
      for (const Layout& layout : layouts(2, 6, 4, 7)) {
        SCOPED_TRACE(layout.name);
        Strided<T> d(layout, random);
        const std::vector<T> memory = d.memory();
        std::vector<double> got(3, 10.0), want(3, 10.0);
        double scale = 10;
        const std::vector<double> w = d.values();
        std::size_t i = 0;
        for (std::size_t b = 0; b < 2; ++b) {
          for (std::size_t h = 0; h < 6; ++h) {
            for (std::size_t r = 0; r < 4; ++r) {
              for (std::size_t c = 0; c < 7; ++c, ++i) {
                const std::int64_t distance =
                    own ? k[b * 7 + c] - q[b * 4 + r]
                        : static_cast<std::int64_t>(c) - static_cast<std::int64_t>(r) - 3;
                const double term = w[i] * static_cast<double>(slope_factor(distance, future));
                want[h / 2] += term;
                scale += std::fabs(term);
              }
            }
          }
        }
        grape::add_bias_vjp(bias, d.scores(), {.slopes = got});
        for (std::size_t p = 0; p < 3; ++p) EXPECT_NEAR(got[p], want[p], 120 * 0x1p-53 * scale);
        EXPECT_TRUE(same_bits(d.memory(), memory));
      }
    }
  }
}

TEST(Bias, SlopeGradientsAreFiniteDifferences) {
  Random random(115);
  const std::vector<double> slopes{0.5, 0.01};
  const std::vector<double> w = random.uniforms(2 * 6 * 9, -1, 1);
  const auto loss = [&](const std::vector<double>& s) {
    std::vector<double> x(w.size(), 0.0);
    grape::add_bias(grape::ALiBi<double>(s).at(Positions::range(2, 6), Positions::range(0, 9),
                                               Future::symmetric),
                    grape::bhqk(x.data(), 1, 2, 6, 9));
    double sum = 0;
    for (std::size_t i = 0; i < x.size(); ++i) sum += w[i] * x[i];
    return sum;
  };
  std::vector<double> got(2, 0.0);
  grape::add_bias_vjp(grape::ALiBi<double>(slopes).at(Positions::range(2, 6),
                                                      Positions::range(0, 9), Future::symmetric),
                      grape::bhqk(w.data(), 1, 2, 6, 9), {.slopes = got});
  for (std::size_t p = 0; p < 2; ++p) {
    // The loss is linear: a wide step costs nothing but rounding.
    constexpr double kStep = 0.25;
    std::vector<double> up = slopes, down = slopes;
    up[p] += kStep;
    down[p] -= kStep;
    EXPECT_NEAR(got[p], (loss(up) - loss(down)) / (2 * kStep), 1000 * 0x1p-53 / kStep);
  }
}

TEST(Bias, AMaskedGradientDoesNotReachTheSlope) {
  // Above the diagonal the softmax's gradient is 0, but a NaN there must not leak either.
  const auto bias = grape::ALiBi<float>(1).at(Positions::range(0, 2), Positions::range(0, 2));
  std::vector<float> d{1, std::numeric_limits<float>::quiet_NaN(), 2, 3};
  std::vector<double> slope(1, 0.0);
  grape::add_bias_vjp(bias, grape::bhqk(d.data(), 1, 1, 2, 2), {.slopes = slope});
  EXPECT_EQ(slope[0], -2.0);
}

TYPED_TEST(BiasOf, EmptyScoresAreLeftAlone) {
  using T = TypeParam;
  const auto bias = grape::ALiBi<T>(2).at(Positions::range(0, 3), Positions::range(0, 4));
  T* null = nullptr;
  EXPECT_NO_THROW(grape::add_bias(bias, grape::bhqk(null, 0, 2, 3, 4)));
  EXPECT_NO_THROW(grape::add_bias(bias, grape::bhqk(null, 1, 2, 0, 4)));
  EXPECT_NO_THROW(grape::add_bias(bias, grape::bhqk(null, 1, 2, 3, 0)));
  EXPECT_NO_THROW(grape::add_bias(grape::BiasAction<grape::accumulation_t<T>>{},
                                  grape::bhqk(null, 1, 2, 3, 0)));
  std::vector<double> slopes(2, 5.0);
  EXPECT_NO_THROW(grape::add_bias_vjp(bias, grape::bhqk(null, 0, 2, 3, 4), {.slopes = slopes}));
  EXPECT_EQ(slopes, std::vector<double>(2, 5.0));
  std::vector<T> d(24, static_cast<T>(1.0F));
  EXPECT_NO_THROW(grape::add_bias_vjp(bias, grape::bhqk(d.data(), 1, 2, 3, 4), {}));
}

TYPED_TEST(BiasOf, RejectsShapesThatDoNotFitAndWritesNothing) {
  using T = TypeParam;
  const grape::ALiBi<T> alibi(2);
  const auto bias = alibi.at(Positions::range(0, 3), Positions::range(0, 4));
  const std::vector<std::int64_t> list(6);
  const auto two = alibi.at(Positions::per_token(list, 2, 3), Positions::range(0, 4));
  std::vector<T> x(1000, static_cast<T>(1.0F));
  const std::vector<T> before = x;
  std::vector<double> slopes(2, 5.0);
  const auto both_fail = [&](const auto& a, const grape::ScoreView<T>& bad, const char* axis,
                             const char* got, const char* wanted) {
    EXPECT_TRUE(
        rejects([&] { grape::add_bias(a, bad); }, std::string("scores") + axis, got, wanted));
    EXPECT_TRUE(rejects([&] { grape::add_bias_vjp(a, bad, {.slopes = slopes}); },
                        std::string("d_scores") + axis, got, wanted));
  };
  both_fail(bias, grape::bhqk(x.data(), 1, 2, 4, 4), " queries", "4", "3 query positions");
  both_fail(bias, grape::bhqk(x.data(), 1, 2, 2, 4), " queries", "2", "3 query positions");
  both_fail(bias, grape::bhqk(x.data(), 1, 2, 3, 5), " keys", "5", "4 key positions");
  both_fail(bias, grape::bhqk(x.data(), 1, 2, 3, 3), " keys", "3", "4 key positions");
  both_fail(bias, grape::bhqk(x.data(), 1, 3, 3, 4), "", "3 heads", "2 parameter sets");
  both_fail(bias, grape::bhqk(x.data(), 1, 1, 3, 4), "", "1 heads", "2 parameter sets");
  both_fail(two, grape::bhqk(x.data(), 1, 2, 3, 4), " batch", "1", "batch 2");
  both_fail(two, grape::bhqk(x.data(), 3, 2, 3, 4), " batch", "3", "batch 2");
  EXPECT_TRUE(rejects(
      [&] {
        grape::add_bias(grape::BiasAction<grape::accumulation_t<T>>{},
                        grape::bhqk(x.data(), 1, 2, 3, 4));
      },
      "scores queries", "3", "0 query positions"));
  std::vector<double> three(3, 5.0);
  EXPECT_TRUE(rejects(
      [&] { grape::add_bias_vjp(bias, grape::bhqk(x.data(), 1, 2, 3, 4), {.slopes = three}); },
      "gradients.slopes", "3 entries", "2"));
  EXPECT_TRUE(same_bits(x, before));
  EXPECT_EQ(slopes, std::vector<double>(2, 5.0));
  EXPECT_EQ(three, std::vector<double>(3, 5.0));
}

}  // namespace
