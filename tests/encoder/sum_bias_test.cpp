// SPDX-License-Identifier: Apache-2.0
#include "grape/encoder/sum_bias.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "grape/apply/bias.hpp"
#include "grape/presets.hpp"
#include "support/errors.hpp"
#include "support/random.hpp"
#include "support/strided.hpp"

namespace {

using grape::BiasAction;
using grape::Future;
using grape::Index;
using grape::Positions;

template <class A>
class SumBiasOf : public testing::Test {};
using Accumulators = testing::Types<float, double>;
TYPED_TEST_SUITE(SumBiasOf, Accumulators);

constexpr Index kQueries = 7, kKeys = 40;

// ALiBi of 2 heads, shared by the batch; FoX of 4 heads and 2 batch entries; two path integrals.
template <class A>
struct Parts {
  std::vector<double> gates, features, features2;
  BiasAction<A> alibi, fox, ap, ap2;

  explicit Parts(Random& random)
      : gates(random.uniforms(2 * kKeys * 4, -1, 0)),
        features(random.uniforms(kKeys * 4, -1, 1)),
        features2(random.uniforms(2 * kKeys * 2 * 4, -1, 1)) {
    const grape::QueryRange last{kKeys - kQueries, kQueries};
    grape::ALiBi<A>(std::vector<double>{0.5, 0.125})
        .at(Positions::range(last.start, kQueries), Positions::range(0, kKeys), Future::zero,
            alibi);
    grape::FoX<A>(4).at(grape::blh(gates.data(), 2, kKeys, 4), last, fox);
    grape::PathIntegral<A>(1).at(grape::blhd(features.data(), 1, kKeys, 1, 4), last, ap);
    grape::PathIntegral<A>(2).at(grape::blhd(features2.data(), 2, kKeys, 2, 4), last, ap2);
  }
};

TYPED_TEST(SumBiasOf, IsTheSumOfItsParts) {
  using A = TypeParam;
  Random random(601);
  const Parts<A> p(random);
  const auto all = grape::sum(p.alibi, p.fox, grape::sum(p.ap, p.ap2));
  ASSERT_EQ(all.batch(), 2);
  ASSERT_EQ(all.heads(), 4);
  std::vector<A> scores(2 * 8 * kQueries * kKeys, A(0.25));
  grape::add_bias(all, grape::bhqk(scores.data(), 2, 8, kQueries, kKeys));
  std::size_t n = 0;
  for (Index b = 0; b < 2; ++b) {
    for (Index h = 0; h < 8; ++h) {
      for (Index i = 0; i < kQueries; ++i) {
        for (Index j = 0; j < kKeys; ++j, ++n) {
          const A terms[] = {p.alibi(0, h / 4, i, j), p.fox(b, h / 2, i, j), p.ap(0, 0, i, j),
                             p.ap2(b, h / 4, i, j)};
          double want = 0, size = 0;
          for (const A x : terms) {
            want += static_cast<double>(x);
            size += std::fabs(static_cast<double>(x));
          }
          const A got = all(b, h / 2, i, j);
          if (j > kKeys - kQueries + i) {
            ASSERT_EQ(got, -std::numeric_limits<A>::infinity());
            ASSERT_EQ(scores[n], got);
            continue;
          }
          // Three sums, and four with the score; a path integral's tile and its sum in place round
          // differently, to as many roundings as it has edges.
          ASSERT_NEAR(got, want, 4 * Rounding<A>::unit * size);
          ASSERT_NEAR(scores[n], want + 0.25, (8 + 2 * kKeys) * Rounding<A>::unit * (0.25 + size));
        }
      }
    }
  }
  for (Index k = 0; k < kKeys; k += 8) {
    const grape::ScoreTile where{1, 3, 2, 4, k, 8};
    const A bound = grape::sum(p.alibi, p.fox).upper_bound(where);
    std::vector<A> tile(32);
    grape::sum(p.alibi, p.fox).tile(where, tile.data(), 8);
    for (const A x : tile) ASSERT_LE(x, bound);
  }
}

TYPED_TEST(SumBiasOf, EachPartHasItsGradient) {
  using A = TypeParam;
  Random random(602);
  const Parts<A> p(random);
  const auto all = grape::sum(p.alibi, grape::sum(p.fox, p.ap));
  const auto w = [&] {
    std::vector<A> out;
    for (int i = 0; i < 2 * 8 * kQueries * kKeys; ++i) {
      out.push_back(static_cast<A>(random.uniform(-1, 1)));
    }
    return out;
  }();
  const auto view = grape::bhqk(w.data(), 2, 8, kQueries, kKeys);
  std::vector<double> slopes(2, 1.0), gates(2 * kKeys * 4, 1.0), features(kKeys * 4, 1.0);
  auto slopes2 = slopes, gates2 = gates, features2 = features;
  const grape::BiasGradients inner[] = {{.log_forget = gates}, {.features = features}};
  const grape::BiasGradients outer[] = {{.slopes = slopes}, {.parts = inner}};
  grape::add_bias_vjp(all, view, {.parts = outer});
  grape::add_bias_vjp(p.alibi, view, {.slopes = slopes2});
  grape::add_bias_vjp(p.fox, view, {.log_forget = gates2});
  grape::add_bias_vjp(p.ap, view, {.features = features2});
  EXPECT_TRUE(same_bits(slopes, slopes2) && same_bits(gates, gates2));
  EXPECT_TRUE(same_bits(features, features2));
  EXPECT_NE(slopes[0], 1.0);
  grape::add_bias_vjp(all, view, {});  // none wanted
}

TYPED_TEST(SumBiasOf, StreamsWithItsParts) {
  using A = TypeParam;
  Random random(603);
  const auto g = random.uniforms(20, -1, 0);
  const grape::FoX<A> fox(1);
  const grape::ALiBi<A> alibi(1);
  BiasAction<A> f, l;
  for (Index t = 0; t < 10; ++t) {
    fox.append(grape::blh(g.data() + t, 1, 1, 1), f);
    alibi.append(Positions::range(t, 1), l);
    const auto all = grape::sum(f, l);
    auto draft = all;
    draft.truncate(t);
    EXPECT_EQ(draft.keys(), t);
    EXPECT_EQ(all.keys(), t + 1);
    EXPECT_EQ(all(0, 0, 0, 0), f(0, 0, 0, 0) + l(0, 0, 0, 0));
  }
}

TEST(SumBias, RejectsWhatDoesNotAddUp) {
  const auto bias = [](Index queries, Index keys, Index heads) {
    return grape::ALiBi<float>(heads).at(Positions::range(0, queries), Positions::range(0, keys));
  };
  EXPECT_TRUE(
      rejects([&] { grape::sum(bias(2, 3, 2), bias(1, 3, 2)); }, "parts[1] queries", "1", "2"));
  EXPECT_TRUE(
      rejects([&] { grape::sum(bias(2, 3, 2), bias(2, 4, 2)); }, "parts[1] keys", "4", "3"));
  EXPECT_TRUE(
      rejects([&] { grape::sum(bias(2, 3, 2), bias(2, 3, 3)); }, "parts[0]", "3 heads", "2"));
  EXPECT_TRUE(
      rejects([&] { grape::sum(std::span<const BiasAction<float>>{}); }, "parts", "none", "one"));
  const auto of_batch = [](Index batch) {
    const std::vector<std::int64_t> list(12);
    return grape::ALiBi<float>(1).at(
        Positions::per_token(std::span(list).first(static_cast<std::size_t>(batch * 2)), batch, 2),
        Positions::range(0, 3));
  };
  EXPECT_TRUE(rejects([&] { grape::sum(of_batch(2), of_batch(3)); }, "parts[1] batch", "3", "2"));
  const std::vector<float> gates(3, -0.5F);
  const auto nobody = grape::FoX<float>(1).at(grape::blh(gates.data(), 0, 3, 1));
  EXPECT_EQ(grape::sum(bias(3, 3, 1), nobody).batch(), 0);  // an empty batch adds up, too
  const auto all = grape::sum(bias(2, 3, 2), bias(2, 3, 1));
  std::vector<float> d(12, 1.0F);
  const auto view = grape::bhqk(d.data(), 1, 2, 2, 3);
  std::vector<double> two(2, 5.0), three(3, 5.0);
  EXPECT_TRUE(
      rejects([&] { grape::add_bias_vjp(all, view, {.slopes = two}); }, "gradients", "2", "sum"));
  const grape::BiasGradients one[] = {{.slopes = two}};
  EXPECT_TRUE(rejects([&] { grape::add_bias_vjp(all, view, {.parts = one}); }, "gradients.parts",
                      "1", "2"));
  const grape::BiasGradients wrong[] = {{.slopes = two}, {.slopes = three}};
  EXPECT_TRUE(rejects([&] { grape::add_bias_vjp(all, view, {.parts = wrong}); }, "gradients.slopes",
                      "3", "1"));
  EXPECT_TRUE(rejects([&] { grape::add_bias_vjp(bias(2, 3, 2), view, {.parts = one}); },
                      "gradients.parts", "1 parts", "no sum"));
  EXPECT_EQ(two, std::vector<double>(2, 5.0));
}

}  // namespace
