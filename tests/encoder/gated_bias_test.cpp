// SPDX-License-Identifier: Apache-2.0
#include "grape/encoder/gated_bias.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "grape/apply/bias.hpp"
#include "grape/presets.hpp"
#include "support/errors.hpp"
#include "support/executors.hpp"
#include "support/golden.hpp"
#include "support/random.hpp"
#include "support/strided.hpp"

namespace {

using grape::Future;
using grape::Gate;
using grape::Index;
using grape::Positions;

// A problem in double: q [batch, queries, heads, dim], k [batch, keys, key_heads, dim], parameters
// of `sets` sets. Queries are the last of the keys.
struct Problem {
  Index batch = 2, queries = 5, keys = 9, heads = 6, key_heads = 3, sets = 3, dim = 4;
  bool softplus_omega = true, normalized = true;
  std::vector<double> q, k, v, u, omega, slopes;

  explicit Problem(Random& random) {
    q = random.uniforms(batch * queries * heads * dim, -2, 2);
    k = random.uniforms(batch * keys * key_heads * dim, -2, 2);
    v = random.uniforms(sets * dim, -2, 2);
    u = random.uniforms(sets * dim, -2, 2);
    omega = random.uniforms(sets, -1, 1);
    slopes = random.uniforms(sets, 0.1, 1);
  }

  template <Gate gate>
  grape::GatedPath<gate> path() const {
    return grape::GatedPath<gate>({.query_weights = gate == Gate::key ? std::vector<double>{} : v,
                                   .key_weights = gate == Gate::query ? std::vector<double>{} : u,
                                   .omega = omega,
                                   .softplus_omega = softplus_omega,
                                   .normalized = normalized});
  }
  template <class T, Gate gate>
  grape::GatedALiBi<T, gate> encoder() const {
    return grape::GatedALiBi<T, gate>(slopes, path<gate>());
  }
  template <class T, Gate gate>
  grape::BiasAction<grape::accumulation_t<T>> bias(Future future) const {
    const auto encoder = this->encoder<T, gate>();
    const auto qs = grape::blhd(q.data(), batch, queries, heads, dim);
    const auto ks = grape::blhd(k.data(), batch, keys, key_heads, dim);
    const auto at = Positions::range(keys - queries, queries), all = Positions::range(0, keys);
    if constexpr (gate == Gate::both) return encoder.at(qs, ks, at, all, future);
    if constexpr (gate == Gate::query) return encoder.at(qs, at, all, future);
    if constexpr (gate == Gate::key) return encoder.at(ks, at, all, future);
  }

