// SPDX-License-Identifier: Apache-2.0
#include "grape/attention/attend.hpp"

#include <gtest/gtest.h>

#include "attention/problem.hpp"
#include "grape/apply/rotation.hpp"
#include "grape/math/gates.hpp"
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
class Attend : public testing::Test {};
TYPED_TEST_SUITE(Attend, ElementTypes);

// What the library computes against the definition, output and log-sum, and nothing else written.
template <class T>
void expect_attention(Problem<T>& p, const Rules& rules,
                      AttendOptions<grape::accumulation_t<T>> options) {
  using A = grape::accumulation_t<T>;
  const auto want = attention::attend(p.shape, rules, p.q.values(), p.k.values(), p.v.values());
  std::vector<A> log_sum(want.log_sum.size());
  options.log_sum = log_sum;
  const std::vector<T> before = p.out.memory();
  grape::attend(p.q.tensor(), p.k.tensor(), p.v.tensor(), p.out.tensor(), options);
  EXPECT_TRUE(p.out.same_outside(before));
  EXPECT_TRUE(attention::close<T>(p.out.values(), want.out, want.error));
  const std::vector<double> sums(log_sum.begin(), log_sum.end());
  EXPECT_TRUE(attention::close<A>(sums, want.log_sum, want.log_error));
}

double default_scale(const Shape& s) { return 1 / std::sqrt(static_cast<double>(s.dim)); }

TYPED_TEST(Attend, IsItsDefinitionInEveryLayout) {
  using T = TypeParam;
  Random random(501);
  for (std::size_t layout = 0; layout < 10; ++layout) {
    const Shape s{2, 13, 21, 6, 3, 10, 7};
    Problem<T> p(s, random, layout, 2);
    SCOPED_TRACE(p.q.layout().name);
    expect_attention<T>(p, {.causal = true, .scale = default_scale(s)}, {.causal = true});
  }
}

// Sizes around the tiles' and the registers', every option on and off at random.
TYPED_TEST(Attend, TakesEveryOptionWithAnyOther) {
  using T = TypeParam;
  using A = grape::accumulation_t<T>;
  Random random(502);
  for (int round = 0; round < 60; ++round) {
    SCOPED_TRACE(round);
    Shape s;
    s.batch = random.integer(1, 3);
    s.keys = random.integer(1, round % 4 == 0 ? 300 : 90);
    s.queries = random.integer(0, 2) == 0 ? s.keys : random.integer(1, round % 6 == 0 ? 200 : 70);
    s.key_heads = random.integer(1, 2);
    s.heads = s.key_heads * random.integer(1, 3);
    s.dim = random.integer(1, 40);
    s.value_dim = random.integer(0, 1) == 0 ? s.dim : random.integer(1, 70);
    Problem<T> p(s, random, static_cast<std::size_t>(random.integer(0, 9)), 3);
    Rules rules;
    AttendOptions<A> options;
    rules.causal = options.causal = random.integer(0, 1) == 1;
    if (random.integer(0, 1) == 1) rules.window = options.window = random.integer(1, 1 + s.keys);
    if (random.integer(0, 1) == 1) rules.lengths = random.integers(s.batch, 0, s.keys);
    if (random.integer(0, 1) == 1) {
      rules.offsets =
          random.integers(random.integer(0, 1) == 0 ? 1 : s.batch, -s.queries, s.keys + 3);
    }
    options.key_lengths = rules.lengths;
    options.query_offsets = rules.offsets;
    rules.scale = default_scale(s);
    if (random.integer(0, 1) == 1) options.scale = rules.scale = random.uniform(-1, 1);
    const auto future =
        std::array{Future::mask, Future::zero,
                   Future::symmetric}[static_cast<std::size_t>(random.integer(0, 2))];
    const std::vector<double> slopes = random.uniforms(s.key_heads, 0, 1);
    const auto bias = grape::ALiBi<T>(slopes).at(
        Positions::range(random.integer(-5, 40), s.queries), Positions::range(0, s.keys), future);
    if (random.integer(0, 1) == 1) {
      options.bias = &bias;
      rules.bias = attention::entries_of(bias, s.heads);
    }
    expect_attention<T>(p, rules, options);
  }
}

