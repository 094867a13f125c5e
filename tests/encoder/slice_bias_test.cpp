// SPDX-License-Identifier: Apache-2.0
#include "grape/encoder/slice_bias.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "grape/apply/bias.hpp"
#include "grape/presets.hpp"
#include "support/errors.hpp"
#include "support/random.hpp"
#include "support/strided.hpp"

namespace {

using grape::BiasAction;
using grape::Index;
using grape::Positions;
using grape::ScoreRange;

template <class A>
class SliceBiasOf : public testing::Test {};
using Accumulators = testing::Types<float, double>;
TYPED_TEST_SUITE(SliceBiasOf, Accumulators);

constexpr Index kSeq = 150;

// ALiBi shared by the batch, FoX and a path integral of two batch entries, and all of them
// together.
template <class A>
std::vector<BiasAction<A>> biases(Random& random) {
  const std::vector<double> gates = random.uniforms(2 * kSeq * 4, -1, 0);
  const std::vector<double> features = random.uniforms(2 * kSeq * 2 * 4, -1, 1);
  const auto alibi = grape::ALiBi<A>(2).at(Positions::range(0, kSeq), Positions::range(0, kSeq));
  const auto fox = grape::FoX<A>(4).at(grape::blh(gates.data(), 2, kSeq, 4));
  const auto ap = grape::PathIntegral<A>(2).at(grape::blhd(features.data(), 2, kSeq, 2, 4));
  return {alibi, fox, ap, grape::sum(alibi, fox, ap)};
}

// Entry by entry, added from the last tile to the first, and bounded: that part of the whole.
TYPED_TEST(SliceBiasOf, IsThatPartOfTheWhole) {
  using A = TypeParam;
  Random random(631);
  for (const BiasAction<A>& whole : biases<A>(random)) {
    for (const ScoreRange range :
         {ScoreRange{100, 50, 0, 40}, ScoreRange{75, 70, 64, 33}, ScoreRange{0, 150, 0, 150},
          ScoreRange{10, 5, 90, 60}, ScoreRange{3, 0, 5, 0}}) {
      const BiasAction<A> part = grape::slice(whole, range);
      ASSERT_EQ(part.batch(), whole.batch());
      ASSERT_EQ(part.heads(), whole.heads());
      ASSERT_EQ(part.queries(), range.queries);
      ASSERT_EQ(part.keys(), range.keys);
      std::vector<A> scores(static_cast<std::size_t>(2 * 4 * range.queries * range.keys), A(0));
      grape::add_bias(part, grape::bhqk(scores.data(), 2, 4, range.queries, range.keys));
      std::size_t at = 0;
      for (Index b = 0; b < 2; ++b) {
        for (Index h = 0; h < 4; ++h) {
          const Index entry = whole.batch() == 1 ? 0 : b, set = h * whole.heads() / 4;
          for (Index i = 0; i < range.queries; ++i) {
            for (Index j = 0; j < range.keys; ++j, ++at) {
              const A want = whole(entry, set, range.query + i, range.key + j);
              ASSERT_TRUE(same_bits(part(entry, set, i, j), want));
              if (want == -std::numeric_limits<A>::infinity()) {
                ASSERT_EQ(scores[at], want);
                continue;
              }
              // Numbers of one sign: a rounding of each part, and sums of kSeq edges in double.
              const double bound = 8 * Rounding<A>::unit + kSeq * Rounding<double>::unit;
              ASSERT_NEAR(scores[at], want, bound * (1 + std::abs(want)));
              ASSERT_LE(want, part.upper_bound({entry, set, i, 1, j, 1}));
            }
          }
        }
      }
    }
  }
}

// The gradients of the shards of the keys add up to those of the whole.
TYPED_TEST(SliceBiasOf, GradientsOfShardsAddUp) {
  using A = TypeParam;
  Random random(632);
  const BiasAction<A> fox = biases<A>(random)[1];
  std::vector<A> d(2 * 4 * kSeq * kSeq);
  for (A& x : d) x = static_cast<A>(random.uniform(-1, 1));
  const auto d_scores = [&](Index key, Index keys) {
    return grape::ScoreView<const A>(d.data() + key, {2, 4, kSeq, keys},
                                     {4 * kSeq * kSeq, kSeq * kSeq, kSeq, 1});
  };
  const auto sizes = fox.gradient_sizes();
  std::vector<double> want(static_cast<std::size_t>(sizes.log_forget)), got(want.size());
  std::vector<double> want_slopes(4), got_slopes(4);
  grape::add_bias_vjp(fox, d_scores(0, kSeq), {.slopes = want_slopes, .log_forget = want});
  for (const ScoreRange range : {ScoreRange{0, kSeq, 0, 61}, ScoreRange{0, kSeq, 61, 89}}) {
    grape::add_bias_vjp(grape::slice(fox, range), d_scores(range.key, range.keys),
                        {.slopes = got_slopes, .log_forget = got});
  }
  const double bound = Rounding<double>::unit * kSeq * kSeq * kSeq;  // gates of 1, so many entries
  for (std::size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(got[i], want[i], bound);
  for (std::size_t i = 0; i < 4; ++i) ASSERT_NEAR(got_slopes[i], want_slopes[i], kSeq * bound);
}

TEST(SliceBiasErrors, NameWhatDoesNotFit) {
  Random random(633);
  const auto all = biases<float>(random);
  EXPECT_TRUE(rejects(
      [&] {
        grape::slice(all[0], {100, 51, 0, 1});
      },
      "query", "[100, 100 + 51)", "the 150"));
  EXPECT_TRUE(rejects([&] { grape::slice(all[2], {-1, 3, 0, 1}); }, "query", "-1", "150"));
  EXPECT_TRUE(rejects([&] { grape::slice(all[3], {0, 1, 150, 1}); }, "key", "150", "the 150"));
  EXPECT_TRUE(rejects([&] { grape::slice(all[1], {0, 1, 0, -1}); }, "key", "-1", "the 150"));
  // Edges behind a slice are no sum of gradients within it.
  EXPECT_EQ(grape::slice(all[2], {0, 1, 0, 1}).gradient_sizes().features, 0);
}

}  // namespace