  long double gate_of(const std::vector<double>& w, const std::vector<double>& x, Index set,
                      Index row) const {
    long double sum = 0, length = 0;
    for (Index i = 0; i < dim; ++i) {
      const double weight = w[static_cast<std::size_t>(set * dim + i)];
      sum += static_cast<long double>(weight) * x[static_cast<std::size_t>(row * dim + i)];
      length += static_cast<long double>(weight) * weight;
    }
    if (normalized) sum /= std::max(std::sqrt(length), 1e-6L);
    return std::log1p(std::exp(sum / std::sqrt(static_cast<long double>(dim))));
  }
  // Equation 4.6 of head h among the heads of the bias.
  template <Gate gate>
  long double entry(Index b, Index h, Index of, Index i, Index j, Future future) const {
    Index n = j - (keys - queries + i);
    if (n > 0) n = future == Future::symmetric ? -n : 0;
    const Index set = h * sets / of;
    long double gates = 0;
    if (gate != Gate::key) gates += gate_of(v, q, set, (b * queries + i) * heads + h * heads / of);
    if (gate != Gate::query) {
      gates += gate_of(u, k, set, (b * keys + j) * key_heads + h * key_heads / of);
    }
    const long double raw = omega[static_cast<std::size_t>(set)];
    const long double factor = softplus_omega ? std::log1p(std::exp(raw)) : raw;
    return n * factor * slopes[static_cast<std::size_t>(set)] * gates;
  }
};

template <class A>
class GatedBiasOf : public testing::Test {};
using Accumulators = testing::Types<float, double>;
TYPED_TEST_SUITE(GatedBiasOf, Accumulators);

template <class A, Gate gate>
void expect_gated(Random& random) {
  for (const Future future : {Future::mask, Future::zero, Future::symmetric}) {
    for (const bool authors : {true, false}) {
      Problem p(random);
      p.softplus_omega = p.normalized = authors;
      const auto bias = p.bias<A, gate>(future);
      const Index of = gate == Gate::key ? p.key_heads : p.heads;
      ASSERT_EQ(bias.heads(), of);
      ASSERT_EQ(bias.batch(), p.batch);
      std::vector<A> scores(static_cast<std::size_t>(p.batch * 6 * p.queries * p.keys), A(0.5));
      grape::add_bias(bias, grape::bhqk(scores.data(), p.batch, 6, p.queries, p.keys));
      std::size_t n = 0;
      for (Index b = 0; b < p.batch; ++b) {
        for (Index h = 0; h < 6; ++h) {
          for (Index i = 0; i < p.queries; ++i) {
            for (Index j = 0; j < p.keys; ++j, ++n) {
              const A got = bias(b, h * of / 6, i, j);
              if (j > p.keys - p.queries + i && future == Future::mask) {
                ASSERT_EQ(got, -std::numeric_limits<A>::infinity());
                ASSERT_EQ(scores[n], got);
                continue;
              }
              const auto want = static_cast<double>(p.entry<gate>(b, h * of / 6, of, i, j, future));
              // Factor, two gates, their sum and two products are rounded; gates are made of four
              // products in double. What add_bias gives is rounded once more, and its sum.
              const double unit =
                  (6.1 + 24 * (std::same_as<A, double> ? 1 : 0)) * Rounding<A>::unit;
              ASSERT_NEAR(got, want, unit * std::fabs(want)) << b << " " << h << " " << i << j;
              ASSERT_NEAR(scores[n], 0.5 + want,
                          unit * std::fabs(want) + 2 * Rounding<A>::unit * (0.5 + std::fabs(want)));
            }
          }
        }
      }
    }
  }
}

TYPED_TEST(GatedBiasOf, IsEquation46) {
  Random random(501);
  expect_gated<TypeParam, Gate::both>(random);
  expect_gated<TypeParam, Gate::query>(random);
  expect_gated<TypeParam, Gate::key>(random);
}

// The golden cases: outputs and gradients of q, k, u, v, omega.
template <Gate gate>
void expect_golden(const std::string& family, bool paper) {
  for (const std::string& name : golden::families(family)) {
    SCOPED_TRACE(name);
    const golden::Case c = golden::load(name);
    const bool more = c.has_input("w_bias");
    const golden::Array w = c.inputs(more ? "w_bias" : "w"), want = c.outputs("bias");
    const char *query = more ? "gate_v" : "v", *key = more ? "gate_u" : "u";
    const Index batch = want.shape[0], heads = want.shape[1], seq = want.shape[2];
    const auto sets = static_cast<std::size_t>(heads);
    grape::GateParameters parameters{.omega = c.inputs("omega").data,
                                     .softplus_omega = !paper,
                                     .normalized = !paper && c.config<bool>("l2_norm")};
    if (gate != Gate::key) parameters.query_weights = c.inputs(query).data;
    if (gate != Gate::query) parameters.key_weights = c.inputs(key).data;
    const grape::GatedALiBi<double, gate> encoder(
        paper ? std::vector<double>(sets, 1.0) : c.inputs("slopes").data,
        grape::GatedPath<gate>(parameters));
    const Index dim = encoder.path().dim();
    const auto input = [&](const char* side) {
      return c.has_input(side)
                 ? c.inputs(side).data
                 : std::vector<double>(static_cast<std::size_t>(batch * seq * heads * dim));
    };
    const auto q = input("q"), k = input("k");
    const auto qs = grape::blhd(q.data(), batch, seq, heads, dim);
    const auto ks = grape::blhd(k.data(), batch, seq, heads, dim);
    const auto all = Positions::range(0, seq);
    grape::BiasAction<double> bias;
    if constexpr (gate == Gate::both) encoder.at(qs, ks, all, all, Future::zero, bias);
    if constexpr (gate == Gate::query) encoder.at(qs, all, all, Future::zero, bias);
    if constexpr (gate == Gate::key) encoder.at(ks, all, all, Future::zero, bias);
    // The first set computes in float32.
    const double unit = more ? 0x1p-53 : 0x1p-24;
    std::vector<double> got(want.data.size(), 0.0);
    grape::add_bias(bias, grape::bhqk(got.data(), batch, heads, seq, seq));
    double size = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
      ASSERT_NEAR(got[i], want.data[i], 40 * unit * std::fabs(want.data[i])) << i;
      size += std::fabs(w.data[i]);
    }
    std::vector<double> d_factors(sets, 0.0), d_a, d_c;
    const auto count = static_cast<std::size_t>(batch * seq * heads);
    if (gate != Gate::key) d_a.assign(count, 0.0);
    if (gate != Gate::query) d_c.assign(count, 0.0);
    grape::add_bias_vjp(bias, grape::bhqk(w.data.data(), batch, heads, seq, seq),
                        {.slopes = d_factors, .query_gates = d_a, .key_gates = d_c});
    std::vector<double> d_omega(sets, 0.0), d_u(sets * static_cast<std::size_t>(dim), 0.0),
        d_v = d_u;
    std::vector<double> d_q(q.size(), 0.0), d_k(k.size(), 0.0);
    grape::GatedGradients gradients{.omega = d_omega, .query_weights = d_v, .key_weights = d_u};
    grape::apply_gated_slope_vjp(encoder, d_factors, gradients);
    // Sums of at most `size` times distances below `seq`, factors and inputs of a few.
    const double tolerance = 20 * unit * size * static_cast<double>(seq);
    const auto expect = [&](const char* of, const std::vector<double>& mine) {
      const golden::Array theirs = c.gradients(of);
      ASSERT_EQ(theirs.data.size(), mine.size());
      double largest = 0;
      for (std::size_t i = 0; i < mine.size(); ++i) {
        ASSERT_NEAR(mine[i], theirs.data[i], tolerance) << of << " " << i;
        largest = std::max(largest, std::fabs(theirs.data[i]));
      }
      ASSERT_GT(largest, 20 * tolerance);
    };
    expect("omega", d_omega);
    if constexpr (gate != Gate::key) {
      grape::apply_query_gate_vjp(encoder, qs, d_a, grape::blhd(d_q.data(), batch, seq, heads, dim),
                                  gradients);
      expect("q", d_q);
      expect(query, d_v);
    }
    if constexpr (gate != Gate::query) {
      grape::apply_key_gate_vjp(encoder, ks, d_c, grape::blhd(d_k.data(), batch, seq, heads, dim),
                                gradients);
      expect("k", d_k);
      expect(key, d_u);
    }
  }
}

