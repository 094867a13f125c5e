// SPDX-License-Identifier: Apache-2.0
#include "grape/encoder/linear_bias.hpp"

#include <gtest/gtest.h>

#include "grape/presets.hpp"
#include "support/errors.hpp"
#include "support/golden.hpp"
#include "support/random.hpp"
#include "support/reference.hpp"
#include "support/strided.hpp"

namespace {

using grape::Future;
using grape::Index;
using grape::Positions;

constexpr Future kFutures[] = {Future::mask, Future::zero, Future::symmetric};

template <class A>
class LinearBiasOf : public testing::Test {};
using Accumulators = testing::Types<float, double>;
TYPED_TEST_SUITE(LinearBiasOf, Accumulators);

// Every entry, one by one and as tiles.
template <class A, class QueryAt, class KeyAt>
void expect_bias(const grape::BiasAction<A>& bias, const std::vector<double>& slopes, Future future,
                 const QueryAt& query, const KeyAt& key) {
  constexpr double kUnit = Rounding<A>::unit;
  for (Index b = 0; b < bias.batch(); ++b) {
    for (Index h = 0; h < bias.heads(); ++h) {
      std::vector<A> tile(static_cast<std::size_t>(bias.queries() * bias.keys()));
      bias.tile({b, h, 0, bias.queries(), 0, bias.keys()}, tile.data(), bias.keys());
      for (Index i = 0; i < bias.queries(); ++i) {
        for (Index j = 0; j < bias.keys(); ++j) {
          const A got = bias(b, h, i, j);
          ASSERT_EQ(got, tile[static_cast<std::size_t>(i * bias.keys() + j)]);
          const std::int64_t distance = key(b, j) - query(b, i);
          const double slope = slopes[static_cast<std::size_t>(h)];
          if (distance > 0 && future == Future::mask) {
            ASSERT_EQ(got, -std::numeric_limits<A>::infinity());
            continue;
          }
          const auto want = static_cast<double>(reference::linear_bias(
              slope, distance,
              future == Future::symmetric ? -slope * static_cast<long double>(distance) : 0));
          // The slope, the difference and the product are rounded.
          ASSERT_NEAR(got, want, 3.01 * kUnit * std::fabs(want)) << h << " " << i << " " << j;
        }
      }
    }
  }
}

TYPED_TEST(LinearBiasOf, GoldenAlibi) {
  int entries = 0;
  for (const std::string& name : golden::families("alibi_bias")) {
    SCOPED_TRACE(name);
    const golden::Case c = golden::load(name);
    golden::Array want = c.outputs("bias");
    if (want.shape.size() == 3) want.shape.insert(want.shape.begin(), 1);
    ASSERT_EQ(want.shape.size(), 4U);
    const Index heads = want.shape[1], seq = want.shape[2];
    const auto bias = grape::ALiBi<TypeParam>(heads).at(Positions::range(0, seq),
                                                        Positions::range(0, seq), Future::zero);
    // The reference may work in float32, and its slopes are powers of a rounded ratio: up to as
    // many roundings as there are heads, beside ours.
    const double unit = c.dtype() == "float32" ? 0x1p-24 : Rounding<TypeParam>::unit;
    const double tolerance =
        (4 + static_cast<double>(heads)) * std::max(unit, Rounding<TypeParam>::unit);
    for (Index h = 0; h < heads; ++h) {
      for (Index i = 0; i < seq; ++i) {
        for (Index j = 0; j < seq; ++j, ++entries) {
          const double w = want.data[static_cast<std::size_t>((h * seq + i) * seq + j)];
          ASSERT_NEAR(bias(0, h, i, j), w, tolerance * std::fabs(w)) << h << " " << i << " " << j;
        }
      }
    }
  }
  EXPECT_GT(entries, 500);
}

TYPED_TEST(LinearBiasOf, RangesOfAnyTwoLengths) {
  for (const Future future : kFutures) {
    for (const Index heads : {1, 3, 8}) {
      const std::vector<double> slopes = grape::alibi_slopes(heads);
      const grape::ALiBi<TypeParam> alibi(heads);
      // Prefill, decode, a chunk behind a cache, queries before and after all keys.
      const std::int64_t starts[] = {0, 9, 5, -20, 40};
      const Index lengths[] = {7, 1, 4, 3, 2};
      for (int i = 0; i < 5; ++i) {
        const auto bias =
            alibi.at(Positions::range(starts[i], lengths[i]), Positions::range(0, 10), future);
        ASSERT_EQ(bias.batch(), 1);
        ASSERT_EQ(bias.heads(), heads);
        ASSERT_EQ(bias.queries(), lengths[i]);
        ASSERT_EQ(bias.keys(), 10);
        expect_bias(
            bias, slopes, future, [&](Index, Index t) { return starts[i] + t; },
            [](Index, Index t) { return std::int64_t{t}; });
      }
    }
  }
}

TYPED_TEST(LinearBiasOf, PositionsOfTheirOwnForEachBatchEntry) {
  Random random(61);
  const std::vector<double> slopes{0.3, -0.2, 0.0};  // any sign is legal
  const grape::ALiBi<TypeParam> alibi(slopes);
  const std::vector<std::int64_t> q = random.integers(15, -30, 30),
                                  k = random.integers(21, -30, 30);
  for (const Future future : kFutures) {
    const auto query = [&](Index b, Index t) { return q[static_cast<std::size_t>(b * 5 + t)]; };
    const auto key = [&](Index b, Index t) { return k[static_cast<std::size_t>(b * 7 + t)]; };
    const auto both =
        alibi.at(Positions::per_token(q, 3, 5), Positions::per_token(k, 3, 7), future);
    ASSERT_EQ(both.batch(), 3);
    expect_bias(both, slopes, future, query, key);
    const auto queries_alone =
        alibi.at(Positions::per_token(q, 3, 5), Positions::range(-3, 7), future);
    ASSERT_EQ(queries_alone.batch(), 3);
    expect_bias(queries_alone, slopes, future, query,
                [](Index, Index t) { return std::int64_t{t} - 3; });
    const auto keys_alone =
        alibi.at(Positions::range(-3, 5), Positions::per_token(k, 3, 7), future);
    ASSERT_EQ(keys_alone.batch(), 3);
    expect_bias(
        keys_alone, slopes, future, [](Index, Index t) { return std::int64_t{t} - 3; }, key);
    expect_bias(
        alibi.at(Positions::shared(q), Positions::shared(k), future), slopes, future,
        [&](Index, Index t) { return q[static_cast<std::size_t>(t)]; },
        [&](Index, Index t) { return k[static_cast<std::size_t>(t)]; });
  }
}

TYPED_TEST(LinearBiasOf, FarPositionsLoseNothing) {
  const std::vector<double> slopes{0.25};
  const grape::ALiBi<TypeParam> alibi(slopes);
  constexpr std::int64_t kFar = std::int64_t{1} << 61;
  for (const Future future : kFutures) {
    expect_bias(
        alibi.at(Positions::range(kFar, 3), Positions::range(kFar - 5, 9), future), slopes, future,
        [](Index, Index t) { return kFar + t; }, [](Index, Index t) { return kFar - 5 + t; });
    expect_bias(
        alibi.at(Positions::range(kFar, 3), Positions::range(-kFar, 9), future), slopes, future,
        [](Index, Index t) { return kFar + t; }, [](Index, Index t) { return -kFar + t; });
    // On both sides of what a float counts exactly.
    constexpr std::int64_t kExact = std::int64_t{1} << 23;
    for (const std::int64_t start : {kExact - 4, kExact, 2 * kExact - 4}) {
      expect_bias(
          alibi.at(Positions::range(start, 3), Positions::range(0, 9), future), slopes, future,
          [&](Index, Index t) { return start + t; },
          [](Index, Index t) { return std::int64_t{t}; });
      expect_bias(
          alibi.at(Positions::range(0, 3), Positions::range(start, 9), future), slopes, future,
          [](Index, Index t) { return std::int64_t{t}; },
          [&](Index, Index t) { return start + t; });
    }
  }
}

TYPED_TEST(LinearBiasOf, LastLegalPositionsDoNotOverflow) {
  const std::vector<double> slopes{0.25};
  const grape::ALiBi<TypeParam> alibi(slopes);
  constexpr std::int64_t kLast = (std::int64_t{1} << 62) - 1;
  const std::vector<std::int64_t> high{kLast}, low{-kLast};
  constexpr auto kDistance = static_cast<TypeParam>(0x1p63);  // rounded from 2^63 - 2
  EXPECT_EQ(alibi.at(Positions::shared(high), Positions::shared(low))(0, 0, 0, 0),
            TypeParam(-0.25) * kDistance);
  EXPECT_EQ(
      alibi.at(Positions::shared(low), Positions::shared(high), Future::symmetric)(0, 0, 0, 0),
      TypeParam(-0.25) * kDistance);
  EXPECT_EQ(alibi.at(Positions::range(kLast, 1), Positions::range(-kLast, 1))(0, 0, 0, 0),
            TypeParam(-0.25) * kDistance);
}

TYPED_TEST(LinearBiasOf, DependsOnDifferencesAlone) {
  const grape::ALiBi<TypeParam> alibi(6);
  const auto here = alibi.at(Positions::range(0, 5), Positions::range(0, 5));
  const auto there = alibi.at(Positions::range(1000000007, 5), Positions::range(1000000007, 5));
  for (Index h = 0; h < 6; ++h) {
    for (Index i = 0; i < 5; ++i) {
      for (Index j = 0; j < 5; ++j) EXPECT_EQ(here(0, h, i, j), there(0, h, i, j));
    }
  }
}

TEST(LinearBias, RejectsWhatItCannotUse) {
  const grape::ALiBi<float> alibi(2);
  const std::vector<std::int64_t> list(12);
  const std::vector<double> reals(12);
  const Positions good = Positions::range(0, 4);
  EXPECT_TRUE(rejects([&] { alibi.at(Positions::real(reals), good); }, "query_positions", "real",
                      "integer position"));
  EXPECT_TRUE(rejects([&] { alibi.at(good, Positions::real(reals)); }, "key_positions", "real",
                      "integer position"));
  EXPECT_TRUE(rejects([&] { alibi.at(good, Positions::axes(list, 3, 1, 4)); }, "key_positions",
                      "multi-axis", "one integer position"));
  EXPECT_TRUE(
      rejects([&] { alibi.at(Positions::per_token(list, 3, 4), Positions::per_token(list, 2, 6)); },
              "key_positions", "batch 2", "batch 3"));
  const std::vector<std::int64_t> far{0, std::int64_t{1} << 62};
  EXPECT_TRUE(rejects([&] { alibi.at(Positions::shared(far), good); }, "query_positions",
                      std::to_string(far[1]), "2^62"));
  EXPECT_TRUE(rejects([&] { alibi.at(good, Positions::range(-far[1], 1)); }, "key_positions",
                      std::to_string(-far[1]), "2^62"));
  // What was prepared before stays.
  auto action = alibi.at(good, good);
  EXPECT_TRUE(rejects([&] { alibi.at(Positions::range(9, 2), Positions::real(reals), action); },
                      "key_positions", "real", "integer"));
  EXPECT_EQ(action.queries(), 4);
  EXPECT_EQ(action(0, 1, 3, 1), -2 * 0x1p-8F);
}

}  // namespace
