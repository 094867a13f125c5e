// SPDX-License-Identifier: Apache-2.0
// add_bias and its gradients with path integrals.
#include <gtest/gtest.h>

#include "grape/apply/bias.hpp"
#include "grape/presets.hpp"
#include "support/errors.hpp"
#include "support/executors.hpp"
#include "support/golden.hpp"
#include "support/path_integral.hpp"
#include "support/random.hpp"
#include "support/strided.hpp"

namespace {

using grape::Future;
using grape::Index;
using grape::Pairing;
using grape::PathIntegralPath;
using grape::ProbeConvention;
using grape::QueryRange;

template <class T>
class PathIntegralScores : public testing::Test {};
TYPED_TEST_SUITE(PathIntegralScores, ElementTypes);

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

TYPED_TEST(PathIntegralScores, AddBiasAddsEveryEntryOnceAndNoOther) {
  using T = TypeParam;
  using A = grape::accumulation_t<T>;
  Random random(631);
  const std::vector<double> slopes{1.0, 0.5, 2.0};
  for (const Index batch : {1, 2}) {  // 6 heads of scores on 3 sets, more rows than a block has
    const auto p = random.uniforms(batch * 40 * 3 * 5, -1, 1);
    const reference::Edges edges(p, {batch, 40, 3, 5},
                                 {.epsilon = std::numeric_limits<A>::epsilon()});
    const auto bias = grape::PathIntegral<T>(slopes).at(grape::blhd(p.data(), batch, 40, 3, 5),
                                                        QueryRange{29, 11});
    for (const Layout& layout : layouts(2, 6, 11, 40)) {
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
          for (Index i = 0; i < 11; ++i) {
            const auto row = edges.row(Rounding<A>::unit, batch == 1 ? 0 : b, h / 2, 29 + i);
            for (Index j = 0; j < 40; ++j, ++n) {
              if (j > 29 + i) {
                ASSERT_EQ(got[n], -std::numeric_limits<double>::infinity());
                continue;
              }
              const double slope = slopes[at(h / 2)], term = slope * row[at(j)].bias;
              const double want = before[n] + term;
              const double kernel = slope * row[at(j)].tolerance +
                                    Rounding<A>::unit * (std::fabs(term) + 2 * std::fabs(want));
              const double store =
                  std::same_as<T, A>
                      ? 0
                      : Rounding<T>::unit * (std::fabs(want) + kernel) + Rounding<T>::least;
              ASSERT_NEAR(got[n], want, kernel + store) << b << " " << h << " " << i << " " << j;
            }
          }
        }
      }
      for (int way = 0; way < 2; ++way) {  // the same bits on any executor
        Strided<T> again(layout, random, 3);
        again.memory() = memory;
        way == 0 ? grape::add_bias(bias, again.scores(), Threads{3})
                 : grape::add_bias(bias, again.scores(), Reversed{});
        EXPECT_TRUE(same_bits(again.memory(), scores.memory()));
      }
    }
  }
}

// A link whose derivative is no function of its value.
struct Wave {
  template <class A>
  A operator()(A x) const {
    return std::sin(x) - 2;
  }
  template <class A>
  A derivative(A x) const {
    return std::cos(x);
  }
};

// Features and weights of a loss sum(w * bias); 4 heads of scores on 2 sets.
struct Problem {
  Index batch = 2, seq = 45, feature_heads = 2, width = 5;
  QueryRange range{13, 30};
  std::vector<double> slopes{0.75, -1.5}, p, w;

  explicit Problem(Random& random) {
    p = random.uniforms(batch * seq * feature_heads * width, -2, 2);
    w = random.uniforms(batch * 4 * range.count * seq, -1, 1);
  }
  template <class A, class Link>
  grape::BiasAction<A> bias(const PathIntegralPath<Link>& path, const std::vector<double>& features,
                            const std::vector<double>& alpha) const {
    return grape::PathIntegral<A, Link>(grape::UnipotentGenerator<A>(alpha), path)
        .at(grape::blhd(features.data(), batch, seq, feature_heads, width), range, Future::zero);
  }
  template <class Link>
  double loss(const PathIntegralPath<Link>& path, const std::vector<double>& features,
              const std::vector<double>& alpha) const {
    std::vector<double> scores(w.size(), 0.0);
    grape::add_bias(bias<double>(path, features, alpha),
                    grape::bhqk(scores.data(), batch, 4, range.count, seq));
    double sum = 0;
    for (std::size_t i = 0; i < w.size(); ++i) sum += w[i] * scores[i];
    return sum;
  }
};