TEST(GatedBias, Golden) {
  expect_golden<Gate::query>("grape_a_q", false);
  expect_golden<Gate::key>("grape_a_k", false);
  expect_golden<Gate::both>("grape_a_qk", false);
  expect_golden<Gate::both>("grape_a_qk_paper", true);
}

TEST(GatedBias, GradientsAreFiniteDifferences) {
  Random random(502);
  Problem p(random);
  const Index scores = p.batch * p.heads * p.queries * p.keys;
  const std::vector<double> w = random.uniforms(scores, -1, 1);
  const auto loss = [&](const Problem& at) {
    std::vector<double> x(w.size(), 0.0);
    grape::add_bias(at.bias<double, Gate::both>(Future::symmetric),
                    grape::bhqk(x.data(), p.batch, p.heads, p.queries, p.keys));
    double sum = 0;
    for (std::size_t i = 0; i < x.size(); ++i) sum += w[i] * x[i];
    return sum;
  };
  const auto encoder = p.encoder<double, Gate::both>();
  const auto bias = p.bias<double, Gate::both>(Future::symmetric);
  std::vector<double> d_f(6, 0.0), d_a(static_cast<std::size_t>(p.batch * p.queries * 6), 0.0),
      d_c(static_cast<std::size_t>(p.batch * p.keys * 6), 0.0);
  const grape::BiasGradients wanted{.slopes = d_f, .query_gates = d_a, .key_gates = d_c};
  grape::add_bias_vjp(bias, grape::bhqk(w.data(), p.batch, 6, p.queries, p.keys), wanted);
  auto again = d_a;
  std::fill(again.begin(), again.end(), 0.0);
  grape::add_bias_vjp(bias, grape::bhqk(w.data(), p.batch, 6, p.queries, p.keys),
                      {.query_gates = again}, Threads{});
  EXPECT_TRUE(same_bits(again, d_a));
  // What is there already stays in the sum.
  std::vector<double> d_slopes(3, 1.0), d_omega(3, 1.0), d_v(12, 1.0), d_u(12, 1.0);
  std::vector<double> d_q(p.q.size(), 1.0), d_k(p.k.size(), 1.0);
  const grape::GatedGradients gradients{d_slopes, d_omega, d_v, d_u};
  grape::apply_gated_slope_vjp(encoder, d_f, gradients);
  grape::apply_query_gate_vjp(encoder, grape::blhd(p.q.data(), 2, 5, 6, 4), d_a,
                              grape::blhd(d_q.data(), 2, 5, 6, 4), gradients);
  grape::apply_key_gate_vjp(encoder, grape::blhd(p.k.data(), 2, 9, 3, 4), d_c,
                            grape::blhd(d_k.data(), 2, 9, 3, 4), gradients);
  const auto expect = [&](std::vector<double> Problem::*list, const std::vector<double>& got) {
    for (std::size_t i = 0; i < got.size(); ++i) {
      constexpr double kStep = 1e-5;
      Problem up = p, down = p;
      (up.*list)[i] += kStep;
      (down.*list)[i] -= kStep;
      // Rounding of some 500 terms of at most 30, and kStep^2 of a third derivative as large.
      EXPECT_NEAR(got[i] - 1, (loss(up) - loss(down)) / (2 * kStep), 500 * 30 * 1e-10) << i;
    }
  };
  expect(&Problem::slopes, d_slopes);
  expect(&Problem::omega, d_omega);
  expect(&Problem::v, d_v);
  expect(&Problem::u, d_u);
  expect(&Problem::q, d_q);
  expect(&Problem::k, d_k);
}

