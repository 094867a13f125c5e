// SPDX-License-Identifier: Apache-2.0
// The gradients of attention against finite differences of its definition.
#include <gtest/gtest.h>

#include "attention/problem.hpp"
#include "grape/attention/attend.hpp"
#include "grape/presets.hpp"
#include "grape/spectrum/log_uniform.hpp"
#include "support/errors.hpp"
#include "support/executors.hpp"

namespace {

using attention::Problem;
using attention::Rules;
using attention::Shape;
using grape::AttendOptions;
using grape::Future;
using grape::Index;
using grape::Positions;

template <class T>
class AttendVjp : public testing::Test {};
TYPED_TEST_SUITE(AttendVjp, ElementTypes);

// A problem with an output gradient and room for every gradient.
template <class T>
struct Gradients : Problem<T> {
  using A = grape::accumulation_t<T>;
  Strided<T> d_out, d_q, d_k, d_v;
  std::vector<A> log_sum;

  Gradients(const Shape& s, Random& random, std::size_t layout = 0)
      : Problem<T>(s, random, layout),
        d_out(layouts(s.batch, s.queries, s.heads, s.value_dim)[(layout + 2) % 10], random),
        d_q(layouts(s.batch, s.queries, s.heads, s.dim)[(layout + 4) % 10], random),
        d_k(layouts(s.batch, s.keys, s.key_heads, s.dim)[(layout + 5) % 10], random),
        d_v(layouts(s.batch, s.keys, s.key_heads, s.value_dim)[(layout + 7) % 10], random),
        log_sum(static_cast<std::size_t>(s.batch * s.heads * s.queries)) {}

  template <class E = grape::Serial>
  void run(AttendOptions<A> options, grape::BiasGradients bias = {},
           std::span<double> frequencies = {}, std::span<double> key_frequencies = {},
           const E& executor = {}, std::span<double> phases = {},
           std::span<double> key_phases = {}) {
    options.log_sum = log_sum;
    grape::attend(this->q.tensor(), this->k.tensor(), this->v.tensor(), this->out.tensor(), options,
                  executor);
    grape::attend_vjp({this->q.tensor(), this->k.tensor(), this->v.tensor(), this->out.tensor()},
                      d_out.tensor(),
                      {.q = d_q.tensor(),
                       .k = d_k.tensor(),
                       .v = d_v.tensor(),
                       .bias = bias,
                       .frequencies = frequencies,
                       .phases = phases,
                       .key_frequencies = key_frequencies,
                       .key_phases = key_phases},
                      options, executor);
  }
};

// The definition's gradients of q, k, v and of every score, in double.
struct Wanted {
  std::vector<double> q, k, v, scores;
};

Wanted definition(const Shape& s, const Rules& rules, const std::vector<double>& q,
                  const std::vector<double>& k, const std::vector<double>& v,
                  const std::vector<double>& d_out) {
  Wanted w{std::vector<double>(q.size()), std::vector<double>(k.size()),
           std::vector<double>(v.size()),
           std::vector<double>(static_cast<std::size_t>(s.batch * s.heads * s.queries * s.keys))};
  std::vector<double> p(static_cast<std::size_t>(s.keys)), dp(p.size());
  for (Index b = 0; b < s.batch; ++b) {
    for (Index h = 0; h < s.heads; ++h) {
      for (Index i = 0; i < s.queries; ++i) {
        const Index kh = h * s.key_heads / s.heads;
        const auto qi = static_cast<std::size_t>(((b * s.queries + i) * s.heads + h) * s.dim);
        const auto oi = static_cast<std::size_t>(((b * s.queries + i) * s.heads + h) * s.value_dim);
        const auto at = [&](Index j, Index dim) {
          return static_cast<std::size_t>(((b * s.keys + j) * s.key_heads + kh) * dim);
        };
        double most = -attention::kInfinity, sum = 0, mean = 0;
        for (Index j = 0; j < s.keys; ++j) {
          const auto n = static_cast<std::size_t>(j);
          p[n] = -attention::kInfinity;
          if (!rules.sees(s, b, i, j)) continue;
          double dot = 0;
          for (std::size_t d = 0; d < static_cast<std::size_t>(s.dim); ++d) {
            dot += q[qi + d] * k[at(j, s.dim) + d];
          }
          p[n] = rules.scale * dot + (rules.bias ? rules.bias(b, h, i, j) : 0);
          most = std::max(most, p[n]);
        }
        if (most == -attention::kInfinity) continue;
        for (double& x : p) sum += x = std::exp(x - most);
        for (Index j = 0; j < s.keys; ++j) {
          const auto n = static_cast<std::size_t>(j);
          p[n] /= sum;
          dp[n] = 0;
          for (std::size_t d = 0; d < static_cast<std::size_t>(s.value_dim); ++d) {
            dp[n] += d_out[oi + d] * v[at(j, s.value_dim) + d];
            w.v[at(j, s.value_dim) + d] += p[n] * d_out[oi + d];
          }
          mean += p[n] * dp[n];
        }
        for (Index j = 0; j < s.keys; ++j) {
          const auto n = static_cast<std::size_t>(j);
          const double d_score = p[n] * (dp[n] - mean);
          w.scores[static_cast<std::size_t>(((b * s.heads + h) * s.queries + i) * s.keys + j)] =
              d_score;
          for (std::size_t d = 0; d < static_cast<std::size_t>(s.dim); ++d) {
            w.q[qi + d] += rules.scale * d_score * k[at(j, s.dim) + d];
            w.k[at(j, s.dim) + d] += rules.scale * d_score * q[qi + d];
          }
        }
      }
    }
  }
  return w;
}

// Data are below 1: a product of dim terms is off by dim + 20 roundings at most, a sum over keys
// or queries of such terms by as many times their number. The output comes rounded to T.
template <class T>
double tolerance(const Shape& s, double scale) {
  using A = grape::accumulation_t<T>;
  const double dim = static_cast<double>(std::max(s.dim, s.value_dim));
  const double terms = static_cast<double>(std::max(s.queries * s.heads / s.key_heads, s.keys));
  const double logits = 4 * (dim * std::fabs(scale) + 4);
  const double kernel =
      Rounding<A>::unit * (dim + 20) * (logits + std::sqrt(terms)) * std::sqrt(terms);
  const double stored = std::same_as<T, A> ? 0 : Rounding<T>::unit * 2 * dim * std::sqrt(terms);
  return kernel + stored;
}

template <class T>
testing::AssertionResult near(const std::vector<double>& got, const std::vector<double>& want,
                              double bound) {
  if (got.size() != want.size()) return testing::AssertionFailure() << "sizes differ";
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (!(std::fabs(got[i] - want[i]) <= bound * std::max(1.0, std::fabs(want[i])))) {
      return testing::AssertionFailure()
             << "entry " << i << ": " << got[i] << ", wanted " << want[i] << " within " << bound;
    }
  }
  return testing::AssertionSuccess();
}

