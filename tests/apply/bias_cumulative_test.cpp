// SPDX-License-Identifier: Apache-2.0
// add_bias and its gradients with log forget gates.
#include <gtest/gtest.h>

#include "grape/apply/bias.hpp"
#include "grape/math/gates.hpp"
#include "grape/presets.hpp"
#include "support/errors.hpp"
#include "support/executors.hpp"
#include "support/golden.hpp"
#include "support/random.hpp"
#include "support/strided.hpp"

namespace {

using grape::Future;
using grape::Index;
using grape::QueryRange;

template <class T>
class CumulativeOf : public testing::Test {};
TYPED_TEST_SUITE(CumulativeOf, ElementTypes);

// Gates [batch, keys, sets], 6 score heads on 3 sets, queries the last of the keys.
struct Problem {
  Index batch, queries, keys;
  std::vector<double> gates, slopes{1.0, 0.5, 2.0};

  Problem(Index batch_, Index queries_, Index keys_, Random& random)
      : batch(batch_), queries(queries_), keys(keys_) {
    gates = random.uniforms(batch * keys * 3, -0.5, 0);
  }
  template <class T>
  auto bias(Future future) const {
    return grape::FoX<T>(slopes).at(grape::blh(gates.data(), batch, keys, 3),
                                    QueryRange{keys - queries, queries}, future);
  }
  double unit_decay(Index b, Index set, Index i, Index j) const {
    long double sum = 0;
    for (Index l = j + 1; l <= keys - queries + i; ++l) {
      sum += gates[static_cast<std::size_t>(((batch == 1 ? 0 : b) * keys + l) * 3 + set)];
    }
    return static_cast<double>(sum);
  }
};

TYPED_TEST(CumulativeOf, AddBiasAddsEveryEntryOnceAndNoOther) {
  using T = TypeParam;
  using A = grape::accumulation_t<T>;
  Random random(331);
  for (const Index batch : {1, 2}) {
    const Problem p(batch, 5, 9, random);
    const auto bias = p.template bias<T>(Future::mask);
    for (const Layout& layout : layouts(2, 6, 5, 9)) {
      SCOPED_TRACE(layout.name);
      Strided<T> scores(layout, random, 3);
      const std::vector<T> memory = scores.memory();
      const std::vector<double> before = scores.values();
      grape::add_bias(bias, scores.scores());
      EXPECT_TRUE(scores.same_outside(memory));
      const std::vector<double> got = scores.values();
      std::size_t n = 0;
      for (Index b = 0; b < 2; ++b) {
        for (Index h = 0; h < 6; ++h) {
          for (Index i = 0; i < 5; ++i) {
            for (Index j = 0; j < 9; ++j, ++n) {
              if (j > 4 + i) {
                ASSERT_EQ(got[n], -std::numeric_limits<double>::infinity());
                continue;
              }
              const double term =
                  p.slopes[static_cast<std::size_t>(h / 2)] * p.unit_decay(b, h / 2, i, j);
              const double want = before[n] + term;
              // The bias to 6 roundings, the sum to one, this reference to two; then the store to
              // T.
              const double kernel =
                  Rounding<A>::unit * (9 * std::fabs(term) + 2 * std::fabs(before[n]));
              const double store =
                  std::same_as<T, A>
                      ? 0
                      : Rounding<T>::unit * (std::fabs(want) + kernel) + Rounding<T>::least;
              ASSERT_NEAR(got[n], want, kernel + store) << b << " " << h << " " << i << " " << j;
            }
          }
        }
      }
    }
  }
}

TYPED_TEST(CumulativeOf, GradientsAreTheirDefinition) {
  using T = TypeParam;
  Random random(332);
  for (const Index batch : {1, 2}) {
    // More than one tile of 8 x 512.
    const Problem p(batch, 11, 600, random);
    const auto bias = p.template bias<T>(Future::zero);
    const Layout layout = layouts(2, 6, 11, 600)[3];
    Strided<T> d(layout, random);
    const std::vector<double> w = d.values();
    const auto count = static_cast<std::size_t>(batch * 600 * 3);
    std::vector<double> want(count, 0.25), got(count, 0.25);
    std::vector<double> want_slopes(3, 0.5), slopes(3, 0.5);
    std::size_t n = 0;
    for (Index b = 0; b < 2; ++b) {
      for (Index h = 0; h < 6; ++h) {
        for (Index i = 0; i < 11; ++i) {
          const Index set = h / 2, at = batch == 1 ? 0 : b;
          const double slope = p.slopes[static_cast<std::size_t>(set)];
          double so_far = 0;  // sum of w over keys before l
          for (Index j = 0; j < 600; ++j, ++n) {
            if (j > 589 + i) continue;
            if (j > 0) want[static_cast<std::size_t>((at * 600 + j) * 3 + set)] += slope * so_far;
            so_far += w[n];
            want_slopes[static_cast<std::size_t>(set)] += w[n] * p.unit_decay(b, set, i, j);
          }
        }
      }
    }
    grape::add_bias_vjp(bias, d.scores(), {.slopes = slopes, .log_forget = got});
    // Each sums up to 2 * 2 * 11 * 600 terms of at most 2, and twice as many on the way.
    constexpr double kTerms = 2 * 2 * 11 * 600;
    for (std::size_t i = 0; i < count; ++i) {
      ASSERT_NEAR(got[i], want[i], 3 * std::sqrt(kTerms) * 2 * kTerms * 0x1p-53) << i;
    }
    for (std::size_t i = 0; i < 3; ++i) {
      EXPECT_NEAR(slopes[i], want_slopes[i], 300 * 3 * std::sqrt(kTerms) * kTerms * 0x1p-53);
    }
    // Alone, on threads and backwards: the same bits.
    for (int way = 0; way < 3; ++way) {
      std::vector<double> again(count, 0.25), slopes_again(3, 0.5);
      const grape::BiasGradients gradients{.slopes = slopes_again, .log_forget = again};
      if (way == 0) grape::add_bias_vjp(bias, d.scores(), gradients, Threads{3});
      if (way == 1) grape::add_bias_vjp(bias, d.scores(), gradients, Reversed{});
      if (way == 2) {
        grape::add_bias_vjp(bias, d.scores(), {.log_forget = again});
        slopes_again = slopes;
      }
      EXPECT_EQ(again, got);
      EXPECT_EQ(slopes_again, slopes);
    }
  }
}

TEST(Cumulative, GradientsMatchTheAuthorsOfFoX) {
  for (const std::string& name : golden::families("fox_bias")) {
    SCOPED_TRACE(name);
    const golden::Case c = golden::load(name);
    const golden::Array logit = c.inputs("fgate_logit"), want = c.gradients("fgate_logit");
    const std::vector<double> w = c.inputs("w_bias").data;
    const Index batch = logit.shape[0], heads = logit.shape[1], seq = logit.shape[2];
    std::vector<double> g;
    for (const double x : logit.data) g.push_back(grape::log_sigmoid(x));
    const grape::TensorView<const double> view(g.data(), {batch, seq, heads, 1},
                                               {heads * seq, 1, seq, 1});
    const auto bias = grape::FoX<double>(heads).at(view);
    std::vector<double> got(g.size(), 0.0);
    grape::add_bias_vjp(bias, grape::bhqk(w.data(), batch, heads, seq, seq), {.log_forget = got});
    double size = 0;
    for (const double x : w) size += std::fabs(x);
    std::size_t n = 0;
    for (Index b = 0; b < batch; ++b) {
      for (Index h = 0; h < heads; ++h) {
        for (Index t = 0; t < seq; ++t, ++n) {
          const double slope = grape::log_sigmoid_derivative(logit.data[n]);
          const double mine = got[static_cast<std::size_t>((b * seq + t) * heads + h)] * slope;
          EXPECT_NEAR(mine, want.data[n], 8 * size * slope * 0x1p-52);
        }
      }
    }
  }
}

TEST(Cumulative, AMaskedGradientReachesNoGate) {
  std::vector<float> d{1, std::numeric_limits<float>::quiet_NaN(), 2, 3};
  const std::vector<float> g{-1, -2};
  const auto bias = grape::FoX<float>(1).at(grape::blh(g.data(), 1, 2, 1));
  std::vector<double> got(2, 0.0), slope(1, 0.0);
  grape::add_bias_vjp(bias, grape::bhqk(d.data(), 1, 1, 2, 2),
                      {.slopes = slope, .log_forget = got});
  EXPECT_EQ(got, (std::vector<double>{0, 2}));
  EXPECT_EQ(slope[0], -4);
}

TEST(Cumulative, AShutGateStopsGradients) {
  const std::vector<float> d(16, 1.0F);
  const std::vector<float> g{-1, -1, -std::numeric_limits<float>::infinity(), -1};
  const auto bias = grape::FoX<float>(1).at(grape::blh(g.data(), 1, 4, 1));
  std::vector<double> got(4, 0.0), slope(1, 0.0);
  grape::add_bias_vjp(bias, grape::bhqk(d.data(), 1, 1, 4, 4),
                      {.slopes = slope, .log_forget = got});
  EXPECT_EQ(got, (std::vector<double>{0, 1, 0, 1}));
  EXPECT_EQ(slope[0], -2);
}

TEST(Cumulative, RejectsGradientsOfTheWrongSize) {
  const std::vector<float> g(2 * 4 * 3, -1.0F), d(2 * 3 * 4 * 4, 1.0F);
  const auto bias = grape::FoX<float>(3).at(grape::blh(g.data(), 2, 4, 3));
  const auto scores = grape::bhqk(d.data(), 2, 3, 4, 4);
  std::vector<double> out(23, 5.0), slopes(3, 5.0);
  EXPECT_TRUE(
      rejects([&] { grape::add_bias_vjp(bias, scores, {.slopes = slopes, .log_forget = out}); },
              "gradients.log_forget", "23 entries", "24 entries"));
  const auto alibi =
      grape::ALiBi<float>(3).at(grape::Positions::range(0, 4), grape::Positions::range(0, 4));
  EXPECT_TRUE(
      rejects([&] { grape::add_bias_vjp(alibi, scores, {.slopes = slopes, .log_forget = out}); },
              "gradients.log_forget", "23 entries", "no such gradient"));
  EXPECT_EQ(out, std::vector<double>(23, 5.0));
  EXPECT_EQ(slopes, std::vector<double>(3, 5.0));
}

}  // namespace