TYPED_TEST(Attend, RotatesCopiesOfQueriesAndKeys) {
  using T = TypeParam;
  using A = grape::accumulation_t<T>;
  Random random(503);
  for (const Index queries : {37, 5}) {
    const Shape s{2, queries, 37, 4, 2, 12, 9};
    Problem<T> p(s, random, 2, 2);
    reference::Planes planes;
    planes.planes = 5;
    planes.theta = random.frequencies(5);
    const grape::RoPE<T> rope{grape::Spectrum(planes.theta)};
    const auto at_keys = rope.at(Positions::range(100, 37));
    const auto at_queries = rope.at(Positions::range(137 - queries, queries));
    const auto turned = [&](Strided<T>& x, std::int64_t start) {
      const auto r = reference::rotate(planes, x.shape(), x.values(), [&](Index, Index t) {
        return start + static_cast<std::int64_t>(t);
      });
      return std::vector<double>(r.value.begin(), r.value.end());
    };
    const std::vector<T> q_before = p.q.memory(), k_before = p.k.memory();
    const Rules rules{.causal = true, .scale = default_scale(s)};
    const auto want =
        attention::attend(s, rules, turned(p.q, 137 - queries), turned(p.k, 100), p.v.values());
    AttendOptions<A> options{.rotation = &at_queries, .key_rotation = &at_keys, .causal = true};
    grape::attend(p.q.tensor(), p.k.tensor(), p.v.tensor(), p.out.tensor(), options);
    EXPECT_TRUE(attention::close<T>(p.out.values(), want.out, want.error));
    EXPECT_TRUE(same_bits(q_before, p.q.memory()) && same_bits(k_before, p.k.memory()));
    const std::vector<double> first = p.out.values();

    if (queries == 37) {  // one action serves both sides
      grape::attend(p.q.tensor(), p.k.tensor(), p.v.tensor(), p.out.tensor(),
                    {.rotation = &at_keys, .causal = true});
      EXPECT_EQ(p.out.values(), first);
    }
    if constexpr (std::same_as<T, A>) {  // keys rotated on arrival
      // In strides of their own, not those of attend()'s copy: another kernel turns them, and where
      // there are fused multiplications it may round the other of two products.
      grape::apply_rotation(at_keys, p.k.tensor());
      grape::attend(p.q.tensor(), p.k.tensor(), p.v.tensor(), p.out.tensor(),
                    {.rotation = &at_queries, .keys_rotated = true, .causal = true});
      EXPECT_TRUE(attention::close<T>(p.out.values(), want.out, want.error));
    }
  }
}

TYPED_TEST(Attend, ForgetGatesInChunksAreTheWholePass) {
  using T = TypeParam;
  Random random(504);
  const Shape s{2, 150, 150, 4, 4, 8, 8};
  Problem<T> p(s, random, 0, 2);
  const std::vector<double> gates = random.uniforms(2 * 150 * 4, -0.3, 0);
  const grape::FoX<T> fox(4);
  const auto decay = fox.at(grape::blh(gates.data(), 2, 150, 4));
  expect_attention<T>(
      p, {.causal = true, .scale = default_scale(s), .bias = attention::entries_of(decay, 4)},
      {.bias = &decay, .causal = true});
  // Queries 70 .. 149 against all keys, and queries 70 .. 99 against the first 100.
  for (const Index end : {150, 100}) {
    std::vector<double> some;
    for (Index b = 0; b < 2; ++b) {
      const auto first = gates.begin() + b * 150 * 4;
      some.insert(some.end(), first, first + end * 4);
    }
    const auto chunk = fox.at(grape::blh(some.data(), 2, end, 4), grape::QueryRange{70, end - 70});
    Problem<T> part({2, end - 70, end, 4, 4, 8, 8}, random, 0, 2);
    expect_attention<T>(
        part, {.causal = true, .scale = default_scale(s), .bias = attention::entries_of(chunk, 4)},
        {.bias = &chunk, .causal = true});
  }
}

