// SPDX-License-Identifier: Apache-2.0
// What the additive encodings have in common, seen through add_bias: a bias is a penalty, 0 at the
// query itself and never above, and where only the query or the tokens between decide, a key
// further back is never penalised less.

#include <gtest/gtest.h>

#include <vector>

#include "grape/apply/bias.hpp"
#include "grape/encoder/sum_bias.hpp"
#include "grape/generator/alibi_slopes.hpp"
#include "grape/presets.hpp"
#include "support/random.hpp"
#include "support/strided.hpp"

namespace {

using grape::Gate;
using grape::Index;
using grape::Positions;

template <class T>
class PenaltiesOf : public testing::Test {};
TYPED_TEST_SUITE(PenaltiesOf, ElementTypes);

constexpr Index kBatch = 2, kHeads = 4, kSeq = 37, kDim = 6;

template <class T, class A>
void expect_penalties(const grape::BiasAction<A>& bias, bool monotone, const std::string& name) {
  SCOPED_TRACE(name);
  std::vector<T> data(kBatch * kHeads * kSeq * kSeq, T(0));
  const auto scores = grape::bhqk(data.data(), kBatch, kHeads, kSeq, kSeq);
  grape::add_bias(bias, scores);
  for (Index b = 0; b < kBatch; ++b) {
    for (Index h = 0; h < kHeads; ++h) {
      for (Index i = 0; i < kSeq; ++i) {
        EXPECT_EQ(static_cast<float>(scores(b, h, i, i)), 0);
        for (Index j = i; j-- > 0;) {
          const auto entry = static_cast<float>(scores(b, h, i, j));
          ASSERT_LE(entry, 0) << i << " " << j;
          if (!monotone) continue;
          ASSERT_LE(entry, static_cast<float>(scores(b, h, i, j + 1)));
        }
      }
    }
  }
}

TYPED_TEST(PenaltiesOf, EveryBias) {
  using T = TypeParam;
  Random random(81);
  const auto numbers = [&](Index count, double low, double high) {
    std::vector<T> out;
    for (const double x : random.uniforms(count, low, high)) {
      out.push_back(static_cast<T>(static_cast<grape::accumulation_t<T>>(x)));
    }
    return out;
  };
  const auto all = Positions::range(0, kSeq);
  const auto alibi = grape::ALiBi<T>(kHeads).at(all, all);
  expect_penalties<T>(alibi, true, "ALiBi");

  auto gates = numbers(kBatch * kSeq * kHeads, -2, 0);
  gates[17] = T(0);
  const auto fox = grape::FoX<T>(kHeads).at(grape::blh(gates.data(), kBatch, kSeq, kHeads));
  expect_penalties<T>(fox, true, "FoX");
  expect_penalties<T>(grape::sum(alibi, fox), true, "their sum");

  const auto q = numbers(kBatch * kSeq * kHeads * kDim, -3, 3);
  const auto k = numbers(kBatch * kSeq * kHeads * kDim, -3, 3);
  const auto q_view = grape::blhd(q.data(), kBatch, kSeq, kHeads, kDim);
  const auto k_view = grape::blhd(k.data(), kBatch, kSeq, kHeads, kDim);
  const std::vector<double> v = random.uniforms(kHeads * kDim, -1, 1);
  const std::vector<double> u = random.uniforms(kHeads * kDim, -1, 1);
  const std::vector<double> omega = random.uniforms(kHeads, 0.1, 1);
  const auto slopes = grape::alibi_slopes(kHeads);
  expect_penalties<T>(
      grape::GatedALiBi<T, Gate::query>(
          slopes, grape::GatedPath<Gate::query>({.query_weights = v, .omega = omega}))
          .at(q_view, all, all),
      true, "gated by the query");
  expect_penalties<T>(grape::GatedALiBi<T, Gate::key>(
                          slopes, grape::GatedPath<Gate::key>({.key_weights = u, .omega = omega}))
                          .at(k_view, all, all),
                      false, "gated by the key");
  expect_penalties<T>(grape::GatedALiBi<T, Gate::both>(
                          slopes, grape::GatedPath<Gate::both>(
                                      {.query_weights = v, .key_weights = u, .omega = omega}))
                          .at(q_view, k_view, all, all),
                      false, "gated by both");

  expect_penalties<T>(grape::PathIntegral<T>(kHeads).at(q_view), true, "GRAPE-AP");
  expect_penalties<T>(
      grape::PathIntegral<T>(kHeads, grape::PathIntegralPath<>::authors()).at(q_view), true,
      "GRAPE-AP of the authors");

  // Tokens along a line through a grid.
  std::vector<std::int64_t> grid;
  for (const Index step : {1, 3}) {
    for (Index t = 0; t < kSeq; ++t) grid.push_back(step * t);
  }
  const auto on_grid = Positions::axes(grid, 2, 1, kSeq);
  for (const auto& path : {grape::GridPath::distances({0.5, 2}), grape::GridPath::radial()}) {
    expect_penalties<T>(grape::GridALiBi<T>(slopes, path).at(on_grid, on_grid), true, "a grid");
  }
}

}  // namespace