template <class Link>
void expect_finite_differences(const Problem& problem, const PathIntegralPath<Link>& path,
                               Random& random) {
  const auto bias = problem.bias<double>(path, problem.p, problem.slopes);
  const Index sets = bias.heads();
  std::vector<double> d_slopes(at(sets), 0.0);
  std::vector<double> d_features(at(bias.gradient_sizes().features), 0.0);
  grape::add_bias_vjp(
      bias, grape::bhqk(problem.w.data(), problem.batch, 4, problem.range.count, problem.seq),
      {.slopes = d_slopes, .features = d_features});
  // The loss has some 10^4 terms below 100, and derivatives along a unit direction of that order;
  // the five-point difference errs by h^4 / 30 times the fifth, and by rounding over h.
  constexpr double kStep = 1e-3, kTolerance = 1e6 * (1e-12 + 4 * 0x1p-53 / kStep);
  const auto difference = [&](const auto& value) {
    return (8 * (value(kStep) - value(-kStep)) - (value(2 * kStep) - value(-2 * kStep))) /
           (12 * kStep);
  };
  const auto moved = [](const std::vector<double>& x, const std::vector<double>& v, double step) {
    std::vector<double> out = x;
    for (std::size_t i = 0; i < x.size(); ++i) out[i] += step * v[i];
    return out;
  };
  for (std::size_t h = 0; h < d_slopes.size(); ++h) {
    std::vector<double> v(d_slopes.size(), 0.0);
    v[h] = 1;
    EXPECT_NEAR(d_slopes[h], difference([&](double step) {
                  return problem.loss(path, problem.p, moved(problem.slopes, v, step));
                }),
                kTolerance);
  }
  for (int trial = 0; trial < 8; ++trial) {
    std::vector<double> v = random.uniforms(static_cast<Index>(problem.p.size()), -1, 1);
    if (trial > 0) {  // of one token alone: the first, the last, those around a panel's end, ..
      const Index tokens[] = {0, 1, 31, 32, 13, 42, 44};
      std::size_t n = 0;
      for (Index b = 0; b < problem.batch; ++b) {
        for (Index t = 0; t < problem.seq; ++t) {
          for (Index i = 0; i < problem.feature_heads * problem.width; ++i, ++n) {
            if (t != tokens[trial - 1]) v[n] = 0;
          }
        }
      }
    }
    double length = 0;
    for (const double x : v) length += x * x;
    for (double& x : v) x /= std::sqrt(length);
    double along = 0;
    for (Index i = 0; i < static_cast<Index>(d_features.size()); ++i) {
      const Index width = problem.width, token = i / (sets * width), h = i / width % sets;
      const Index f = problem.feature_heads == 1 ? 0 : h;
      along += d_features[at(i)] * v[at((token * problem.feature_heads + f) * width + i % width)];
    }
    EXPECT_NEAR(along, difference([&](double step) {
                  return problem.loss(path, moved(problem.p, v, step), problem.slopes);
                }),
                kTolerance)
        << trial;
  }
}

TEST(PathIntegral, GradientsAreFiniteDifferences) {
  Random random(632);
  for (const ProbeConvention convention : {ProbeConvention::paper, ProbeConvention::authors}) {
    for (const Pairing pairing : {Pairing::interleaved, Pairing::half_split}) {
      for (const Index feature_heads : {Index{1}, Index{2}}) {
        Problem problem(random);
        problem.feature_heads = feature_heads;
        problem.p.resize(at(problem.batch * problem.seq * feature_heads * problem.width));
        expect_finite_differences(problem, PathIntegralPath<>{convention, pairing, 0.25, {}},
                                  random);
        expect_finite_differences(
            problem, PathIntegralPath<Wave>{convention, pairing, std::nullopt, {}}, random);
      }
    }
  }
}