// A bias that sums edges from the query back, and insists on how its tiles are visited.
template <class A>
struct Edges {
  Index size;
  Index batch() const { return 1; }
  Index heads() const { return 1; }
  Index queries() const { return size; }
  Index keys() const { return size; }
  static double edge(Index i, Index l) { return -0.01 * static_cast<double>((i * 7 + l * 3) % 5); }
  void tile(const grape::ScoreTile& w, A* out, Index stride) const {
    for (Index r = 0; r < w.queries; ++r) {
      for (Index c = 0; c < w.keys; ++c) {
        double sum = 0;
        for (Index l = w.key + c + 1; l <= w.query + r; ++l) sum += edge(w.query + r, l);
        out[r * stride + c] = static_cast<A>(sum);
      }
    }
  }
  void add_tile(const grape::ScoreTile& w, A* scores, Index stride, double* carry) const {
    for (Index r = 0; r < w.queries; ++r) {
      for (Index c = w.keys; c-- > 0;) {
        if (w.key + c > w.query + r) continue;
        scores[r * stride + c] += static_cast<A>(carry[r]);
        carry[r] += edge(w.query + r, w.key + c);
      }
    }
  }
};

TYPED_TEST(Attend, CarriesABiasFromTheQueryBack) {
  using T = TypeParam;
  using A = grape::accumulation_t<T>;
  Random random(505);
  const Index size = 201;
  const grape::BiasAction<A> bias(Edges<A>{size});
  for (const bool causal : {true, false}) {
    for (const Index length : {Index{0}, Index{50}, Index{130}, size}) {
      for (const Index window : {size, Index{70}}) {
        Problem<T> p({1, size, size, 2, 1, 5, 5}, random);
        const Rules rules{.causal = causal,
                          .window = window,
                          .lengths = {length},
                          .scale = default_scale(p.shape),
                          .bias = attention::entries_of(bias, 2)};
        expect_attention<T>(
            p, rules,
            {.bias = &bias, .causal = causal, .window = window, .key_lengths = rules.lengths});
      }
    }
  }
}

TYPED_TEST(Attend, HugeLogitsDoNotOverflowAndHiddenRowsAreZero) {
  using T = TypeParam;
  Random random(506);
  const Shape s{1, 80, 80, 1, 1, 4, 4};
  for (const double scale : {1e4, -1e4, 0.0}) {
    Problem<T> p(s, random);
    expect_attention<T>(p, {.causal = true, .scale = scale}, {.causal = true, .scale = scale});
    for (const double x : p.out.values()) ASSERT_TRUE(std::isfinite(x));
  }
  Problem<T> p(s, random);
  std::vector<Index> offset{-30};
  expect_attention<T>(p, {.causal = true, .offsets = offset, .scale = 1},
                      {.causal = true, .query_offsets = offset, .scale = 1.0});
  const std::vector<double> out = p.out.values();
  EXPECT_TRUE(std::all_of(out.begin(), out.begin() + 30 * 4, [](double x) { return x == 0; }));
  // Every key hidden by a bias.
  const auto bias =
      grape::ALiBi<T>(std::vector{1.0}).at(Positions::range(-100, 80), Positions::range(0, 80));
  expect_attention<T>(p, {.scale = 1, .bias = attention::entries_of(bias, 1)},
                      {.bias = &bias, .scale = 1.0});
  for (const double x : p.out.values()) ASSERT_EQ(x, 0);
}