// The definition's own gradients, against central differences of attention::attend.
TEST(AttendVjpDefinition, IsTheDerivative) {
  Random random(520);
  const Shape s{2, 4, 6, 2, 1, 3, 2};
  const auto draw = [&](Index n) { return random.uniforms(n, -1, 1); };
  std::vector<double> q = draw(2 * 4 * 2 * 3), k = draw(2 * 6 * 3), v = draw(2 * 6 * 2);
  const std::vector<double> d_out = draw(2 * 4 * 2 * 2);
  std::vector<double> b(2 * 2 * 4 * 6);
  for (double& x : b) x = random.uniform(-1, 0);
  const Rules rules{.causal = true, .scale = 0.7, .bias = [&](Index n, Index h, Index i, Index j) {
                      return b[static_cast<std::size_t>(((n * 2 + h) * 4 + i) * 6 + j)];
                    }};
  const auto loss = [&] {
    const auto out = attention::attend(s, rules, q, k, v).out;
    double sum = 0;
    for (std::size_t i = 0; i < out.size(); ++i) sum += out[i] * d_out[i];
    return sum;
  };
  const Wanted w = definition(s, rules, q, k, v, d_out);
  const auto expect = [&](std::vector<double>& x, const std::vector<double>& gradient) {
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double at = x[i], step = 1e-5;
      x[i] = at + step;
      const double up = loss();
      x[i] = at - step;
      const double down = loss();
      x[i] = at;
      // The third derivative times step^2 and rounding over the step.
      EXPECT_NEAR(gradient[i], (up - down) / (2 * step), 1e-9) << i;
    }
  };
  expect(q, w.q);
  expect(k, w.k);
  expect(v, w.v);
  expect(b, w.scores);
}

