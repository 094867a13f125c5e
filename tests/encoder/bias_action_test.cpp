// SPDX-License-Identifier: Apache-2.0
#include "grape/encoder/bias_action.hpp"

#include <gtest/gtest.h>

#include "grape/apply/bias.hpp"
#include "support/errors.hpp"

namespace {

using grape::BiasAction;
using grape::Index;
using grape::ScoreTile;

// A user's bias: a number made of its own indices.
struct Digits {
  Index batches = 2;
  Index batch() const { return batches; }
  Index heads() const { return 3; }
  Index queries() const { return 20; }
  Index keys() const { return 1100; }
  void tile(const ScoreTile& w, float* out, Index row_stride) const {
    for (Index r = 0; r < w.queries; ++r) {
      for (Index c = 0; c < w.keys; ++c) {
        out[r * row_stride + c] = value(w.batch, w.head, w.query + r, w.key + c);
      }
    }
  }
  static float value(Index b, Index h, Index q, Index k) {
    return static_cast<float>(((b * 3 + h) * 20 + q) * 1100 + k);
  }
};
struct WithoutTile {
  Index batch() const { return 1; }
  Index heads() const { return 1; }
  Index queries() const { return 1; }
  Index keys() const { return 1; }
};
static_assert(grape::BiasSource<Digits, float> && !grape::BiasSource<Digits, double>);
static_assert(!grape::BiasSource<WithoutTile, float> && !grape::BiasSource<int, float>);
static_assert(!std::is_convertible_v<Digits, BiasAction<float>>);

TEST(BiasAction, OfAUsersSource) {
  const BiasAction<float> action{Digits{}};
  EXPECT_EQ(action.batch(), 2);
  EXPECT_EQ(action.heads(), 3);
  EXPECT_EQ(action.queries(), 20);
  EXPECT_EQ(action.keys(), 1100);
  EXPECT_EQ(action(1, 2, 19, 1099), Digits::value(1, 2, 19, 1099));
  std::vector<float> out(2 * 5, -1.0F);
  action.tile({1, 0, 3, 2, 7, 4}, out.data(), 5);
  EXPECT_EQ(out[6], Digits::value(1, 0, 4, 8));
  EXPECT_EQ(out[4], -1.0F);
}

TEST(BiasAction, TilesCoverScoresWithoutGapsOrRepeats) {
  // Six heads share three sets; 20 x 1100 needs several tiles with tails both ways.
  for (const Index batches : {1, 2}) {
    const BiasAction<float> action{Digits{batches}};
    std::vector<float> scores(2 * 6 * 20 * 1100, 0.0F);
    const auto view = grape::bhqk(scores.data(), 2, 6, 20, 1100);
    grape::add_bias(action, view);
    for (Index b = 0; b < 2; ++b) {
      for (Index h = 0; h < 6; ++h) {
        for (Index q = 0; q < 20; ++q) {
          for (Index k = 0; k < 1100; ++k) {
            ASSERT_EQ(view(b, h, q, k), Digits::value(batches == 1 ? 0 : b, h / 2, q, k));
          }
        }
      }
    }
  }
}

TEST(BiasAction, RejectsIndicesOutOfRange) {
  const BiasAction<float> action{Digits{}};
  EXPECT_TRUE(rejects([&] { action(2, 0, 0, 0); }, "batch", "2", "[0, 2)"));
  EXPECT_TRUE(rejects([&] { action(0, 3, 0, 0); }, "head", "3", "[0, 3)"));
  EXPECT_TRUE(rejects([&] { action(0, 0, -1, 0); }, "query", "-1", "[0, 20)"));
  EXPECT_TRUE(rejects([&] { action(0, 0, 0, 1100); }, "key", "1100", "[0, 1100)"));
}

TEST(BiasAction, ADefaultOneIsEmpty) {
  const BiasAction<double> none;
  EXPECT_EQ(none.queries(), 0);
  EXPECT_EQ(none.keys(), 0);
  EXPECT_EQ(none.batch(), 1);
  EXPECT_EQ(none.heads(), 1);
  EXPECT_TRUE(rejects([&] { none(0, 0, 0, 0); }, "query", "0", "[0, 0)"));
}

TEST(BiasAction, SourcesAreFoundByTypeWhereUnshared) {
  BiasAction<float> action{Digits{}};
  EXPECT_NE(action.unshared<Digits>(), nullptr);
  {
    const BiasAction<float> copy = action;
    EXPECT_EQ(action.unshared<Digits>(), nullptr);
    EXPECT_EQ(copy(1, 1, 1, 1), action(1, 1, 1, 1));
  }
  EXPECT_NE(action.unshared<Digits>(), nullptr);
  struct Other : Digits {};
  EXPECT_EQ(action.unshared<Other>(), nullptr);
  BiasAction<float> none;
  EXPECT_EQ(none.unshared<Digits>(), nullptr);
}

TEST(BiasAction, WithoutAGradientSaysSo) {
  const BiasAction<float> action{Digits{}};
  std::vector<float> d(2 * 3 * 20 * 1100);
  std::vector<double> slopes(3);
  EXPECT_TRUE(rejects(
      [&] {
        grape::add_bias_vjp(action, grape::bhqk(d.data(), 2, 3, 20, 1100), {.slopes = slopes});
      },
      "gradients.slopes", "3 entries", "no such gradient"));
}

}  // namespace