TYPED_TEST(Attend, NanPropagatesButNotFromPadding) {
  using T = TypeParam;
  using A = grape::accumulation_t<T>;
  Random random(507);
  Problem<T> p({1, 70, 70, 1, 1, 4, 4}, random);
  const auto nan = static_cast<T>(std::numeric_limits<A>::quiet_NaN());
  const auto run = [&](AttendOptions<A> options) {
    grape::attend(p.q.tensor(), p.k.tensor(), p.v.tensor(), p.out.tensor(), options);
    std::vector<bool> bad;
    for (const double x : p.out.values()) bad.push_back(std::isnan(x));
    return bad;
  };
  const auto count = [](const std::vector<bool>& x) {
    return std::count(x.begin(), x.end(), true);
  };
  for (Index d = 0; d < 4; ++d) {
    p.k.tensor()(0, 66, 0, d) = nan;
    p.v.tensor()(0, 67, 0, d) = nan;
  }
  const std::vector<Index> length{66};
  EXPECT_EQ(count(run({.key_lengths = length})), 0);
  EXPECT_EQ(count(run({})), 70 * 4);
  p.q.tensor()(0, 3, 0, 1) = nan;
  const auto bad = run({.key_lengths = length});
  EXPECT_EQ(count(bad), 4);
  EXPECT_TRUE(bad[12] && bad[15]);
}

TYPED_TEST(Attend, SameBitsOnAnyExecutor) {
  using T = TypeParam;
  using A = grape::accumulation_t<T>;
  Random random(508);
  const grape::RoPE<T> rope{grape::Spectrum(random.frequencies(4))};
  for (const Index queries : {7, 200}) {
    const auto at_queries = rope.at(Positions::range(200 - queries, queries));
    const auto at_keys = rope.at(Positions::range(0, 200));
    const auto bias =
        grape::ALiBi<T>(4).at(Positions::range(200 - queries, queries), Positions::range(0, 200));
    Problem<T> p({2, queries, 200, 8, 4, 10, 10}, random);
    const AttendOptions<A> options{
        .rotation = &at_queries, .key_rotation = &at_keys, .bias = &bias, .causal = true};
    grape::attend(p.q.tensor(), p.k.tensor(), p.v.tensor(), p.out.tensor(), options);
    const std::vector<T> serial = p.out.memory();
    grape::attend(p.q.tensor(), p.k.tensor(), p.v.tensor(), p.out.tensor(), options, Reversed{});
    EXPECT_TRUE(same_bits(serial, p.out.memory()));
    grape::attend(p.q.tensor(), p.k.tensor(), p.v.tensor(), p.out.tensor(), options, Threads{3});
    EXPECT_TRUE(same_bits(serial, p.out.memory()));
  }
}

// Skipping leaves out what it may and no more: a decay of 1 a token hides all but a few tiles, so
// that keys far away, NaN or not, are not looked at.
TYPED_TEST(Attend, SkipsTilesWithinTheBound) {
  using T = TypeParam;
  using A = grape::accumulation_t<T>;
  Random random(510);
  const Index size = 400;
  const std::vector<double> slopes{1.0, 0.01};
  const auto positions = Positions::range(0, size);
  const auto alibi = grape::ALiBi<T>(slopes).at(positions, positions);
  const std::vector<double> gates = random.uniforms(size * 2, -2, 0);
  const auto fox = grape::FoX<T>(2).at(grape::blh(gates.data(), 1, size, 2));
  for (const auto* bias : {&alibi, &fox}) {
    Problem<T> p({1, size, size, 2, 2, 6, 6}, random);
    const auto run = [&](double skip_below) {
      grape::attend(p.q.tensor(), p.k.tensor(), p.v.tensor(), p.out.tensor(),
                    {.bias = bias, .causal = true, .skip_below = skip_below});
      return p.out.values();
    };
    const std::vector<double> whole = run(0);
    for (const double bound : {1e-2, 1e-6, 1e-12}) {
      const std::vector<double> some = run(bound);
      const double stored = 4 * (Rounding<T>::unit + static_cast<double>(size) * Rounding<A>::unit);
      for (std::size_t i = 0; i < some.size(); ++i) {
        ASSERT_NEAR(some[i], whole[i], 2 * static_cast<double>(size) * bound + stored);
      }
    }
    // Head 0 forgets: with NaN in its first 64 keys, late queries see them only where none is
    // skipped.
    for (Index j = 0; j < 64; ++j) {
      p.v.tensor()(0, j, 0, 0) = static_cast<T>(std::numeric_limits<A>::quiet_NaN());
    }
    run(0);
    EXPECT_TRUE(std::isnan(static_cast<double>(static_cast<A>(p.out.tensor()(0, 399, 0, 0)))));
    run(1e-12);
    EXPECT_FALSE(std::isnan(static_cast<double>(static_cast<A>(p.out.tensor()(0, 399, 0, 0)))));
  }
}