TYPED_TEST(AttendVjp, IsTheDefinitionsGradientWithEveryOption) {
  using T = TypeParam;
  using A = grape::accumulation_t<T>;
  Random random(521);
  for (int round = 0; round < 40; ++round) {
    SCOPED_TRACE(round);
    Shape s;
    s.batch = random.integer(1, 2);
    s.keys = random.integer(1, round % 4 == 0 ? 170 : 40);
    s.queries = random.integer(0, 2) == 0 ? s.keys : random.integer(1, 90);
    s.key_heads = random.integer(1, 2);
    s.heads = s.key_heads * random.integer(1, 2);
    s.dim = random.integer(1, 20);
    s.value_dim = random.integer(1, 40);
    Gradients<T> g(s, random, static_cast<std::size_t>(random.integer(0, 9)));
    Rules rules;
    AttendOptions<A> options;
    rules.causal = options.causal = random.integer(0, 1) == 1;
    if (random.integer(0, 2) == 1) rules.window = options.window = random.integer(1, 1 + s.keys);
    if (random.integer(0, 2) == 1) rules.lengths = random.integers(s.batch, 0, s.keys);
    if (random.integer(0, 2) == 1) rules.offsets = random.integers(1, -s.queries, s.keys + 3);
    options.key_lengths = rules.lengths;
    options.query_offsets = rules.offsets;
    options.scale = rules.scale = random.uniform(-1, 1);
    const std::vector<double> slopes = random.uniforms(s.heads, 0, 1);
    const auto bias = grape::ALiBi<T>(slopes).at(
        Positions::range(s.keys - s.queries, s.queries), Positions::range(0, s.keys),
        random.integer(0, 1) == 0 ? Future::mask : Future::symmetric);
    std::vector<double> d_slopes(static_cast<std::size_t>(s.heads), 0.0);
    const bool biased = random.integer(0, 1) == 1;
    if (biased) {
      options.bias = &bias;
      rules.bias = attention::entries_of(bias, s.heads);
    }
    const auto before_q = g.d_q.memory(), before_k = g.d_k.memory(), before_v = g.d_v.memory();
    g.run(options, biased ? grape::BiasGradients{.slopes = d_slopes} : grape::BiasGradients{});
    const Wanted w =
        definition(s, rules, g.q.values(), g.k.values(), g.v.values(), g.d_out.values());
    const double bound = tolerance<T>(s, rules.scale);
    EXPECT_TRUE(near<T>(g.d_q.values(), w.q, bound));
    EXPECT_TRUE(near<T>(g.d_k.values(), w.k, bound));
    EXPECT_TRUE(near<T>(g.d_v.values(), w.v, bound));
    EXPECT_TRUE(g.d_q.same_outside(before_q));
    EXPECT_TRUE(g.d_k.same_outside(before_k));
    EXPECT_TRUE(g.d_v.same_outside(before_v));
    if (!biased) continue;
    std::vector<double> want(d_slopes.size(), 0.0);
    double distances = 0;
    std::size_t n = 0;
    for (Index b = 0; b < s.batch; ++b) {
      for (Index h = 0; h < s.heads; ++h) {
        for (Index i = 0; i < s.queries; ++i) {
          for (Index j = 0; j < s.keys; ++j, ++n) {
            const auto distance = -std::fabs(static_cast<double>(j - (i + s.keys - s.queries)));
            want[static_cast<std::size_t>(h)] += distance * w.scores[n];
            distances += std::fabs(distance) * std::fabs(w.scores[n]);
          }
        }
      }
    }
    EXPECT_TRUE(
        near<T>(d_slopes, want, bound * std::max(1.0, distances) * static_cast<double>(s.keys)));
  }
}

