// SPDX-License-Identifier: Apache-2.0
#include "grape/apply/lift.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "grape/encoder/gated_bias.hpp"
#include "grape/presets.hpp"
#include "grape/spectrum/log_uniform.hpp"
#include "support/errors.hpp"
#include "support/executors.hpp"
#include "support/random.hpp"
#include "support/strided.hpp"

namespace {

using grape::Future;
using grape::Index;
using grape::LiftCentre;
using grape::LiftOptions;
using grape::Positions;
using grape::QueryRange;

template <class T>
double value(const T& x) {
  return static_cast<double>(static_cast<grape::accumulation_t<T>>(x));
}

// A tensor in dense memory of its own.
template <class T>
struct Tensor {
  Index batch, seq, heads, dim;
  std::vector<T> memory;

  Tensor(Index b, Index s, Index h, Index d) : batch(b), seq(s), heads(h), dim(d) {
    memory.resize(static_cast<std::size_t>(b * s * h * d), static_cast<T>(7.0f));
  }
  Tensor(Index b, Index s, Index h, Index d, Random& random) : Tensor(b, s, h, d) {
    for (T& x : memory) x = static_cast<T>(static_cast<float>(random.uniform(-1, 1)));
  }
  grape::TensorView<T> view() { return grape::blhd(memory.data(), batch, seq, heads, dim); }
  grape::TensorView<const T> constant() const {
    return grape::blhd(memory.data(), batch, seq, heads, dim);
  }
  double at(Index b, Index t, Index h, Index d) const { return value(constant()(b, t, h, d)); }
};

template <class T>
double product(const Tensor<T>& q, const Tensor<T>& k, Index b, Index h, Index i, Index j,
               Index dim) {
  double sum = 0;
  const Index key_head = h * k.heads / q.heads;
  for (Index d = 0; d < dim; ++d) sum += q.at(b, i, h, d) * k.at(b, j, key_head, d);
  return sum;
}

// What a lift loses of a product of |f g| = size with `parts` parts: each factor's rest, and the
// products of parts that are left out. `other` is what a coordinate is multiplied by, for the least
// number that a type holds.
template <class T>
double lost(double size, double other, Index parts) {
  const double unit = Rounding<T>::unit;
  return static_cast<double>(parts + 2) * std::pow(unit, static_cast<double>(parts)) * size +
         8 * Rounding<T>::least * other + 64 * 0x1p-53 * size;
}

template <class T>
class Lift : public testing::Test {};
TYPED_TEST_SUITE(Lift, ElementTypes);

TYPED_TEST(Lift, ProductIsScoreAndALiBi) {
  using T = TypeParam;
  using A = grape::accumulation_t<T>;
  Random random(701);
  // Queries that are the last of the keys, 6 heads with slopes on 2 key heads, a padded output.
  constexpr Index kDim = 5, kQueries = 7, kKeys = 12, kWide = 32;
  const std::vector<std::int64_t> lists = random.integers(2 * kKeys, -300, 300);
  const std::vector<double> slopes{0.5, 0.3, 0.25, -0.7, 0.01, 1};
  for (const Index parts : {1, 2, 3}) {
    for (const LiftCentre centre : {LiftCentre::origin, LiftCentre::middle}) {
      for (const Index batch : {1, 2}) {
        const std::span<const std::int64_t> keys(lists.data(),
                                                 static_cast<std::size_t>(batch * kKeys));
        std::vector<std::int64_t> queries;
        for (Index b = 0; b < batch; ++b) {
          for (Index t = kKeys - kQueries; t < kKeys; ++t) {
            queries.push_back(keys[static_cast<std::size_t>(b * kKeys + t)]);
          }
        }
        const auto bias = grape::ALiBi<T>(slopes).at(Positions::per_token(queries, batch, kQueries),
                                                     Positions::per_token(keys, batch, kKeys));
        const Tensor<T> q(2, kQueries, 6, kDim, random), k(2, kKeys, 2, kDim, random);
        Tensor<T> q_out(2, kQueries, 6, kWide), k_out(2, kKeys, 2, kWide);
        const LiftOptions options{.parts = parts, .centre = centre};
        EXPECT_EQ(grape::lift_extra<T>(bias, {.parts = 1}), 2);
        grape::lift(bias, q.constant(), k.constant(), q_out.view(), k_out.view(), options);
        const double scale = 1 / std::sqrt(5.0);
        for (Index b = 0; b < 2; ++b) {
          for (Index h = 0; h < 6; ++h) {
            const double slope =
                static_cast<double>(static_cast<A>(slopes[static_cast<std::size_t>(h)]));
            for (Index i = 0; i < kQueries; ++i) {
              for (Index j = 0; j < kKeys; ++j) {
                const Index at = batch == 1 ? 0 : b;
                const auto pi =
                    static_cast<double>(queries[static_cast<std::size_t>(at * kQueries + i)]);
                const auto pj = static_cast<double>(keys[static_cast<std::size_t>(at * kKeys + j)]);
                // Positions are at most 300 from the origin and 600 from a centre.
                const double want = scale * product(q, k, b, h, i, j, kDim) + slope * (pj - pi);
                const double got = scale * product(q_out, k_out, b, h, i, j, kWide);
                const double size = std::fabs(slope) * 600;
                ASSERT_NEAR(got, want,
                            2 * lost<T>(size, scale * (1 + 256), parts) + 64 * 0x1p-53 * 5)
                    << parts << " " << b << " " << h << " " << i << " " << j;
              }
            }
          }
        }
        // What is behind the added coordinates is 0.
        const Index extra = grape::lift_extra<T>(bias, options);
        for (Index d = kDim + extra; d < kWide; ++d) {
          EXPECT_EQ(q_out.at(1, 3, 4, d), 0);
          EXPECT_EQ(k_out.at(1, 3, 1, d), 0);
        }
      }
    }
  }
}

TYPED_TEST(Lift, ProductIsScoreAndFoX) {
  using T = TypeParam;
  Random random(702);
  constexpr Index kDim = 4, kKeys = 40, kQueries = 11, kWide = 20;
  const std::vector<double> slopes{1, 0.7};
  const std::vector<double> gates = random.uniforms(2 * kKeys * 2, -2, 0);
  const auto bias = grape::FoX<T>(slopes).at(grape::blh(gates.data(), 2, kKeys, 2),
                                             QueryRange{kKeys - kQueries, kQueries});
  const Tensor<T> q(2, kQueries, 4, kDim, random), k(2, kKeys, 2, kDim, random);
  for (const Index parts : {1, 2, 3}) {
    for (const LiftCentre centre : {LiftCentre::origin, LiftCentre::middle}) {
      Tensor<T> q_out(2, kQueries, 4, kWide), k_out(2, kKeys, 2, kWide);
      grape::lift(bias, q.constant(), k.constant(), q_out.view(), k_out.view(),
                  {.scale = 0.25, .parts = parts, .centre = centre});
      for (Index b = 0; b < 2; ++b) {
        for (Index h = 0; h < 4; ++h) {
          for (Index i = 0; i < kQueries; ++i) {
            double sum = 0;
            for (Index j = kKeys - kQueries + i; j >= 0; --j) {
              const double want = 0.25 * product(q, k, b, h, i, j, kDim) +
                                  slopes[static_cast<std::size_t>(h / 2)] * sum;
              const double got = 0.25 * product(q_out, k_out, b, h, i, j, kWide);
              // Sums are below 80.
              ASSERT_NEAR(got, want, 2 * lost<T>(80, 0.25 * (1 + 256), parts) + 64 * 0x1p-53 * 4)
                  << parts << " " << b << " " << h << " " << i << " " << j;
              sum += gates[static_cast<std::size_t>((b * kKeys + j) * 2 + h / 2)];
            }
          }
        }
      }
    }
  }
  // One part of a unit slope: 2 coordinates, 3 parts: 6.
  const auto unit = grape::FoX<T>(2).at(grape::blh(gates.data(), 2, kKeys, 2));
  EXPECT_EQ(grape::lift_extra<T>(unit), 2);
  EXPECT_EQ(grape::lift_extra<T>(unit, {.parts = 3}), 6);
}

TYPED_TEST(Lift, EveryLayoutAndExecutorGivesTheSameBits) {
  using T = TypeParam;
  Random random(703);
  const auto range = Positions::range(0, 5);
  const auto bias = grape::ALiBi<T>(6).at(range, range);
  const LiftOptions options{.kernel_scale = 0.3, .parts = 2};
  Tensor<T> plain_q(2, 5, 6, 12), plain_k(2, 5, 3, 12);
  std::vector<T> want_q, want_k;
  for (const Layout& layout : layouts(2, 5, 6, 12)) {
    SCOPED_TRACE(layout.name);
    Random same(7);
    const Tensor<T> q(2, 5, 6, 3, same), k(2, 5, 3, 3, same);
    Strided<T> q_out(layout, random);
    Tensor<T> k_out(2, 5, 3, 12);
    const std::vector<T> before = q_out.memory();
    grape::lift(bias, q.constant(), k.constant(), q_out.tensor(), k_out.view(), options,
                Threads{3});
    EXPECT_TRUE(q_out.same_outside(before));
    grape::lift(bias, q.constant(), k.constant(), plain_q.view(), plain_k.view(), options);
    std::size_t n = 0;
    const std::vector<double> got = q_out.values();
    for (const T& x : plain_q.memory) ASSERT_EQ(got[n++], value(x));
    EXPECT_TRUE(same_bits(k_out.memory, plain_k.memory));
    // The input as a strided view, and as the first coordinates of its own lift.
    Tensor<T> in_place = plain_q;
    for (Index b = 0; b < 2; ++b) {
      for (Index t = 0; t < 5; ++t) {
        for (Index h = 0; h < 6; ++h) {
          for (Index d = 0; d < 3; ++d) in_place.view()(b, t, h, d) = q.constant()(b, t, h, d);
        }
      }
    }
    const grape::TensorView<T> own(in_place.memory.data(), {2, 5, 6, 3}, {360, 72, 12, 1});
    grape::lift_queries(bias, own, in_place.view(), options, Reversed{});
    EXPECT_TRUE(same_bits(in_place.memory, plain_q.memory));
  }
}

TEST(LiftAttention, OutputsAfterTheSoftmaxAreTheSame) {
  Random random(704);
  constexpr Index kSeq = 90, kDim = 16, kHeads = 4;
  const auto range = Positions::range(0, kSeq);
  const auto bias = grape::ALiBi<float>(kHeads).at(range, range);
  const Tensor<float> q(1, kSeq, kHeads, kDim, random), k(1, kSeq, kHeads, kDim, random),
      v(1, kSeq, kHeads, kDim, random);
  Tensor<float> q_out(1, kSeq, kHeads, 18), k_out(1, kSeq, kHeads, 18);
  // A kernel that scales by its own head_dim.
  const double kernel = 1 / std::sqrt(18.0), scale = 1 / std::sqrt(16.0);
  grape::lift(bias, q.constant(), k.constant(), q_out.view(), k_out.view(),
              {.kernel_scale = kernel});
  for (Index h = 0; h < kHeads; ++h) {
    for (Index i = 0; i < kSeq; ++i) {
      double sum[2] = {}, out[2] = {};
      for (Index j = 0; j <= i; ++j) {
        const double logits[2] = {
            scale * product(q, k, 0, h, i, j, kDim) + static_cast<double>(bias(0, h, i, j)),
            kernel * product(q_out, k_out, 0, h, i, j, 18)};
        for (int way = 0; way < 2; ++way) {
          sum[way] += std::exp(logits[way]);
          out[way] += std::exp(logits[way]) * v.at(0, j, h, 3);
        }
      }
      // A logit is off by 4 units of |beta p| <= 0.25 * 90 and of |q . k| <= 16 (the gain), and an
      // output by twice that.
      const double logit_error = 4 * 0x1p-24 * (0.25 * 90 + 16);
      EXPECT_NEAR(out[1] / sum[1], out[0] / sum[0], 2.1 * logit_error);
    }
  }
}

TEST(LiftStreaming, KeysLiftedOnArrivalAreThoseLiftedAtOnce) {
  Random random(705);
  constexpr Index kSeq = 9;
  const std::vector<double> gates = random.uniforms(kSeq * 2, -1, 0);
  const grape::FoX<float> fox(2);
  const Tensor<float> k(1, kSeq, 2, 3, random);
  Tensor<float> at_once(1, kSeq, 2, 5), streamed = at_once;
  grape::lift_keys(fox.at(grape::blh(gates.data(), 1, kSeq, 2)), k.constant(), at_once.view());
  for (Index t = 0; t < kSeq; ++t) {
    const auto upto = fox.at(grape::blh(gates.data(), 1, t + 1, 2));
    const grape::TensorView<const float> keys(k.memory.data(), {1, t + 1, 2, 3}, {54, 6, 3, 1});
    Tensor<float> out(1, t + 1, 2, 5);
    grape::lift_keys(upto, keys, out.view());
    for (Index i = 0; i < 10; ++i) {
      streamed.memory[static_cast<std::size_t>(10 * t + i)] =
          out.memory[static_cast<std::size_t>(10 * t + i)];
    }
  }
  EXPECT_TRUE(same_bits(streamed.memory, at_once.memory));
  // A key at its position alone, for ALiBi.
  const grape::ALiBi<float> alibi(2);
  grape::lift_keys(alibi.at(Positions::range(0, 1), Positions::range(0, kSeq)), k.constant(),
                   at_once.view());
  const grape::TensorView<const float> last(k.memory.data() + 48, {1, 1, 2, 3}, {6, 6, 3, 1});
  Tensor<float> one(1, 1, 2, 5);
  grape::lift_keys(alibi.at(Positions::range(8, 1), Positions::range(8, 1)), last, one.view());
  for (std::size_t i = 0; i < 10; ++i) EXPECT_EQ(one.memory[i], at_once.memory[80 + i]);
}

// d_q_out and d_k_out of a loss with gradient d_scores at the logits.
struct LiftedGradients {
  Tensor<double> q, k;
  LiftedGradients(const Tensor<double>& q_out, const Tensor<double>& k_out,
                  const std::vector<double>& d_scores, double kernel)
      : q(q_out.batch, q_out.seq, q_out.heads, q_out.dim),
        k(k_out.batch, k_out.seq, k_out.heads, k_out.dim) {
    std::fill(q.memory.begin(), q.memory.end(), 0.0);
    std::fill(k.memory.begin(), k.memory.end(), 0.0);
    std::size_t n = 0;
    for (Index b = 0; b < q.batch; ++b) {
      for (Index h = 0; h < q.heads; ++h) {
        for (Index i = 0; i < q.seq; ++i) {
          for (Index j = 0; j < k.seq; ++j, ++n) {
            const Index key_head = h * k.heads / q.heads;
            for (Index d = 0; d < q.dim; ++d) {
              q.view()(b, i, h, d) += kernel * d_scores[n] * k_out.at(b, j, key_head, d);
              k.view()(b, j, key_head, d) += kernel * d_scores[n] * q_out.at(b, i, h, d);
            }
          }
        }
      }
    }
  }
};

TEST(LiftGradients, AreThoseOfTheBias) {
  Random random(706);
  constexpr Index kSeq = 13, kDim = 3;
  const std::vector<double> slopes{0.5, 0.25};
  const std::vector<double> gates = random.uniforms(2 * kSeq * 2, -1, 0);
  const auto range = Positions::range(5, kSeq);
  const std::vector<grape::BiasAction<double>> actions{
      grape::ALiBi<double>(slopes).at(range, range),
      grape::FoX<double>(slopes).at(grape::blh(gates.data(), 2, kSeq, 2))};
  std::vector<double> d_scores = random.uniforms(2 * 4 * kSeq * kSeq, -1, 1);
  for (std::size_t n = 0; n < d_scores.size(); ++n) {
    if (n % kSeq > n / kSeq % kSeq) d_scores[n] = 0;
  }
  const auto scores = grape::bhqk(d_scores.data(), 2, 4, kSeq, kSeq);
  for (const auto& bias : actions) {
    for (const LiftCentre centre : {LiftCentre::origin, LiftCentre::middle}) {
      const bool fox = bias.gradient_sizes().log_forget != 0;
      const std::size_t count = fox ? gates.size() : 0;
      const LiftOptions options{.scale = 0.5, .kernel_scale = 0.4, .parts = 2, .centre = centre};
      const Tensor<double> q(2, kSeq, 4, kDim, random), k(2, kSeq, 2, kDim, random);
      Tensor<double> q_out(2, kSeq, 4, 9), k_out(2, kSeq, 2, 9);
      grape::lift(bias, q.constant(), k.constant(), q_out.view(), k_out.view(), options);
      const LiftedGradients d(q_out, k_out, d_scores, 0.4);
      Tensor<double> d_q(2, kSeq, 4, kDim), d_k(2, kSeq, 2, kDim);
      std::vector<double> d_slopes(2, 0.5), d_gates(count, 0.25);
      const grape::BiasGradients got{.slopes = d_slopes, .log_forget = d_gates};
      grape::lift_queries_vjp(bias, d.q.constant(), d_q.view(), got, options);
      grape::lift_keys_vjp(bias, d.k.constant(), d_k.view(), got, options);
      std::vector<double> want_slopes(2, 0.5), want_gates(count, 0.25);
      grape::add_bias_vjp(bias, scores, {.slopes = want_slopes, .log_forget = want_gates});
      // Sums of 2 * 2 * 13 * 13 / 2 terms of at most 18.
      constexpr double kBound = 700 * 18 * 700 * 0x1p-53;
      for (std::size_t i = 0; i < 2; ++i) EXPECT_NEAR(d_slopes[i], want_slopes[i], kBound);
      for (std::size_t i = 0; i < count; ++i) EXPECT_NEAR(d_gates[i], want_gates[i], kBound);
      const LiftedGradients plain(q, k, d_scores, 0.5);
      for (std::size_t i = 0; i < d_q.memory.size(); ++i) {
        EXPECT_NEAR(d_q.memory[i], plain.q.memory[i], 64 * 13 * 0x1p-53);
      }
      for (std::size_t i = 0; i < d_k.memory.size(); ++i) {
        EXPECT_NEAR(d_k.memory[i], plain.k.memory[i], 64 * 26 * 0x1p-53);
      }
      // On threads, backwards and in place: the same bits.
      std::vector<double> slopes_again(2, 0.5), gates_again(count, 0.25);
      const grape::BiasGradients again{.slopes = slopes_again, .log_forget = gates_again};
      Tensor<double> in_place = d.q;
      const grape::TensorView<double> head(in_place.memory.data(), {2, kSeq, 4, kDim},
                                           {kSeq * 36, 36, 9, 1});
      grape::lift_queries_vjp(bias, in_place.view(), head, again, options, Threads{3});
      grape::lift_keys_vjp(bias, d.k.constant(), d_k.view(), again, options, Reversed{});
      EXPECT_EQ(slopes_again, d_slopes);
      EXPECT_EQ(gates_again, d_gates);
      for (Index t = 0; t < kSeq; ++t) EXPECT_EQ(head(1, t, 3, 2), d_q.at(1, t, 3, 2));
    }
  }
}

// Gates of 4 query heads and 2 key heads, either of them absent in turn.
struct Gated {
  std::vector<double> a, c;
  grape::BiasAction<double> action;