// A key that is no number may not be skipped as one of no weight.
TEST(AttendSkip, KeepsTilesOfKeysThatAreNoNumbers) {
  Random random(511);
  Problem<float> p({1, 300, 300, 1, 1, 4, 4}, random);
  const auto bias =
      grape::ALiBi<float>(std::vector{4.0}).at(Positions::range(0, 300), Positions::range(0, 300));
  p.k.tensor()(0, 5, 0, 2) = std::numeric_limits<float>::quiet_NaN();
  grape::attend(p.q.tensor(), p.k.tensor(), p.v.tensor(), p.out.tensor(),
                {.bias = &bias, .causal = true, .skip_below = 1e-6});
  for (Index t = 0; t < 300; ++t) {
    ASSERT_EQ(std::isnan(p.out.tensor()(0, t, 0, 0)), t >= 5) << t;
  }
}

TYPED_TEST(Attend, EmptyTensors) {
  using T = TypeParam;
  Random random(509);
  for (const Shape s :
       {Shape{0, 3, 3, 2, 2, 4, 4}, Shape{2, 0, 3, 2, 2, 4, 4}, Shape{2, 3, 0, 2, 2, 4, 4},
        Shape{2, 3, 3, 0, 2, 4, 4}, Shape{2, 3, 3, 2, 2, 4, 0}}) {
    Problem<T> p(s, random);
    expect_attention<T>(p, {.scale = 0.5}, {});
  }
}

TEST(AttendErrors, AScaleMustBeFiniteAsAFloat) {
  Random random(510);
  Problem<float> p({1, 2, 2, 1, 1, 4, 4}, random);
  EXPECT_TRUE(rejects(
      [&] {
        grape::attend(p.q.tensor(), p.k.tensor(), p.v.tensor(), p.out.tensor(), {.scale = 1e39});
      },
      "scale", "e+3", "finite"));
}