TYPED_TEST(AttendVjp, ForgetGatesAndFrequencies) {
  using T = TypeParam;
  Random random(522);
  for (const Index queries : {90, 20}) {
    const Shape s{2, queries, 90, 4, 2, 8, 6};
    Gradients<T> g(s, random, 2);
    reference::Planes planes;
    planes.sets = 2;
    planes.planes = 3;
    planes.theta = random.uniforms(6, -1, 1);
    const grape::RoPE<T> rope(grape::Spectrum::per_head(planes.theta, 2));
    const Index start = 90 - queries;
    const auto at_queries = rope.at(Positions::range(start, queries));
    const auto at_keys = rope.at(Positions::range(0, 90));
    const std::vector<double> gates = random.uniforms(2 * 90 * 2, -0.2, 0);
    const grape::FoX<T> fox(2);
    const auto decay =
        fox.at(grape::blh(gates.data(), 2, 90, 2), grape::QueryRange{start, queries});

    std::vector<double> d_gates(gates.size(), 0.5), d_theta(6, 0.25), d_key_theta(6, 0.25);
    std::vector<double> d_phase(static_cast<std::size_t>(queries), 0.0), d_key_phase(90, 0.0);
    g.run({.rotation = &at_queries, .key_rotation = &at_keys, .bias = &decay, .causal = true},
          {.log_forget = d_gates}, d_theta, d_key_theta, grape::Serial{}, d_phase, d_key_phase);

    const auto position_q = [&](Index, Index t) { return static_cast<std::int64_t>(start + t); };
    const auto position_k = [](Index, Index t) { return static_cast<std::int64_t>(t); };
    const auto doubles = [](const std::vector<long double>& x) {
      return std::vector<double>(x.begin(), x.end());
    };
    const Rules rules{
        .causal = true, .scale = 1 / std::sqrt(8.0), .bias = attention::entries_of(decay, 4)};
    const auto q = doubles(reference::rotate(planes, g.q.shape(), g.q.values(), position_q).value);
    const auto k = doubles(reference::rotate(planes, g.k.shape(), g.k.values(), position_k).value);
    const Wanted w = definition(s, rules, q, k, g.v.values(), g.d_out.values());
    const double bound = 2 * tolerance<T>(s, rules.scale);
    const auto back = reference::Way::transpose;
    EXPECT_TRUE(near<T>(
        g.d_q.values(),
        doubles(reference::rotate(planes, g.q.shape(), w.q, position_q, back).value), bound));
    EXPECT_TRUE(near<T>(
        g.d_k.values(),
        doubles(reference::rotate(planes, g.k.shape(), w.k, position_k, back).value), bound));
    EXPECT_TRUE(near<T>(g.d_v.values(), w.v, bound));
    auto want =
        doubles(reference::frequency_gradient(planes, g.q.shape(), g.q.values(), w.q, position_q));
    for (double& x : want) x += 0.25;
    // Positions below 90, 90 tokens and 2 heads of a set.
    EXPECT_TRUE(near<T>(d_theta, want, bound * 90 * 90 * 2));
    want =
        doubles(reference::frequency_gradient(planes, g.k.shape(), g.k.values(), w.k, position_k));
    for (double& x : want) x += 0.25;
    EXPECT_TRUE(near<T>(d_key_theta, want, bound * 90 * 90 * 2));
    // Euler: angles are n theta, so that n d/dn and theta d/dtheta are one.
    const auto by_position = [](const std::vector<double>& d, Index first) {
      double sum = 0;
      for (std::size_t t = 0; t < d.size(); ++t) {
        sum += (static_cast<double>(first) + static_cast<double>(t)) * d[t];
      }
      return sum;
    };
    const auto by_frequency = [&](const std::vector<double>& d) {
      double sum = 0;
      for (std::size_t m = 0; m < d.size(); ++m) sum += planes.theta[m] * (d[m] - 0.25);
      return sum;
    };
    EXPECT_NEAR(by_position(d_phase, start), by_frequency(d_theta), 1e-9);
    EXPECT_NEAR(by_position(d_key_phase, 0), by_frequency(d_key_theta), 1e-9);
    EXPECT_GT(std::fabs(by_frequency(d_key_theta)), 1e-6);
    std::vector<double> want_gates(gates.size(), 0.5);
    std::size_t n = 0;
    for (Index b = 0; b < 2; ++b) {
      for (Index h = 0; h < 4; ++h) {
        for (Index i = 0; i < queries; ++i) {
          for (Index j = 0; j < 90; ++j, ++n) {
            for (Index l = j + 1; l <= start + i; ++l) {
              want_gates[static_cast<std::size_t>((b * 90 + l) * 2 + h / 2)] += w.scores[n];
            }
          }
        }
      }
    }
    EXPECT_TRUE(near<T>(d_gates, want_gates, bound * 90 * 2));
  }
}