TYPED_TEST(GatedBiasOf, TilesAddWhatTheyWrite) {
  using A = TypeParam;
  Random random(503);
  constexpr Index kQueries = 30, kKeys = 100;
  const auto a = [&] {
    std::vector<A> out;
    for (Index i = 0; i < 2 * kKeys; ++i) out.push_back(static_cast<A>(random.uniform(0, 2)));
    return out;
  }();
  const std::vector<double> factors{0.3, 1.5};
  const auto list = random.integers(kKeys, -50, 50);
  for (const Future future : {Future::mask, Future::zero, Future::symmetric}) {
    for (const int kind : {0, 1, 2}) {
      const auto keys = kind == 0   ? Positions::range(3, kKeys)
                        : kind == 1 ? Positions::shared(list)
                                    : Positions::range(std::int64_t{1} << 40, kKeys);
      const grape::GateValues<A> gates{grape::blh(a.data(), 1, kQueries, 2),
                                       grape::blh(a.data(), 1, kKeys, 2)};
      grape::GatedBias<A> source;
      const auto queries = Positions::range(50, kQueries);
      source.assign({factors, gates, queries, keys, future});
      const grape::BiasAction<A> bias(std::move(source));
      for (int trial = 0; trial < 60; ++trial) {
        const Index q = random.integer(0, kQueries - 1), k = random.integer(0, kKeys - 1);
        const Index rows = random.integer(0, kQueries - q), cols = random.integer(0, kKeys - k);
        const grape::ScoreTile where{0, trial % 2, q, rows, k, cols};
        std::vector<A> tile(static_cast<std::size_t>(rows * (cols + 1)), A(7)), sum = tile;
        std::vector<double> carry(static_cast<std::size_t>(rows), 0.0);
        bias.tile(where, tile.data(), cols + 1);
        bias.add_tile(where, sum.data(), cols + 1, carry.data());
        const A bound = bias.upper_bound(where);
        for (Index r = 0; r < rows; ++r) {
          for (Index c = 0; c <= cols; ++c) {
            const A x = tile[static_cast<std::size_t>(r * (cols + 1) + c)];
            const A y = sum[static_cast<std::size_t>(r * (cols + 1) + c)];
            if (c == cols) {
              ASSERT_TRUE(x == 7 && y == 7);
              continue;
            }
            ASSERT_LE(x, bound);
            if (x == -std::numeric_limits<A>::infinity()) {
              ASSERT_EQ(y, x);
            } else {
              ASSERT_NEAR(y, 7 + x, 2 * Rounding<A>::unit * (7 + 2 * std::fabs(x)));
            }
          }
        }
      }
    }
  }
}