  Gated(Random& random, Index seq, bool query, bool key) {
    a = random.uniforms(2 * seq * 4, 0, 2);
    c = random.uniforms(2 * seq * 2, 0, 2);
    grape::GateValues<double> gates;
    if (query)
      gates.query.emplace(grape::TensorView<const double>(grape::blh(a.data(), 2, seq, 4)));
    if (key) gates.key.emplace(grape::TensorView<const double>(grape::blh(c.data(), 2, seq, 2)));
    const std::vector<double> factors{0.5, 0.3};
    grape::GatedBias<double> source;
    const auto range = Positions::range(3, seq);
    source.assign({factors, gates, range, range});
    action = grape::BiasAction<double>(source);
  }
};

TEST(LiftGated, ProductAndGradientsAreThoseOfTheBias) {
  Random random(710);
  constexpr Index kSeq = 11, kDim = 3;
  std::vector<double> d_scores = random.uniforms(2 * 4 * kSeq * kSeq, -1, 1);
  for (std::size_t n = 0; n < d_scores.size(); ++n) {
    if (n % kSeq > n / kSeq % kSeq) d_scores[n] = 0;
  }
  const auto scores = grape::bhqk(d_scores.data(), 2, 4, kSeq, kSeq);
  for (const auto& [query, key] : {std::pair{true, true}, {true, false}, {false, true}}) {
    for (const LiftCentre centre : {LiftCentre::origin, LiftCentre::middle}) {
      const Gated gated(random, kSeq, query, key);
      const auto& bias = gated.action;
      const Index heads = bias.heads(), extra = query && key ? 4 : 2;
      EXPECT_EQ(heads, query ? 4 : 2);
      const LiftOptions options{.scale = 0.5, .centre = centre};
      EXPECT_EQ(grape::lift_extra<double>(bias, options), extra);
      const Tensor<double> q(2, kSeq, 4, kDim, random), k(2, kSeq, 2, kDim, random);
      Tensor<double> q_out(2, kSeq, 4, kDim + extra), k_out(2, kSeq, 2, kDim + extra);
      grape::lift(bias, q.constant(), k.constant(), q_out.view(), k_out.view(), options);
      for (Index b = 0; b < 2; ++b) {
        for (Index h = 0; h < 4; ++h) {
          for (Index i = 0; i < kSeq; ++i) {
            for (Index j = 0; j <= i; ++j) {
              // 4 products below 0.5 * 14 * 4 and one below 3, each of a few roundings.
              EXPECT_NEAR(0.5 * product(q_out, k_out, b, h, i, j, kDim + extra),
                          0.5 * product(q, k, b, h, i, j, kDim) + bias(b, h * heads / 4, i, j),
                          8 * 4 * 28 * 0x1p-53);
            }
          }
        }
      }
      const LiftedGradients d(q_out, k_out, d_scores, 0.5);
      Tensor<double> d_q(2, kSeq, 4, kDim), d_k(2, kSeq, 2, kDim);
      const auto of_query = static_cast<std::size_t>(query ? 2 * kSeq * heads : 0);
      const auto of_key = static_cast<std::size_t>(key ? 2 * kSeq * heads : 0);
      const auto of_heads = static_cast<std::size_t>(heads);
      std::vector<double> slopes(of_heads, 0.5), query_gates(of_query, 0.25), key_gates(of_key);
      const grape::BiasGradients got{
          .slopes = slopes, .query_gates = query_gates, .key_gates = key_gates};
      grape::lift_queries_vjp(bias, d.q.constant(), d_q.view(), got, options);
      grape::lift_keys_vjp(bias, d.k.constant(), d_k.view(), got, options);
      std::vector<double> want_slopes(of_heads, 0.5), want_query(of_query, 0.25), want_key(of_key);
      grape::add_bias_vjp(
          bias, scores, {.slopes = want_slopes, .query_gates = want_query, .key_gates = want_key});
      // Sums of 2 * 2 * 11 * 11 terms of at most 14 * 4.
      constexpr double kBound = 484 * 56 * 484 * 0x1p-53;
      for (std::size_t i = 0; i < of_heads; ++i) EXPECT_NEAR(slopes[i], want_slopes[i], kBound);
      for (std::size_t i = 0; i < of_query; ++i) {
        EXPECT_NEAR(query_gates[i], want_query[i], kBound);
      }
      // Heads that share a key gate: their gradients together.
      const Index group = heads / 2;
      for (std::size_t i = 0; i < of_key; i += static_cast<std::size_t>(group)) {
        double sum = 0, want = 0;
        for (std::size_t g = i; g < i + static_cast<std::size_t>(group); ++g) {
          sum += key_gates[g];
          want += want_key[g];
        }
        EXPECT_NEAR(sum, want, kBound);
      }
    }
  }
}

// The largest error of a lifted logit whose bias is above -20 (others vanish in a softmax), with a
// kernel that sums in float, over pairs of `length` tokens: the bias alone, q and k being 0.
template <class T>
double worst(Index length, Index parts, LiftCentre centre) {
  constexpr double kSlope = 0.7;  // no power of 2, steeper than any of 8 heads; head_dim 128
  const auto range = Positions::range(0, length);
  const auto bias = grape::ALiBi<T>(std::vector<double>{kSlope}).at(range, range);
  const LiftOptions options{.scale = 1 / std::sqrt(128.0), .parts = parts, .centre = centre};
  const Index extra = grape::lift_extra<T>(bias, options);
  const T zero(0);
  const grape::TensorView<const T> none(&zero, {1, length, 1, 1}, {0, 0, 0, 1});
  Tensor<T> q_out(1, length, 1, 1 + extra), k_out(1, length, 1, 1 + extra);
  grape::lift(bias, none, none, q_out.view(), k_out.view(), options);
  Random random(708);
  double most = 0;
  for (int n = 0; n < 20000; ++n) {
    const Index i = random.integer(0, length - 1);
    const Index j = random.integer(std::max<Index>(0, i - 28), i);
    float sum = 0;
    for (Index d = 1; d <= extra; ++d) {
      sum += static_cast<float>(q_out.at(0, i, 0, d)) * static_cast<float>(k_out.at(0, j, 0, d));
    }
    const double got = *options.scale * static_cast<double>(sum);
    most = std::max(most, std::fabs(got + kSlope * static_cast<double>(i - j)));
  }
  return most;
}

// The table at LiftOptions::parts: for paths from the origin; the middle halves the numbers.
TEST(LiftError, StaysWithinTheDocumentedFigures) {
  struct Row {
    Index length;
    double of_float, of_half[2], of_bfloat16[3];
  };
  for (const Row& row : {Row{4096, 3e-4, {3, 1e-3}, {17, 0.04, 5e-4}},
                         Row{131072, 0.01, {80, 0.03}, {550, 1.3, 0.014}},
                         Row{1048576, 0.08, {600, 0.25}, {4400, 10, 0.11}}}) {
    for (const LiftCentre centre : {LiftCentre::origin, LiftCentre::middle}) {
      const double share = centre == LiftCentre::origin ? 1 : 0.55;
      EXPECT_LE(worst<float>(row.length, 1, centre), share * row.of_float) << row.length;
      for (const Index parts : {1, 2}) {
        EXPECT_LE(worst<Eigen::half>(row.length, parts, centre), share * row.of_half[parts - 1]);
      }
      for (const Index parts : {1, 2, 3}) {
        EXPECT_LE(worst<Eigen::bfloat16>(row.length, parts, centre),
                  share * row.of_bfloat16[parts - 1]);
      }
    }
  }
}

TEST(LiftJoint, ProductIsTheRotatedScoreAndTheBias) {
  Random random(709);
  const auto range = Positions::range(2, 9);
  const auto action =
      grape::joint(grape::RoPE<double>(grape::spectrum::log_uniform(6)), grape::ALiBi<double>(4))
          .at(range);
  Tensor<double> q(2, 9, 4, 8, random), k(2, 9, 2, 8, random);
  Tensor<double> q_out(2, 9, 4, 10), k_out(2, 9, 2, 10);
  grape::lift(action, q.constant(), k.constant(), q_out.view(), k_out.view());
  grape::apply_rotation(action.rotation, q.view(), k.view());
  const double scale = 1 / std::sqrt(8.0);
  for (Index h = 0; h < 4; ++h) {
    for (Index i = 0; i < 9; ++i) {
      for (Index j = 0; j <= i; ++j) {
        EXPECT_NEAR(scale * product(q_out, k_out, 1, h, i, j, 10),
                    scale * product(q, k, 1, h, i, j, 8) + action.bias(0, h, i, j),
                    64 * 0x1p-53 * 11);
      }
    }
  }
  Tensor<double> narrow(2, 9, 4, 4), wide(2, 9, 4, 6), narrow_k(2, 9, 2, 4), wide_k(2, 9, 2, 6);
  EXPECT_TRUE(rejects(
      [&] { grape::lift(action, narrow.view(), narrow_k.view(), wide.view(), wide_k.view()); },
      "q dim", "4", "at least 6"));
  EXPECT_EQ(wide.memory, Tensor<double>(2, 9, 4, 6).memory);
}

// A bias that is no sum of products.
struct Opaque {
  Index batch() const { return 1; }
  Index heads() const { return 1; }
  Index queries() const { return 2; }
  Index keys() const { return 2; }
  void tile(const grape::ScoreTile& where, float* out, Index) const {
    std::fill_n(out, where.keys, 0.0f);
  }
};

TEST(LiftErrors, NameWhatDoesNotFit) {
  const auto range = Positions::range(0, 2);
  const auto bias = grape::ALiBi<float>(2).at(range, range);
  Tensor<float> q(1, 2, 2, 3), k(1, 2, 2, 3), q_out(1, 2, 2, 5), k_out(1, 2, 2, 5);
  const auto lifts = [&](auto& a, auto& b, auto& c, auto& d, LiftOptions options = {}) {
    return [&, options] { grape::lift(bias, a.view(), b.view(), c.view(), d.view(), options); };
  };
  Tensor<float> narrow(1, 2, 2, 4), long_k(1, 3, 2, 3), long_out(1, 3, 2, 5), odd(1, 2, 3, 3),
      odd_out(1, 2, 3, 5), wide_k(1, 2, 2, 4);
  EXPECT_TRUE(rejects(lifts(q, k, narrow, k_out), "q_out dim", "4", "3 + 2"));
  EXPECT_TRUE(rejects(lifts(q, long_k, q_out, k_out), "k_out seq", "2", "3"));
  EXPECT_TRUE(rejects(lifts(q, long_k, q_out, long_out), "k seq", "3", "2 keys"));
  EXPECT_TRUE(rejects(lifts(odd, k, odd_out, k_out), "q", "3 heads", "multiple of the 2"));
  EXPECT_TRUE(rejects(lifts(q, wide_k, q_out, long_out), "k dim", "4", "3"));
  EXPECT_TRUE(rejects(lifts(q, k, q_out, q_out), "k_out", "share elements", "do not overlap"));
  EXPECT_TRUE(rejects(lifts(q, k, q_out, k_out, {.parts = 0}), "options.parts", "0", "1 to 4"));
  EXPECT_TRUE(rejects(lifts(q, k, q_out, k_out, {.scale = -1.0}), "options.scale", "-1", "> 0"));
  EXPECT_TRUE(
      rejects(lifts(q, k, q_out, k_out, {.kernel_scale = std::numeric_limits<double>::quiet_NaN()}),
              "options.kernel_scale", "nan", "> 0"));
  // A view of q that is not the first coordinates of the output.
  const grape::TensorView<float> shifted(q_out.memory.data() + 1, {1, 2, 2, 3}, {20, 10, 5, 1});
  EXPECT_TRUE(rejects([&] { grape::lift_queries(bias, shifted, q_out.view()); }, "q_out",
                      "shares elements", "does not overlap"));
  EXPECT_EQ(q_out.memory, Tensor<float>(1, 2, 2, 5).memory);
  EXPECT_EQ(k_out.memory, Tensor<float>(1, 2, 2, 5).memory);

  const auto refused = [&](const grape::BiasAction<float>& other, std::string_view got,
                           std::string_view wanted) {
    return rejects([&] { grape::lift_extra<float>(other); }, "bias", got, wanted);
  };
  EXPECT_TRUE(
      refused(grape::ALiBi<float>(2).at(range, range, Future::symmetric), "symmetric", "causal"));
  const std::vector<float> gates{-1, -std::numeric_limits<float>::infinity()};
  const auto shut = grape::FoX<float>(1).at(grape::blh(gates.data(), 1, 2, 1));
  EXPECT_TRUE(refused(shut, "shut", "hide no token"));
  EXPECT_TRUE(refused(grape::BiasAction<float>(Opaque{}), "no LiftSource", "can be lifted"));
  EXPECT_TRUE(refused(grape::BiasAction<float>(), "empty", "can be lifted"));
  // Keys of FoX differ by head.
  const std::vector<float> open(4, -1.0f);
  const auto fox = grape::FoX<float>(2).at(grape::blh(open.data(), 1, 2, 2));
  Tensor<float> one_head(1, 2, 1, 3), one_out(1, 2, 1, 5);
  EXPECT_TRUE(rejects([&] { grape::lift_keys(fox, one_head.view(), one_out.view()); }, "k",
                      "1 heads", "multiple of the 2"));
  grape::lift_keys(bias, one_head.view(), one_out.view());  // those of ALiBi do not
  // Half ends at 65504, 2^8 of which go to the other factor.
  const auto far = Positions::range(20000000, 2);
  const auto far_bias = grape::ALiBi<Eigen::half>(1).at(far, far);
  Tensor<Eigen::half> h(1, 2, 1, 3), h_out(1, 2, 1, 5);
  EXPECT_TRUE(rejects([&] { grape::lift_keys(far_bias, h.view(), h_out.view()); }, "bias",
                      "a coordinate of", "65504"));
  EXPECT_EQ(value(h_out.memory[4]), 7);
  grape::lift_keys(far_bias, h.view(), h_out.view(), {.centre = LiftCentre::middle});
  // Gradients that the bias has not.
  std::vector<double> wrong(3);
  EXPECT_TRUE(
      rejects([&] { grape::lift_queries_vjp(bias, q_out.view(), q.view(), {.slopes = wrong}); },
              "gradients.slopes", "3 entries", "2 entries"));
}

TEST(Lift, EmptyViewsAreLeftAlone) {
  const auto bias = grape::ALiBi<float>(2).at(Positions::range(0, 0), Positions::range(0, 0));
  Tensor<float> none(1, 0, 2, 3), out(1, 0, 2, 5);
  grape::lift(bias, none.view(), none.view(), out.view(), out.view());
}

}  // namespace