// A bias shared by the batch whose gradients batch entries add up, more parameter heads than key
// heads, on any executor.
TYPED_TEST(AttendVjp, SameBitsOnAnyExecutor) {
  using T = TypeParam;
  Random random(523);
  const Shape s{2, 70, 70, 8, 4, 6, 6};
  Gradients<T> g(s, random);
  const std::vector<double> gates = random.uniforms(70 * 8, -0.2, 0);
  const auto decay = grape::FoX<T>(8).at(grape::blh(gates.data(), 1, 70, 8));
  const grape::RoPE<T> rope(grape::spectrum::log_uniform(6, 100.0));
  const auto turned = rope.at(Positions::range(0, 70));
  std::vector<double> d_gates(gates.size()), d_theta(3);
  const auto run = [&](const auto& executor) {
    std::fill(d_gates.begin(), d_gates.end(), 0.0);
    std::fill(d_theta.begin(), d_theta.end(), 0.0);
    g.run({.rotation = &turned, .bias = &decay, .causal = true}, {.log_forget = d_gates}, d_theta,
          {}, executor);
    return std::tuple(g.d_q.memory(), g.d_k.memory(), g.d_v.memory(), d_gates, d_theta);
  };
  const auto serial = run(grape::Serial{});
  for (const auto& other : {run(Reversed{}), run(Threads{3})}) {
    EXPECT_TRUE(same_bits(std::get<0>(serial), std::get<0>(other)));
    EXPECT_TRUE(same_bits(std::get<1>(serial), std::get<1>(other)));
    EXPECT_TRUE(same_bits(std::get<2>(serial), std::get<2>(other)));
    EXPECT_TRUE(same_bits(std::get<3>(serial), std::get<3>(other)));
    EXPECT_TRUE(same_bits(std::get<4>(serial), std::get<4>(other)));
  }
  const Rules rules{
      .causal = true, .scale = 1 / std::sqrt(6.0), .bias = attention::entries_of(decay, 8)};
  const reference::Planes planes{
      .planes = 3, .theta = {1, std::pow(100.0, -1.0 / 3), std::pow(100.0, -2.0 / 3)}};
  const auto turn = [&](Strided<T>& x) {
    const auto r = reference::rotate(planes, x.shape(), x.values(),
                                     [](Index, Index t) { return static_cast<std::int64_t>(t); });
    return std::vector<double>(r.value.begin(), r.value.end());
  };
  const Wanted w = definition(s, rules, turn(g.q), turn(g.k), g.v.values(), g.d_out.values());
  std::vector<double> want(gates.size(), 0.0);
  std::size_t n = 0;
  for (Index b = 0; b < 2; ++b) {
    for (Index h = 0; h < 8; ++h) {
      for (Index i = 0; i < 70; ++i) {
        for (Index j = 0; j < 70; ++j, ++n) {
          for (Index l = j + 1; l <= i; ++l)
            want[static_cast<std::size_t>(l * 8 + h)] += w.scores[n];
        }
      }
    }
  }
  EXPECT_TRUE(near<T>(d_gates, want, 2 * tolerance<T>(s, rules.scale) * 70));
}

TYPED_TEST(AttendVjp, SumsGiveTheGradientsOfTheirParts) {
  using T = TypeParam;
  Random random(525);
  const Shape s{2, 70, 70, 4, 2, 6, 6};
  Gradients<T> g(s, random);
  const std::vector<double> gates = random.uniforms(70 * 2, -0.2, 0);
  const auto decay = grape::FoX<T>(2).at(grape::blh(gates.data(), 1, 70, 2));
  const auto positions = Positions::range(0, 70);
  const auto alibi = grape::ALiBi<T>(4).at(positions, positions);
  const auto both = grape::sum(decay, alibi);
  std::vector<double> d_gates(gates.size(), 0.0), d_slopes(4, 0.0);
  const grape::BiasGradients parts[] = {{.log_forget = d_gates}, {.slopes = d_slopes}};
  g.run({.bias = &both, .causal = true}, {.parts = parts});
  const Rules rules{
      .causal = true, .scale = 1 / std::sqrt(6.0), .bias = attention::entries_of(both, 4)};
  const Wanted w = definition(s, rules, g.q.values(), g.k.values(), g.v.values(), g.d_out.values());
  std::vector<double> want_gates(gates.size(), 0.0), want_slopes(4, 0.0);
  std::size_t n = 0;
  for (Index b = 0; b < 2; ++b) {
    for (Index h = 0; h < 4; ++h) {
      for (Index i = 0; i < 70; ++i) {
        for (Index j = 0; j < 70; ++j, ++n) {
          for (Index l = j + 1; l <= i; ++l) {
            want_gates[static_cast<std::size_t>(l * 2 + h / 2)] += w.scores[n];
          }
          want_slopes[static_cast<std::size_t>(h)] += static_cast<double>(j - i) * w.scores[n];
        }
      }
    }
  }
  const double bound = tolerance<T>(s, rules.scale);
  EXPECT_TRUE(near<T>(d_gates, want_gates, bound * 70 * 4));
  EXPECT_TRUE(near<T>(d_slopes, want_slopes, bound * 70 * 70));
}