TEST(PathIntegral, GradientsMatchTheGoldenNumbers) {
  for (const char* family : {"grape_ap_paper", "grape_ap_authors", "grape_ap_bias"}) {
    for (const std::string& name : golden::families(family)) {
      SCOPED_TRACE(name);
      const golden::Case c = golden::load(name);
      const bool authors = name.find("authors") != std::string::npos;
      const golden::Array p = c.inputs("p"), want = c.gradients("p");
      const std::vector<double> slopes = c.inputs(c.has_input("alpha") ? "alpha" : "slopes").data;
      const std::vector<double> w = c.inputs(c.has_input("w") ? "w" : "w_bias").data;
      const Index batch = p.shape[0], seq = p.shape[1], heads = p.shape[2], width = p.shape[3];
      const bool half_split = authors || name.rfind("more/", 0) != 0;
      const PathIntegralPath<> path{authors ? ProbeConvention::authors : ProbeConvention::paper,
                                    half_split ? Pairing::half_split : Pairing::interleaved,
                                    std::numeric_limits<double>::epsilon(),
                                    {}};
      const auto bias = grape::PathIntegral<double>(grape::UnipotentGenerator<double>(slopes), path)
                            .at(grape::blhd(p.data.data(), batch, seq, heads, width), Future::zero);
      std::vector<double> got(p.data.size(), 0.0);
      grape::add_bias_vjp(bias, grape::bhqk(w.data(), batch, heads, seq, seq), {.features = got});
      // Theirs goes over every entry of w in each sum of edges.
      double size = 0, largest = 0;
      for (const double x : w) size += std::fabs(x);
      for (const double x : want.data) largest = std::max(largest, std::fabs(x));
      ASSERT_GT(largest, 1e-3);
      for (std::size_t i = 0; i < got.size(); ++i) {
        EXPECT_NEAR(got[i], want.data[i], static_cast<double>(width + 16) * size * 0x1p-53);
      }
    }
  }
}