TYPED_TEST(GatedBiasOf, TokenByTokenIsAllAtOnceAndDraftsLeaveNoTrace) {
  using A = TypeParam;
  Random random(504);
  Problem p(random);
  constexpr Index kSeq = 20;
  const auto q = random.uniforms(2 * kSeq * 6 * 4, -1, 1),
             k = random.uniforms(2 * kSeq * 3 * 4, -1, 1);
  const auto part = [](const std::vector<double>& x, Index heads, Index first, Index count) {
    return grape::TensorView<const double>(x.data() + first * heads * 4, {2, count, heads, 4},
                                           {kSeq * heads * 4, heads * 4, 4, 1});
  };
  const auto both = p.template encoder<A, Gate::both>();
  const auto key = p.template encoder<A, Gate::key>();
  const auto query = p.template encoder<A, Gate::query>();
  grape::BiasAction<A> b, kb, qb;
  const auto same = [](const grape::BiasAction<A>& x, const grape::BiasAction<A>& y) {
    ASSERT_EQ(x.queries(), y.queries());
    ASSERT_EQ(x.keys(), y.keys());
    for (Index n = 0; n < 2; ++n) {
      for (Index h = 0; h < x.heads(); ++h) {
        for (Index i = 0; i < x.queries(); ++i) {
          for (Index j = 0; j < x.keys(); ++j) ASSERT_TRUE(same_bits(x(n, h, i, j), y(n, h, i, j)));
        }
      }
    }
  };
  for (Index past = 0; past < kSeq; past += 2) {
    const auto now = Positions::range(past, 2), all = Positions::range(0, past + 2);
    const auto copy = b;
    both.append(part(q, 6, 0, 3), part(k, 3, 0, 3), Positions::range(past, 3), b);
    ASSERT_EQ(copy.keys(), past);
    b.truncate(past);
    ASSERT_EQ(b.queries(), 0);
    both.append(part(q, 6, past, 2), part(k, 3, past, 2), now, b);
    same(b, both.at(part(q, 6, past, 2), part(k, 3, 0, past + 2), now, all));
    key.append(part(k, 3, past, 2), now, kb);
    same(kb, key.at(part(k, 3, 0, past + 2), now, all));
    query.append(part(q, 6, past, 2), now, qb);
    same(qb, query.at(part(q, 6, past, 2), now, all));
  }
}

TEST(GatedBias, IsNeverAboveZeroAndNanStaysInItsRow) {
  Random random(505);
  Problem p(random);
  p.q[3] = std::numeric_limits<double>::quiet_NaN();  // query 0, head 0, batch 0
  const auto bias = p.bias<float, Gate::both>(Future::mask);
  EXPECT_TRUE(std::isnan(bias(0, 0, 0, 1)));
  EXPECT_EQ(bias.upper_bound({0, 0, 0, 2, 0, 3}), std::numeric_limits<float>::infinity());
  EXPECT_FALSE(std::isnan(bias(0, 0, 1, 1)) || std::isnan(bias(0, 1, 0, 1)));
  for (Index i = 1; i < 5; ++i) {
    for (Index j = 0; j < 9; ++j) EXPECT_LE(bias(0, 0, i, j), 0);
  }
}

TEST(GatedBias, ParameterGradientsNeedTheirSizes) {
  const grape::GatedPath<Gate::query> path({.query_weights = {1, 2, 3, 4}, .omega = {0.5, 0.25}});
  std::vector<double> two(2), one(1), four(4);
  EXPECT_TRUE(rejects([&] { path.omega_vjp(one, two); }, "d_effective", "1 entries", "2"));
  EXPECT_TRUE(rejects([&] { path.omega_vjp(two, one); }, "d_omega", "1 entries", "2"));
  EXPECT_TRUE(rejects([&] { path.query_weights_vjp(two, four); }, "d_effective", "2", "4"));
  EXPECT_TRUE(rejects([&] { path.query_weights_vjp(four, two); }, "d_weights", "2", "4"));
  EXPECT_TRUE(rejects([&] { path.key_weights_vjp(four, four); }, "d_effective", "4", "0"));
}

