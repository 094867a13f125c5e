// SPDX-License-Identifier: Apache-2.0
#include "grape/encoder/cumulative_bias.hpp"

#include <gtest/gtest.h>

#include <Eigen/Core>
#include <cmath>
#include <limits>

#include "grape/math/gates.hpp"
#include "grape/presets.hpp"
#include "support/errors.hpp"
#include "support/golden.hpp"
#include "support/random.hpp"
#include "support/strided.hpp"

namespace {

using grape::Future;
using grape::Index;
using grape::QueryRange;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

template <class A>
class CumulativeBiasOf : public testing::Test {};
using Accumulators = testing::Types<float, double>;
TYPED_TEST_SUITE(CumulativeBiasOf, Accumulators);

// The definition: gates [batch, seq, heads] of the tokens j + 1 .. i, in long double.
long double decay(const std::vector<double>& g, Index seq, Index heads, Index b, Index h, Index i,
                  Index j) {
  long double sum = 0;
  for (Index l = j + 1; l <= i; ++l) sum += g[static_cast<std::size_t>((b * seq + l) * heads + h)];
  return sum;
}

// Sums are off by less than 2^-24 of the smallest difference in A = float (2^-28), and in double
// the difference rounds three times; the product and the cast round once each.
template <class A>
constexpr double kBound = std::same_as<A, float> ? 1.1 * 0x1p-24 : 6 * 0x1p-53;

template <class A>
void expect_decay(const grape::BiasAction<A>& bias, const std::vector<double>& slopes,
                  const std::vector<double>& g, Index start, Future future) {
  const Index seq = bias.keys(), heads = bias.heads();
  for (Index b = 0; b < bias.batch(); ++b) {
    for (Index h = 0; h < heads; ++h) {
      std::vector<A> tile(static_cast<std::size_t>(bias.queries() * seq));
      bias.tile({b, h, 0, bias.queries(), 0, seq}, tile.data(), seq);
      for (Index i = 0; i < bias.queries(); ++i) {
        for (Index j = 0; j < seq; ++j) {
          const A got = bias(b, h, i, j);
          ASSERT_EQ(got, tile[static_cast<std::size_t>(i * seq + j)]);
          if (j > start + i) {
            ASSERT_EQ(got, future == Future::mask ? -std::numeric_limits<A>::infinity() : A(0));
            continue;
          }
          const auto want = static_cast<double>(slopes[static_cast<std::size_t>(h)] *
                                                decay(g, seq, heads, b, h, start + i, j));
          ASSERT_NEAR(got, want, kBound<A> * std::fabs(want))
              << b << " " << h << " " << i << " " << j;
        }
      }
    }
  }
}

TYPED_TEST(CumulativeBiasOf, IsItsDefinitionForEveryRangeOfQueries) {
  using A = TypeParam;
  Random random(321);
  const std::vector<double> g = random.uniforms(2 * 19 * 3, -3, 0);
  const std::vector<double> slopes{1, 0.25, -3.5};
  const grape::FoX<A> fox(slopes);
  for (const Future future : {Future::mask, Future::zero}) {
    expect_decay(fox.at(grape::blh(g.data(), 2, 19, 3), future), slopes, g, 0, future);
    for (const QueryRange range : {QueryRange{0, 19}, {18, 1}, {11, 8}, {3, 5}, {19, 0}, {0, 0}}) {
      const auto bias = fox.at(grape::blh(g.data(), 2, 19, 3), range, future);
      EXPECT_EQ(bias.queries(), range.count);
      EXPECT_EQ(bias.keys(), 19);
      EXPECT_EQ(bias.gradient_sizes().path, 19);
      EXPECT_EQ(bias.gradient_sizes().log_forget, 2 * 19 * 3);
      expect_decay(bias, slopes, g, range.start, future);
    }
  }
}

TYPED_TEST(CumulativeBiasOf, TilesAreWhatTheEntriesAreWhereverTheyAreCut) {
  using A = TypeParam;
  Random random(322);
  std::vector<double> g = random.uniforms(40, -1, 0);
  g[13] = -kInfinity;
  const auto bias = grape::FoX<A>(1).at(grape::blh(g.data(), 1, 40, 1), QueryRange{5, 33});
  for (int trial = 0; trial < 200; ++trial) {
    const Index q = random.integer(0, 32), k = random.integer(0, 39);
    const Index rows = random.integer(0, 33 - q), cols = random.integer(0, 40 - k);
    std::vector<A> tile(static_cast<std::size_t>(rows * (cols + 2)), A(77));
    bias.tile({0, 0, q, rows, k, cols}, tile.data(), cols + 2);
    for (Index r = 0; r < rows; ++r) {
      for (Index c = 0; c < cols + 2; ++c) {
        const A got = tile[static_cast<std::size_t>(r * (cols + 2) + c)];
        ASSERT_EQ(got, c < cols ? bias(0, 0, q + r, k + c) : A(77));
      }
    }
  }
}

TYPED_TEST(CumulativeBiasOf, MatchesTheAuthorsOfFoX) {
  using A = TypeParam;
  for (const std::string& name : golden::families("fox_bias")) {
    SCOPED_TRACE(name);
    const golden::Case c = golden::load(name);
    const golden::Array logit = c.inputs("fgate_logit"), want = c.outputs("bias");
    const Index batch = logit.shape[0], heads = logit.shape[1], seq = logit.shape[2];
    std::vector<double> g;
    for (const double x : logit.data) g.push_back(grape::log_sigmoid(x));
    // [batch, heads, seq] in memory.
    const grape::TensorView<const double> view(g.data(), {batch, seq, heads, 1},
                                               {heads * seq, 1, seq, 1});
    const auto bias = grape::FoX<A>(heads).at(view);
    std::size_t n = 0;
    for (Index b = 0; b < batch; ++b) {
      for (Index h = 0; h < heads; ++h) {
        for (Index i = 0; i < seq; ++i) {
          for (Index j = 0; j < seq; ++j, ++n) {
            if (j > i) continue;
            // Theirs is a difference of double sums: off by 2 seq roundings of the whole sum.
            const double theirs = static_cast<double>(2 * seq) * 0x1p-53 *
                                  std::fabs(want.data[n - static_cast<std::size_t>(j)]);
            const double gate = 24 * 0x1p-53 * std::fabs(want.data[n]);
            ASSERT_NEAR(bias(b, h, i, j), want.data[n],
                        kBound<A> * std::fabs(want.data[n]) + theirs + gate)
                << b << " " << h << " " << i << " " << j;
          }
        }
      }
    }
  }
}

TYPED_TEST(CumulativeBiasOf, ConstantGatesAreALiBi) {
  using A = TypeParam;
  const std::vector<double> slopes = grape::alibi_slopes(12);
  std::vector<double> g;
  for (int t = 0; t < 50; ++t) {
    for (const double slope : slopes) g.push_back(-slope);
  }
  const auto fox = grape::FoX<A>(12).at(grape::blh(g.data(), 1, 50, 12));
  const auto alibi =
      grape::ALiBi<A>(12).at(grape::Positions::range(7, 50), grape::Positions::range(7, 50));
  for (Index h = 0; h < 12; ++h) {
    for (Index i = 0; i < 50; ++i) {
      for (Index j = 0; j < 50; ++j) {
        const A want = alibi(0, h, i, j);
        if (j > i) {
          ASSERT_EQ(fox(0, h, i, j), want);
        } else {
          ASSERT_NEAR(fox(0, h, i, j), want,
                      (kBound<A> + 3.01 * Rounding<A>::unit) * std::fabs(want));
        }
      }
    }
  }
}

TYPED_TEST(CumulativeBiasOf, ADecodedRowIsTheFullOne) {
  using A = TypeParam;
  Random random(323);
  const std::vector<A> g = [&] {
    std::vector<A> out;
    for (int i = 0; i < 2 * 30 * 2; ++i) out.push_back(static_cast<A>(random.uniform(-2, 0)));
    return out;
  }();
  const grape::FoX<A> fox(2);
  const auto full = fox.at(grape::blh(g.data(), 2, 30, 2));
  for (const Index n : {Index{1}, Index{2}, Index{17}, Index{30}}) {
    // The first n tokens of the same memory.
    const grape::TensorView<const A> so_far(g.data(), {2, n, 2, 1}, {30 * 2, 2, 1, 1});
    const auto step = fox.at(so_far, QueryRange{n - 1, 1});
    for (Index b = 0; b < 2; ++b) {
      for (Index h = 0; h < 2; ++h) {
        for (Index j = 0; j < n; ++j) {
          // Either may leave out the sums' low parts.
          const A want = full(b, h, n - 1, j);
          ASSERT_NEAR(step(b, h, 0, j), want, 2 * kBound<A> * std::fabs(want));
        }
      }
    }
  }
}

TYPED_TEST(CumulativeBiasOf, IsMonotoneAndNeverAboveZero) {
  using A = TypeParam;
  Random random(324);
  std::vector<double> g;
  for (int t = 0; t < 300; ++t) {  // weak, strong and open gates
    g.push_back(random.integer(0, 3) == 0 ? 0.0 : -std::pow(10.0, random.uniform(-14, 2)));
  }
  const auto bias = grape::FoX<A>(1).at(grape::blh(g.data(), 1, 300, 1));
  for (Index i = 0; i < 300; ++i) {
    ASSERT_EQ(bias(0, 0, i, i), 0);
    for (Index j = 0; j < i; ++j) {
      const auto want = static_cast<double>(decay(g, 300, 1, 0, 0, i, j));
      ASSERT_NEAR(bias(0, 0, i, j), want, kBound<A> * std::fabs(want));
      ASSERT_LE(bias(0, 0, i, j), 0);
      // Two differences in double may cross by their own roundings.
      const A next = bias(0, 0, i, j + 1);
      ASSERT_LE(bias(0, 0, i, j), next + static_cast<A>(6 * 0x1p-53 * std::fabs(want)));
    }
  }
}

TYPED_TEST(CumulativeBiasOf, KeepsItsAccuracyAtAMillionTokens) {
  using A = TypeParam;
  constexpr Index kSeq = 1'000'000;
  Random random(325);
  for (const double mean : {-0.1, -30.0}) {
    SCOPED_TRACE(mean);
    std::vector<double> g = random.uniforms(kSeq, 2 * mean, 0);
    for (std::size_t t = 0; t < g.size(); t += 3) g[t] = -1e-5;  // weak ones among them
    const auto bias = grape::FoX<A>(1).at(grape::blh(g.data(), 1, kSeq, 1));
    for (int trial = 0; trial < 100; ++trial) {
      const Index i = random.integer(kSeq / 2, kSeq - 1);
      const Index j = i - static_cast<Index>(std::pow(10.0, random.uniform(0, 5)));
      const auto want = static_cast<double>(decay(g, kSeq, 1, 0, 0, i, j));
      ASSERT_NEAR(bias(0, 0, i, j), want, kBound<A> * std::fabs(want)) << i << " " << j;
    }
    const Index last = kSeq - 1;  // a multiple of 3: a weak gate
    ASSERT_EQ(last % 3, 0);
    ASSERT_NEAR(bias(0, 0, last, last - 1), -1e-5, kBound<A> * 1e-5);
  }
}

TYPED_TEST(CumulativeBiasOf, AShutGateHidesWhatIsBeforeItAndNothingElse) {
  using A = TypeParam;
  for (const double shut : {-kInfinity, -1e30, std::numeric_limits<double>::lowest()}) {
    std::vector<double> g{-1, shut, -2, -3, shut, -4, -5, -6, -7, -8, -9, -10, -11, -12};
    const auto bias =
        grape::FoX<A>(std::vector<double>{2.0, 0.0}).at(grape::blh(g.data(), 1, 7, 2));
    // Head 0: -1 -2 shut -5 -7 -9 -11. Head 1: shut -3 -4 ..
    constexpr A kHidden = -std::numeric_limits<A>::infinity();
    EXPECT_EQ(bias(0, 0, 1, 0), -4);
    EXPECT_EQ(bias(0, 0, 2, 1), kHidden);
    EXPECT_EQ(bias(0, 0, 2, 2), 0);
    EXPECT_EQ(bias(0, 0, 3, 2), -10);
    EXPECT_EQ(bias(0, 0, 6, 2), -64);
    EXPECT_EQ(bias(0, 0, 6, 1), kHidden);
    EXPECT_EQ(bias(0, 1, 6, 0), 0);  // the first token has none before it
  }
}

TYPED_TEST(CumulativeBiasOf, TakesGatesOfEveryElementType) {
  using A = TypeParam;
  const auto entry = [](auto one) {
    using T = decltype(one);
    std::vector<T> g(4, static_cast<T>(-0.5F));
    const auto constant = grape::TensorView<const T>(grape::blh(g.data(), 1, 4, 1));
    const grape::FoX<A> fox(1);
    EXPECT_EQ(fox.at(constant)(0, 0, 3, 0), fox.at(grape::blh(g.data(), 1, 4, 1))(0, 0, 3, 0));
    return fox.at(constant)(0, 0, 3, 0);
  };
  EXPECT_EQ(entry(1.0F), A(-1.5));
  EXPECT_EQ(entry(1.0), A(-1.5));
  EXPECT_EQ(entry(Eigen::half(1.0F)), A(-1.5));
  EXPECT_EQ(entry(Eigen::bfloat16(1.0F)), A(-1.5));
}

TYPED_TEST(CumulativeBiasOf, GradientsAreFiniteDifferences) {
  using A = TypeParam;
  constexpr Index kSeq = 11, kStart = 4, kQueries = 6;
  Random random(326);
  const std::vector<double> g = random.uniforms(kSeq * 2, -2, -0.5);
  const std::vector<double> slopes{0.75, -1.5};
  const std::vector<double> w = random.uniforms(kQueries * kSeq, -1, 1);
  const std::vector<A> d(w.begin(), w.end());
  const auto loss = [&](const std::vector<double>& s, const std::vector<double>& gates, Index h) {
    const auto bias = grape::FoX<double>(s).at(grape::blh(gates.data(), 1, kSeq, 2),
                                               QueryRange{kStart, kQueries}, Future::zero);
    double sum = 0;
    for (Index i = 0; i < kQueries; ++i) {
      for (Index j = 0; j < kSeq; ++j) {
        sum += static_cast<double>(d[static_cast<std::size_t>(i * kSeq + j)]) * bias(0, h, i, j);
      }
    }
    return sum;
  };
  const auto bias = grape::FoX<A>(slopes).at(grape::blh(g.data(), 1, kSeq, 2),
                                             QueryRange{kStart, kQueries}, Future::zero);
  // The loss is linear in either: a wide step costs rounding of its 66 terms below 40 alone.
  constexpr double kStep = 0.25, kTolerance = 4 * 66 * 66 * 40 * 0x1p-53 / kStep;
  for (Index h = 0; h < 2; ++h) {
    std::vector<double> d_slopes(2, 0.0), d_path(kSeq, 0.0), d_gates(2 * kSeq, 0.0);
    const std::vector<double> before(4, 0.0);
    const grape::BiasGradients gradients{.slopes = d_slopes, .log_forget = d_gates, .path = d_path};
    // In tiles that cut rows and columns.
    for (Index i = 0; i < kQueries; i += 4) {
      for (Index j = 0; j < kSeq; j += 3) {
        bias.tile_vjp({0, h, i, std::min<Index>(4, kQueries - i), j, std::min<Index>(3, kSeq - j)},
                      d.data() + i * kSeq + j, kSeq, before.data(), gradients);
      }
    }
    bias.finish_vjp(0, h, gradients);
    for (Index t = 0; t < kSeq; ++t) {
      std::vector<double> up = g, down = g;
      up[static_cast<std::size_t>(t * 2 + h)] += kStep;
      down[static_cast<std::size_t>(t * 2 + h)] -= kStep;
      EXPECT_NEAR(d_gates[static_cast<std::size_t>(t * 2 + h)],
                  (loss(slopes, up, h) - loss(slopes, down, h)) / (2 * kStep), kTolerance);
    }
    const auto p = static_cast<std::size_t>(h);
    std::vector<double> up = slopes, down = slopes;
    up[p] += kStep;
    down[p] -= kStep;
    EXPECT_NEAR(d_slopes[p], (loss(up, g, h) - loss(down, g, h)) / (2 * kStep), kTolerance);
    EXPECT_EQ(d_slopes[1 - p], 0);
  }
}

TEST(CumulativeBias, IsPreparedAgainInPlace) {
  const std::vector<float> g{-1, -2, -3, -4, -5, -6};
  const grape::FoX<float> fox(1);
  auto bias = fox.at(grape::blh(g.data(), 1, 6, 1));
  const auto copy = bias;
  fox.at(grape::blh(g.data(), 1, 3, 1), bias);
  EXPECT_EQ(copy.keys(), 6);  // a shared source is left alone
  EXPECT_EQ(bias.keys(), 3);
  const auto* source = bias.unshared<grape::CumulativeBias<float>>();
  ASSERT_NE(source, nullptr);
  fox.at(grape::blh(g.data() + 3, 1, 3, 1), QueryRange{2, 1}, bias);
  EXPECT_EQ(bias.unshared<grape::CumulativeBias<float>>(), source);
  EXPECT_EQ(bias(0, 0, 0, 0), -11);
  fox.at(grape::blh(g.data() + 3, 1, 3, 1), QueryRange{1, 1}, Future::zero, bias);
  EXPECT_EQ(bias(0, 0, 0, 0), -5);
  EXPECT_EQ(bias(0, 0, 0, 2), 0);
  const std::vector<float> bad{-1, 1, -1};
  EXPECT_THROW(fox.at(grape::blh(bad.data(), 1, 3, 1), bias), grape::ArgumentError);
  EXPECT_EQ(bias(0, 0, 0, 0), -5);
  // From a bias of another path.
  auto other =
      grape::ALiBi<float>(1).at(grape::Positions::range(0, 2), grape::Positions::range(0, 2));
  EXPECT_EQ(other.gradient_sizes().path, 0);
  fox.at(grape::blh(g.data(), 1, 3, 1), other);
  EXPECT_EQ(other(0, 0, 2, 0), -5);
}

TEST(CumulativeBias, RejectsWhatIsNoGate) {
  const grape::FoX<float> fox(2);
  std::vector<float> g(12, -1.0F);
  const auto at = [&](auto... rest) {
    return [&, rest...] { fox.at(grape::blh(g.data(), 2, 3, 2), rest...); };
  };
  g[9] = 0x1p-20F;
  EXPECT_TRUE(rejects(at(), "log_forget(1, 1, 1)", "9.5367431640625e-07", "<= 0"));
  g[9] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(rejects(at(), "log_forget(1, 1, 1)", "nan", "<= 0"));
  g[9] = std::numeric_limits<float>::infinity();
  EXPECT_TRUE(rejects(at(), "log_forget(1, 1, 1)", "inf", "<= 0"));
  g[9] = -0.0F;
  EXPECT_NO_THROW(at()());
  EXPECT_TRUE(rejects(at(Future::symmetric), "future", "symmetric", "Future::mask"));
  EXPECT_TRUE(rejects(at(QueryRange{-1, 1}), "query range start", "-1", "[0, 3]"));
  EXPECT_TRUE(rejects(at(QueryRange{4, 0}), "query range start", "4", "[0, 3]"));
  EXPECT_TRUE(rejects(at(QueryRange{1, 3}), "query range count", "3", "at most the 2 tokens"));
  EXPECT_TRUE(rejects(at(QueryRange{1, -1}), "query range count", "-1", ">= 0"));
  EXPECT_TRUE(
      rejects([&] { fox.at(grape::blh(g.data(), 1, 4, 3)); }, "log_forget heads", "3", "2 heads"));
  EXPECT_TRUE(
      rejects([&] { fox.at(grape::blh(g.data(), 1, 4, 1)); }, "log_forget heads", "1", "2 heads"));
  EXPECT_TRUE(
      rejects([&] { fox.at(grape::blhd(g.data(), 1, 3, 2, 2)); }, "log_forget dim", "2", "1"));
  EXPECT_TRUE(rejects([] { grape::FoX<float>(0); }, "heads", "0", ">= 1"));
}

TEST(CumulativeBias, SlopesAndNegatedPhasesAreThePhaseModulatedBias) {
  // b = -theta (A_i - A_j), A the inclusive sums of omega >= 0 (section 5).
  const std::vector<double> omega{0.5, 1, 0.25, 2}, theta{3};
  std::vector<double> gates;
  for (const double x : omega) gates.push_back(-x);
  const auto bias = grape::FoX<double>(theta).at(grape::blh(gates.data(), 1, 4, 1));
  EXPECT_EQ(bias(0, 0, 3, 0), -3 * (1 + 0.25 + 2));
  EXPECT_EQ(bias(0, 0, 3, 2), -3 * 2.0);
  EXPECT_EQ(bias(0, 0, 1, 1), 0);
}

TEST(CumulativeBias, HasUnitSlopesUnlessGiven) {
  const grape::FoX<float> fox(3);
  ASSERT_EQ(fox.generator().sets(), 3);
  for (const double slope : fox.generator().slopes()) EXPECT_EQ(slope, 1);
  const float* none = nullptr;
  EXPECT_EQ(fox.at(grape::blh(none, 1, 0, 3)).keys(), 0);
}

}  // namespace