TEST(AttendVjpEdge, WithoutQueryHeadsKeysGetNoGradient) {
  Random random(525);
  std::vector<float> data(1 * 3 * 2 * 4, 1.0f), d_k(data.size(), 7.0f), d_v = d_k;
  const auto none = grape::blhd(data.data(), 1, 3, 0, 4);
  const auto keys = grape::blhd(data.data(), 1, 3, 2, 4);
  const auto empty = grape::blhd(d_k.data(), 1, 3, 0, 4);
  grape::attend_vjp<float>(
      {none, keys, keys, none}, grape::TensorView<float>(none),
      {empty, grape::blhd(d_k.data(), 1, 3, 2, 4), grape::blhd(d_v.data(), 1, 3, 2, 4)}, {});
  for (const auto* list : {&d_k, &d_v}) {
    for (const float x : *list) ASSERT_EQ(x, 0.0f);
  }
}

TEST(AttendVjpErrors, NameWhatDoesNotFit) {
  Random random(524);
  Gradients<float> g({2, 8, 8, 2, 2, 4, 4}, random);
  const std::vector<float> before = g.d_q.memory();
  const grape::AttendTensors<float> forward{g.q.tensor(), g.k.tensor(), g.v.tensor(),
                                            g.out.tensor()};
  const grape::AttendGradients<float> d{g.d_q.tensor(), g.d_k.tensor(), g.d_v.tensor()};
  const AttendOptions<float> options{.log_sum = g.log_sum};
  const auto call = [&](auto d_out, grape::AttendGradients<float> gradients,
                        AttendOptions<float> o) {
    return [=] { grape::attend_vjp(forward, d_out, gradients, o); };
  };
  const auto ok = g.d_out.tensor();
  EXPECT_TRUE(rejects(call(ok, d, {}), "log_sum", "none", "attend()"));
  std::vector<float> other(2 * 8 * 2 * 4);
  const auto wrong = grape::blhd(other.data(), 2, 7, 2, 4);
  EXPECT_TRUE(rejects(call(wrong, d, options), "d_out seq", "7", "8"));
  EXPECT_TRUE(rejects(call(ok, {wrong, d.k, d.v}, options), "gradients.q seq", "7", "8"));
  EXPECT_TRUE(rejects(call(ok, {d.q, d.q, d.v}, options), "gradients.k", "gradients.q", "own"));
  EXPECT_TRUE(rejects(call(ok, {d.q, d.k, d.k}, options), "gradients.v", "another", "own"));
  EXPECT_TRUE(rejects(call(ok, {g.q.tensor(), d.k, d.v}, options), "gradients.q", "input", "own"));
  std::vector<double> some(3);
  EXPECT_TRUE(rejects(call(ok, {d.q, d.k, d.v, {.slopes = some}}, options), "gradients.bias",
                      "without", "empty"));
  EXPECT_TRUE(rejects(call(ok, {d.q, d.k, d.v, {}, some}, options), "gradients.frequencies",
                      "without", "empty"));
  const auto turned =
      grape::RoPE<float>(grape::spectrum::log_uniform(4, 100.0)).at(Positions::range(0, 8));
  EXPECT_TRUE(
      rejects(call(ok, {d.q, d.k, d.v, {}, some}, {.rotation = &turned, .log_sum = g.log_sum}),
              "gradients.frequencies", "3", "2"));
  EXPECT_TRUE(rejects(
      call(ok, {d.q, d.k, d.v, {}, {}, {}, some}, {.rotation = &turned, .log_sum = g.log_sum}),
      "gradients.key_frequencies", "without", "empty"));
  EXPECT_TRUE(same_bits(before, g.d_q.memory()));
}

}  // namespace