TEST(GatedBias, AppendsToItsOwnKindAlone) {
  Random random(507);
  const Problem p(random);
  const auto both = p.encoder<float, Gate::both>();
  const auto query = p.encoder<float, Gate::query>();
  const std::vector<float> x(2 * 3 * 6 * 4, 1.0F);
  const auto q = grape::blhd(x.data(), 2, 3, 6, 4), k = grape::blhd(x.data(), 2, 3, 3, 4);
  const auto three = Positions::range(0, 3);
  grape::BiasAction<float> action;
  both.append(q, k, three, action);
  EXPECT_TRUE(rejects([&] { query.append(q, three, action); }, "gates", "other sides", "began"));
  action.truncate(0);
  // Nothing is held, but the gates' batch stands.
  const std::vector<std::int64_t> list(9, 1);
  EXPECT_TRUE(rejects([&] { both.append(q, k, Positions::per_token(list, 3, 3), action); },
                      "positions", "batch 3", "batch 2"));
  both.append(q, k, Positions::per_token(std::span(list).first(6), 2, 3), action);
  EXPECT_EQ(action(1, 5, 0, 2), 0.0F);
}

TEST(GatedBias, AnEmptyBatchHasNoEntries) {
  Random random(509);
  const Problem p(random);
  const std::vector<float> x(3 * 6 * 4, 1.0F);
  const auto q = grape::blhd(x.data(), 0, 3, 6, 4), k = grape::blhd(x.data(), 0, 3, 3, 4);
  const auto three = Positions::range(0, 3);
  for (const auto& bias : {p.encoder<float, Gate::both>().at(q, k, three, three),
                           p.encoder<float, Gate::query>().at(q, three, three),
                           p.encoder<float, Gate::key>().at(k, three, three)}) {
    EXPECT_EQ(bias.batch(), 0);
    std::vector<float> scores(6 * 9);
    grape::add_bias(bias, grape::bhqk(scores.data(), 0, 6, 3, 3));
    EXPECT_TRUE(rejects([&] { grape::add_bias(bias, grape::bhqk(scores.data(), 1, 6, 3, 3)); },
                        "scores batch", "1", "0"));
  }
}

TEST(GatedBias, GateGradientsTakeNoTokensAndNoSharedMemory) {
  Random random(508);
  const Problem p(random);
  const auto gated = p.encoder<double, Gate::both>();
  std::vector<double> weights(12, 1.0), d(6, 1.0);
  std::vector<double> x(2 * 3 * 4, 1.0);
  const auto none = grape::blhd(x.data(), 1, 0, 3, 4);
  grape::apply_query_gate_vjp(gated, none, {}, none, {.query_weights = weights});
  grape::apply_key_gate_vjp(gated, none, {}, none, {.key_weights = weights});
  for (const double w : weights) EXPECT_EQ(w, 1.0);
  EXPECT_TRUE(rejects([&] { grape::apply_query_gate_vjp(gated, none, d, none, {}); }, "d_gates",
                      "6", "multiple of 0"));
  const auto some = grape::blhd(x.data(), 1, 2, 3, 4);
  EXPECT_TRUE(rejects([&] { grape::apply_query_gate_vjp(gated, some, d, some, {}); }, "d_q",
                      "elements of q", "own"));
  EXPECT_TRUE(rejects([&] { grape::apply_key_gate_vjp(gated, some, d, some, {}); }, "d_k",
                      "elements of k", "own"));
}