TEST(AttendErrors, NameWhatDoesNotFit) {
  std::vector<float> data(4096), other(4096, 7.0f);
  const auto view = [&](Index b, Index l, Index h, Index d) {
    return grape::blhd(data.data(), b, l, h, d);
  };
  const auto out = grape::blhd(other.data(), 2, 8, 4, 6);
  const auto q = view(2, 8, 4, 6), k = view(2, 8, 2, 6);
  using Options = AttendOptions<float>;
  const auto call = [&](auto q_, auto k_, auto v_, auto out_, Options options = {}) {
    return [=] { grape::attend(q_, k_, v_, out_, options); };
  };
  EXPECT_TRUE(rejects(call(q, view(1, 8, 2, 6), k, out), "k batch", "1", "2"));
  EXPECT_TRUE(rejects(call(q, k, view(3, 8, 2, 6), out), "v batch", "3", "2"));
  EXPECT_TRUE(rejects(call(q, k, view(2, 7, 2, 6), out), "v seq", "7", "8"));
  EXPECT_TRUE(rejects(call(q, k, view(2, 8, 4, 6), out), "v heads", "4", "2"));
  EXPECT_TRUE(rejects(call(q, view(2, 8, 3, 6), view(2, 8, 3, 6), out), "k heads", "3", "4"));
  EXPECT_TRUE(rejects(call(q, view(2, 8, 0, 6), view(2, 8, 0, 6), out), "k heads", "0", "4"));
  EXPECT_TRUE(rejects(call(q, view(2, 8, 2, 5), k, out), "k dim", "5", "6"));
  EXPECT_TRUE(rejects(call(view(2, 8, 4, 0), view(2, 8, 2, 0), k, out), "q dim", "0", "1"));
  EXPECT_TRUE(rejects(call(view(1, 8, 4, 6), view(1, 8, 2, 6), view(1, 8, 2, 6), out), "out batch",
                      "2", "1"));
  EXPECT_TRUE(rejects(call(view(2, 9, 4, 6), k, k, out), "out seq", "8", "9"));
  EXPECT_TRUE(rejects(call(view(2, 8, 2, 6), k, k, out), "out heads", "4", "2"));
  EXPECT_TRUE(rejects(call(q, k, view(2, 8, 2, 5), out), "out dim", "6", "5"));
  EXPECT_TRUE(rejects(call(q, k, k, view(2, 8, 4, 6)), "out", "shares", "its own"));
  EXPECT_TRUE(rejects(call(q, k, k, out, {.window = 0}), "window", "0", ">= 1"));
  const std::vector<Index> lengths{3}, outside{3, 9}, offsets{1, 2, 3}, far{Index{1} << 62};
  EXPECT_TRUE(rejects(call(q, k, k, out, {.key_lengths = lengths}), "key_lengths", "1", "2"));
  EXPECT_TRUE(rejects(call(q, k, k, out, {.key_lengths = outside}), "key_lengths[1]", "9", "8"));
  EXPECT_TRUE(rejects(call(q, k, k, out, {.query_offsets = offsets}), "query_offsets", "3", "2"));
  EXPECT_TRUE(
      rejects(call(q, k, k, out, {.query_offsets = far}), "query_offsets[0]", "46", "2^61"));
  EXPECT_TRUE(
      rejects(call(q, k, k, out, {.scale = attention::kInfinity}), "scale", "inf", "finite"));
  EXPECT_TRUE(rejects(call(q, k, k, out, {.skip_below = 1}), "skip_below", "1", "[0, 1)"));
  std::vector<float> sums(5);
  EXPECT_TRUE(rejects(call(q, k, k, out, {.log_sum = sums}), "log_sum", "5", "64"));

  const grape::ALiBi<float> alibi(3), four(4);
  const auto bias = [&](const auto& encoder, Index queries, Index keys) {
    return encoder.at(Positions::range(0, queries), Positions::range(0, keys));
  };
  const auto three = bias(alibi, 8, 8), short_q = bias(four, 7, 8), short_k = bias(four, 8, 7);
  EXPECT_TRUE(rejects(call(q, k, k, out, {.bias = &three}), "q", "4", "3"));
  EXPECT_TRUE(rejects(call(q, k, k, out, {.bias = &short_q}), "bias queries", "7", "8"));
  EXPECT_TRUE(rejects(call(q, k, k, out, {.bias = &short_k}), "bias keys", "7", "8"));

  const grape::RoPE<float> rope(grape::spectrum::log_uniform(6, 10000.0));
  const grape::RoPE<float> wide(grape::spectrum::log_uniform(8, 10000.0));
  const auto r8 = rope.at(Positions::range(0, 8)), r7 = rope.at(Positions::range(0, 7));
  const auto w8 = wide.at(Positions::range(0, 8));
  EXPECT_TRUE(rejects(call(q, k, k, out, {.rotation = &r7}), "q seq", "8", "7"));
  EXPECT_TRUE(rejects(call(q, k, k, out, {.rotation = &w8}), "q dim", "6", "8"));
  EXPECT_TRUE(
      rejects(call(q, k, k, out, {.rotation = &r8, .key_rotation = &r7}), "k seq", "8", "7"));
  EXPECT_TRUE(rejects(call(q, k, k, out, {.key_rotation = &r8}), "key_rotation", "", "rotation"));
  EXPECT_TRUE(
      rejects(call(q, k, k, out, {.rotation = &r8, .key_rotation = &r8, .keys_rotated = true}),
              "key_rotation", "keys_rotated", "one"));
  EXPECT_TRUE(rejects(call(q, view(2, 5, 2, 6), view(2, 5, 2, 6), out, {.rotation = &r8}),
                      "key_rotation", "none", "keys_rotated"));
  for (const float x : other) ASSERT_EQ(x, 7.0f);
}

}  // namespace