TYPED_TEST(PathIntegralScores, GradientsAreThoseOfDoubleToRounding) {
  using T = TypeParam;
  using A = grape::accumulation_t<T>;
  Random random(633);
  // More than one tile of 8 x 512.
  constexpr Index kSeq = 600, kStart = 580, kQueries = 20, kWidth = 6;
  const auto p = random.uniforms(kSeq * 2 * kWidth, -1, 1);
  const std::vector<double> slopes{0.5, 2.0};
  for (const ProbeConvention convention : {ProbeConvention::paper, ProbeConvention::authors}) {
    const PathIntegralPath<> path{.convention = convention, .epsilon = 0.1};
    const auto view = grape::blhd(p.data(), 1, kSeq, 2, kWidth);
    const QueryRange range{kStart, kQueries};
    const auto bias =
        grape::PathIntegral<T>(grape::UnipotentGenerator<T>(slopes), path).at(view, range);
    const auto exact = grape::PathIntegral<double>(grape::UnipotentGenerator<double>(slopes), path)
                           .at(view, range);
    const Layout layout = layouts(3, 2, kQueries, kSeq)[3];
    Strided<T> d(layout, random);
    const std::vector<double> w = d.values();
    const auto size = at(kSeq * 2 * kWidth);
    std::vector<double> got(size, 0.0), want(size, 0.0), d_slopes(2, 0.0), want_slopes(2, 0.0);
    grape::add_bias_vjp(bias, d.scores(), {.slopes = d_slopes, .features = got});
    grape::add_bias_vjp(exact, grape::bhqk(w.data(), 3, 2, kQueries, kSeq),
                        {.slopes = want_slopes, .features = want});
    // What a token's gradient is a sum of: |D(t, l)| of its edges, times alpha and a probe of at
    // most sqrt(width) over an rms of at least sqrt(epsilon) on one side.
    std::vector<double> edges(at(kSeq * 2), 0.0);
    std::size_t n = 0;
    for (Index b = 0; b < 3; ++b) {
      for (Index h = 0; h < 2; ++h) {
        for (Index i = 0; i < kQueries; ++i) {
          double sum = 0;
          for (Index l = 0; l < kSeq; ++l, ++n) {
            if (l > kStart + i) continue;
            edges[at(l * 2 + h)] += std::fabs(sum);
            edges[at((kStart + i) * 2 + h)] += std::fabs(sum);
            sum += w[n];
          }
        }
      }
    }
    constexpr double kUnit = Rounding<A>::unit;
    double all[2] = {};
    for (Index l = 0; l < kSeq; ++l) {
      for (Index h = 0; h < 2; ++h) {
        all[h] += edges[at(l * 2 + h)];
        const double scale = edges[at(l * 2 + h)] * slopes[at(h)] / std::sqrt(0.1 * kWidth);
        for (Index i = 0; i < kWidth; ++i) {
          const auto k = at((l * 2 + h) * kWidth + i);
          ASSERT_NEAR(got[k], want[k], 2 * (kWidth + 16) * kUnit * scale) << l << " " << h;
        }
      }
    }
    // An edge's value is at most 2 here and off by the roundings of its product.
    for (std::size_t h = 0; h < 2; ++h) {
      EXPECT_NEAR(d_slopes[h], want_slopes[h], 2 * (kWidth + 16) * kUnit * all[h]);
    }
    for (int way = 0; way < 3; ++way) {  // alone, on threads and backwards: the same bits
      std::vector<double> again(size, 0.0), slopes_again(2, 0.0);
      const grape::BiasGradients gradients{.slopes = slopes_again, .features = again};
      if (way == 0) grape::add_bias_vjp(bias, d.scores(), gradients, Threads{3});
      if (way == 1) grape::add_bias_vjp(bias, d.scores(), gradients, Reversed{});
      if (way == 2) {
        grape::add_bias_vjp(bias, d.scores(), {.features = again});
        grape::add_bias_vjp(bias, d.scores(), {.slopes = slopes_again});
      }
      EXPECT_EQ(again, got);
      EXPECT_EQ(slopes_again, d_slopes);
    }
  }
}

TEST(PathIntegral, AMaskedGradientReachesNoFeature) {
  const std::vector<double> p{1, 2, 3, 4, 5, 6};
  const auto bias = grape::PathIntegral<double>(1).at(grape::blhd(p.data(), 1, 3, 1, 2));
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::vector<double> masked{1, nan, nan, 2, 3, nan, 4, 5, 6};
  const std::vector<double> zeros{1, 0, 0, 2, 3, 0, 4, 5, 6};
  std::vector<double> got(6, 0.0), want(6, 0.0);
  grape::add_bias_vjp(bias, grape::bhqk(masked.data(), 1, 1, 3, 3), {.features = got});
  grape::add_bias_vjp(bias, grape::bhqk(zeros.data(), 1, 1, 3, 3), {.features = want});
  EXPECT_EQ(got, want);
  EXPECT_NE(got[2], 0);  // the first token has no edge
}

TEST(PathIntegral, RejectsGradientsOfTheWrongSize) {
  const std::vector<float> p(24, 1.0F), d(9 * 2, 1.0F);
  const auto bias = grape::PathIntegral<float>(2).at(grape::blhd(p.data(), 1, 3, 2, 4));
  const auto scores = grape::bhqk(d.data(), 1, 2, 3, 3);
  std::vector<double> out(23, 5.0);
  EXPECT_TRUE(rejects([&] { grape::add_bias_vjp(bias, scores, {.features = out}); },
                      "gradients.features", "23 entries", "24 entries"));
  EXPECT_TRUE(rejects([&] { grape::add_bias_vjp(bias, scores, {.log_forget = out}); },
                      "gradients.log_forget", "23 entries", "no such gradient"));
  EXPECT_EQ(out, std::vector<double>(23, 5.0));
}

}  // namespace