TEST(GatedBias, RejectsWhatDoesNotFit) {
  {
    const grape::GatedALiBi<float, Gate::query> huge(
        std::vector<double>{1e30},
        grape::GatedPath<Gate::query>({.query_weights = {1, 2}, .omega = {1e30}}));
    const std::vector<float> one{1, 1};
    EXPECT_TRUE(rejects(
        [&] {
          huge.at(grape::blhd(one.data(), 1, 1, 1, 2), Positions::range(0, 1),
                  Positions::range(0, 1));
        },
        "factors[0]", "e+", "finite"));  // of which each is finite as a float, the product is not
    const grape::GateValues<float> no_heads{grape::blh(one.data(), 1, 1, 0)};
    grape::GatedBias<float> source;
    const std::vector<double> factor{1.0};
    EXPECT_TRUE(rejects(
        [&] {
          source.assign({factor, no_heads, Positions::range(0, 1), Positions::range(0, 1)});
        },
        "query gates heads", "0", "1"));
  }
  Random random(506);
  const Problem p(random);
  const auto gated = p.encoder<float, Gate::both>();
  const std::vector<float> x(1000, 1.0F);
  const auto view = [&](Index batch, Index seq, Index heads, Index dim) {
    return grape::blhd(x.data(), batch, seq, heads, dim);
  };
  const auto two = Positions::range(0, 2), three = Positions::range(0, 3);
  EXPECT_TRUE(rejects([&] { gated.at(view(1, 2, 3, 5), view(1, 3, 3, 4), two, three); }, "q dim",
                      "5", "head_dim 4"));
  EXPECT_TRUE(rejects([&] { gated.at(view(1, 2, 3, 4), view(1, 3, 3, 5), two, three); }, "k dim",
                      "5", "head_dim 4"));
  EXPECT_TRUE(rejects([&] { gated.at(view(1, 2, 4, 4), view(1, 3, 3, 4), two, three); }, "q",
                      "4 heads", "3 parameter sets"));
  EXPECT_TRUE(rejects([&] { gated.at(view(1, 3, 3, 4), view(1, 3, 3, 4), two, three); },
                      "query gates seq", "3", "2 positions"));
  EXPECT_TRUE(rejects([&] { gated.at(view(1, 2, 3, 4), view(2, 3, 3, 4), two, three); },
                      "key gates batch", "2", "batch 1"));
  EXPECT_TRUE(rejects([&] { gated.at(view(1, 2, 6, 4), view(1, 3, 9, 4), two, three); },
                      "key gates heads", "9", "6"));
  using Path = grape::GatedPath<Gate::both>;
  EXPECT_TRUE(
      rejects([&] { Path({.query_weights = {1}, .key_weights = {1}}); }, "omega", "empty", "one"));
  EXPECT_TRUE(rejects([&] { Path({.query_weights = {1}, .omega = {1}}); }, "key_weights",
                      "0 numbers", "head_dim"));
  EXPECT_TRUE(rejects(
      [&] {
        Path({.query_weights = {1}, .key_weights = {1, 2}, .omega = {1}});
      },
      "key_weights", "2", "1"));
  EXPECT_TRUE(rejects([&] { Path({.query_weights = {1}, .key_weights = {NAN}, .omega = {1}}); },
                      "key_weights[0]", "nan", "finite"));
  EXPECT_TRUE(rejects(
      [&] {
        grape::GatedPath<Gate::key>({.query_weights = {1}, .key_weights = {1}, .omega = {1}});
      },
      "query_weights", "1 numbers", "none"));
  const grape::GatedALiBi<float, Gate::both> other(std::vector<double>{1, 1}, p.path<Gate::both>());
  EXPECT_TRUE(rejects([&] { other.at(view(1, 2, 3, 4), view(1, 3, 3, 4), two, three); }, "slopes",
                      "2 slopes", "3 sets"));
  std::vector<double> d(7), w(3);
  std::vector<float> d_q(24, 1.0F);
  EXPECT_TRUE(rejects(
      [&] {
        grape::apply_query_gate_vjp(gated, view(1, 2, 3, 4), d, grape::blhd(d_q.data(), 1, 2, 3, 4),
                                    {});
      },
      "d_gates", "7", "multiple of 6"));
  d.resize(6);
  EXPECT_TRUE(rejects(
      [&] {
        grape::apply_query_gate_vjp(gated, view(1, 2, 3, 4), d, grape::blhd(d_q.data(), 1, 2, 3, 4),
                                    {.query_weights = w});
      },
      "gradients.query_weights", "3 numbers", "12"));
  EXPECT_EQ(d_q, std::vector<float>(24, 1.0F));
}

}  // namespace
