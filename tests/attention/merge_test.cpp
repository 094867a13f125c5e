// SPDX-License-Identifier: Apache-2.0
#include "grape/attention/merge.hpp"

#include <gtest/gtest.h>

#include "attention/problem.hpp"
#include "grape/attention/attend.hpp"
#include "grape/encoder/slice_bias.hpp"
#include "grape/presets.hpp"
#include "support/errors.hpp"
#include "support/executors.hpp"

namespace {

using attention::Problem;
using attention::Rules;
using attention::Shape;
using grape::Index;
using grape::Positions;
using grape::TensorView;

template <class T>
class Merge : public testing::Test {};
TYPED_TEST_SUITE(Merge, ElementTypes);

// Tokens [first, first + count).
template <class T>
TensorView<T> part(TensorView<T> x, Index first, Index count) {
  return {count == 0 ? x.data() : &x(0, first, 0, 0),
          {x.batch(), count, x.heads(), x.dim()},
          {x.stride(0), x.stride(1), x.stride(2), x.stride(3)}};
}

// Attention over keys [begin, end) of a problem whose queries stand at `at`.
struct Shard {
  Index begin, end;
};

constexpr Index kAt = 60;  // of the first query, among 110 keys: behind, on and before the shards
constexpr Shape kShape{2, 30, 110, 4, 2, 8, 5};

// The reference's bound for one pass, and for each merge 8 roundings of weights whose exponents are
// off by twice the error of a logarithm; parts are rounded to T, values are at most `size`.
template <class T>
std::vector<double> merged_error(const attention::Result& want, std::size_t merges, double size) {
  using A = grape::accumulation_t<T>;
  double slack = 0;
  for (const double x : want.log_error) slack = std::max(slack, x);
  std::vector<double> error = want.error;
  const double rounded = std::same_as<T, A> ? 0 : Rounding<T>::unit / Rounding<A>::unit;
  for (double& x : error) {
    x += static_cast<double>(merges) * size * (4 * slack + 8 + rounded);
  }
  return error;
}

TYPED_TEST(Merge, ShardsOfTheKeysAreTheWhole) {
  using T = TypeParam;
  using A = grape::accumulation_t<T>;
  Random random(571);
  for (const bool causal : {true, false}) {
    Problem<T> p(kShape, random, 2, 2);
    const Rules rules{.causal = causal, .offsets = {kAt}, .scale = 0.5};
    const auto want = attention::attend(kShape, rules, p.q.values(), p.k.values(), p.v.values());
    const std::vector<std::vector<Shard>> orders = {
        {{0, 50}, {50, 110}},
        {{80, 110}, {0, 64}, {64, 80}},  // one that causal queries see in part, or not at all
        {{0, 1}, {40, 40}, {1, 110}},
        {{0, 110}}};
    for (const auto& shards : orders) {
      // The sum is in A, and begins with whatever lies there.
      Strided<A> out(layouts(2, 30, 4, 5)[1], random);
      out.memory().assign(out.memory().size(), std::numeric_limits<A>::quiet_NaN());
      const std::vector<A> before = out.memory();
      std::vector<A> log_sum(2 * 4 * 30, -std::numeric_limits<A>::infinity()), shard_log_sum(240);
      for (const Shard& s : shards) {
        const std::vector<Index> offset{kAt - s.begin};
        grape::attend(
            p.q.tensor(), part(p.k.tensor(), s.begin, s.end - s.begin),
            part(p.v.tensor(), s.begin, s.end - s.begin), p.out.tensor(),
            {.causal = causal, .query_offsets = offset, .scale = 0.5, .log_sum = shard_log_sum});
        grape::merge_attention(out.tensor(), log_sum, p.out.tensor(), shard_log_sum);
      }
      EXPECT_TRUE(out.same_outside(before));
      EXPECT_TRUE(
          attention::close<A>(out.values(), want.out, merged_error<T>(want, shards.size(), 2)));
      std::vector<double> log_error = want.log_error;
      for (double& x : log_error) x *= 1 + static_cast<double>(shards.size());
      EXPECT_TRUE(attention::close<A>({log_sum.begin(), log_sum.end()}, want.log_sum, log_error));
    }
  }
}

// Biases that depend on tokens between query and key, and rotations at positions of their own.
TYPED_TEST(Merge, ShardsWithEncodingsAreTheWhole) {
  using T = TypeParam;
  using A = grape::accumulation_t<T>;
  Random random(572);
  constexpr Index kSeq = 90;
  const Shape s{2, kSeq, kSeq, 4, 2, 8, 8};
  Problem<T> p(s, random, 0, 1);
  const std::vector<double> gates = random.uniforms(2 * kSeq * 4, -0.3, 0);
  const std::vector<double> features = random.uniforms(2 * kSeq * 2 * 6, -1, 1);
  const auto fox = grape::FoX<T>(4).at(grape::blh(gates.data(), 2, kSeq, 4));
  const auto ap = grape::PathIntegral<T>(2).at(grape::blhd(features.data(), 2, kSeq, 2, 6));
  const grape::RoPE<T> rope{grape::Spectrum(random.frequencies(4))};
  const auto turned = rope.at(Positions::range(0, kSeq));
  for (const auto& bias : {fox, ap, grape::sum(fox, ap)}) {
    std::vector<A> whole_log_sum(2 * 4 * kSeq);
    grape::attend(p.q.tensor(), p.k.tensor(), p.v.tensor(), p.out.tensor(),
                  {.rotation = &turned, .bias = &bias, .causal = true, .log_sum = whole_log_sum});
    const std::vector<double> whole = p.out.values();
    for (const Shard& queries : {Shard{0, 30}, Shard{30, 60}, Shard{60, 90}}) {
      Strided<A> out(layouts(2, 30, 4, 8)[0], random);
      Strided<T> shard_out(layouts(2, 30, 4, 8)[0], random);
      std::vector<A> log_sum(2 * 4 * 30, -std::numeric_limits<A>::infinity()), shard_log_sum(240);
      const auto at_queries = rope.at(Positions::range(queries.begin, 30));
      for (const Shard& keys : {Shard{30, 60}, Shard{60, 90}, Shard{0, 30}}) {
        const auto at_keys = rope.at(Positions::range(keys.begin, 30));
        const auto shard = grape::slice(bias, {queries.begin, 30, keys.begin, 30});
        const std::vector<Index> offset{queries.begin - keys.begin};
        grape::attend(part(p.q.tensor(), queries.begin, 30), part(p.k.tensor(), keys.begin, 30),
                      part(p.v.tensor(), keys.begin, 30), shard_out.tensor(),
                      {.rotation = &at_queries,
                       .key_rotation = &at_keys,
                       .bias = &shard,
                       .causal = true,
                       .query_offsets = offset,
                       .log_sum = shard_log_sum});
        grape::merge_attention(out.tensor(), log_sum, shard_out.tensor(), shard_log_sum);
      }
      // Scores below 3 + 60, to some 40 roundings of that; values below 1, three parts rounded to
      // T.
      const double unit = Rounding<A>::unit;
      const double stored = std::same_as<T, A> ? 0 : 4 * Rounding<T>::unit;
      const double bound = 3 * (2 * 40 * 63 + 2 * kSeq) * unit + stored;
      const std::vector<double> got = out.values();
      std::size_t at = 0;
      for (Index b = 0; b < 2; ++b) {
        for (Index t = 0; t < 30; ++t) {
          for (Index i = 0; i < 4 * 8; ++i, ++at) {
            ASSERT_NEAR(got[at],
                        whole[static_cast<std::size_t>((b * kSeq + queries.begin + t) * 32 + i)],
                        bound);
          }
        }
      }
    }
  }
}

// With the whole's output and sums, the gradients of the shards are parts of the whole's.
TEST(MergeVjp, GradientsOfShardsAddUp) {
  Random random(573);
  Problem<double> p(kShape, random), d(kShape, random), got(kShape, random);
  std::vector<double> log_sum(2 * 4 * 30);
  const std::vector<Index> offset{kAt};
  grape::attend(p.q.tensor(), p.k.tensor(), p.v.tensor(), p.out.tensor(),
                {.causal = true, .query_offsets = offset, .log_sum = log_sum});
  const TensorView<double> d_out = d.out.tensor();
  grape::attend_vjp<double>({p.q.tensor(), p.k.tensor(), p.v.tensor(), p.out.tensor()}, d_out,
                            {d.q.tensor(), d.k.tensor(), d.v.tensor()},
                            {.causal = true, .query_offsets = offset, .log_sum = log_sum});
  std::vector<double> d_q(p.q.values().size(), 0.0);
  for (const Shard& s : {Shard{0, 50}, Shard{50, 83}, Shard{83, 110}}) {
    const std::vector<Index> at{kAt - s.begin};
    const auto shard = [&](Strided<double>& x) {
      return part(x.tensor(), s.begin, s.end - s.begin);
    };
    grape::attend_vjp<double>({p.q.tensor(), shard(p.k), shard(p.v), p.out.tensor()}, d_out,
                              {got.q.tensor(), shard(got.k), shard(got.v)},
                              {.causal = true, .query_offsets = at, .log_sum = log_sum});
    const std::vector<double> some = got.q.values();
    for (std::size_t i = 0; i < d_q.size(); ++i) d_q[i] += some[i];
  }
  // Numbers below 1 and weights that add up to 1: products of some 30 terms, sums over the keys.
  const double bound = Rounding<double>::unit * 110 * 64;
  const std::vector<double> want_q = d.q.values();
  for (std::size_t i = 0; i < d_q.size(); ++i) ASSERT_NEAR(d_q[i], want_q[i], bound);
  const auto expect_near = [&](const std::vector<double>& a, const std::vector<double>& b) {
    ASSERT_EQ(a.size(), b.size());
    for (std::size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], bound);
  };
  expect_near(got.k.values(), d.k.values());
  expect_near(got.v.values(), d.v.values());
}

TYPED_TEST(Merge, RowsWithoutKeysAreZerosAndNaNPropagates) {
  using T = TypeParam;
  using A = grape::accumulation_t<T>;
  constexpr A kNone = -std::numeric_limits<A>::infinity();
  constexpr A kNaN = std::numeric_limits<A>::quiet_NaN();
  const auto nan = static_cast<T>(kNaN);
  const auto t = [](double x) { return static_cast<T>(static_cast<A>(x)); };
  // Neither side; one; the other; both; a side whose weight underflows.
  std::vector<T> out{nan, t(1), nan, t(1), t(1)}, other{nan, nan, t(2), t(3), t(2)};
  std::vector<A> log_sum{kNone, A(0.5), kNone, A(0), A(-1e4)};
  const std::vector<A> other_log_sum{kNone, kNone, A(7), A(0), A(1e4)};
  grape::merge_attention(grape::blhd(out.data(), 1, 5, 1, 1), log_sum,
                         grape::blhd(other.data(), 1, 5, 1, 1), other_log_sum);
  EXPECT_EQ(out, (std::vector<T>{t(0), t(1), t(2), t(2), t(2)}));
  EXPECT_TRUE(grape::detail::is_minus_infinity(log_sum[0]));
  EXPECT_EQ(log_sum[1], A(0.5));
  EXPECT_EQ(log_sum[2], A(7));
  EXPECT_NEAR(log_sum[3], std::log(2.0), 2 * Rounding<A>::unit);
  EXPECT_EQ(log_sum[4], A(1e4));

  std::vector<T> a{t(1), nan, t(1)}, b{nan, t(1), t(1)};
  std::vector<A> log_a{0, 0, kNaN};
  const std::vector<A> log_b{0, 0, 0};
  grape::merge_attention(grape::blhd(a.data(), 1, 3, 1, 1), log_a,
                         grape::blhd(b.data(), 1, 3, 1, 1), log_b);
  for (const T x : a) EXPECT_TRUE(std::isnan(static_cast<A>(x)));
  EXPECT_TRUE(std::isnan(log_a[2]));
}

TYPED_TEST(Merge, SameBitsOnAnyExecutor) {
  using T = TypeParam;
  using A = grape::accumulation_t<T>;
  Random random(574);
  Strided<T> out(layouts(3, 7, 4, 6)[4], random), other(layouts(3, 7, 4, 6)[6], random);
  std::vector<A> log_sum(3 * 7 * 4), other_log_sum(3 * 7 * 4);
  for (A& x : log_sum) x = static_cast<A>(random.uniform(-3, 3));
  for (A& x : other_log_sum) x = static_cast<A>(random.uniform(-3, 3));
  const auto run = [&](const auto& executor) {
    Strided<T> own = out;
    std::vector<A> sums = log_sum;
    grape::merge_attention(own.tensor(), sums, other.tensor(), other_log_sum, executor);
    return std::pair{own.memory(), sums};
  };
  const auto serial = run(grape::Serial{}), reversed = run(Reversed{}), threads = run(Threads{3});
  EXPECT_TRUE(same_bits(serial.first, reversed.first) && same_bits(serial.first, threads.first));
  EXPECT_TRUE(same_bits(serial.second, reversed.second));
  EXPECT_TRUE(same_bits(serial.second, threads.second));
}

TEST(MergeErrors, NameWhatDoesNotFit) {
  std::vector<float> data(200), other(200), sums(30), more(30);
  const auto view = [](std::vector<float>& x, Index b, Index l, Index h, Index d) {
    return grape::blhd(x.data(), b, l, h, d);
  };
  const auto out = view(data, 2, 3, 5, 4);
  const auto merge = [&](TensorView<float> x, std::span<float> a, std::span<const float> b) {
    return [=] { grape::merge_attention(out, a, x, b); };
  };
  EXPECT_TRUE(rejects(merge(view(other, 1, 3, 5, 4), sums, more), "part batch", "1", "2"));
  EXPECT_TRUE(rejects(merge(view(other, 2, 2, 5, 4), sums, more), "part seq", "2", "3"));
  EXPECT_TRUE(rejects(merge(view(other, 2, 3, 4, 4), sums, more), "part heads", "4", "5"));
  EXPECT_TRUE(rejects(merge(view(other, 2, 3, 5, 3), sums, more), "part dim", "3", "4"));
  const auto fits = view(other, 2, 3, 5, 4);
  const std::span<float> all(sums);
  EXPECT_TRUE(rejects(merge(fits, all.first(29), more), "log_sum", "29", "30"));
  EXPECT_TRUE(rejects(merge(fits, sums, {}), "part_log_sum", "0", "30"));
  EXPECT_TRUE(
      rejects(merge(fits, sums, sums), "part_log_sum", "entries of log_sum", "memory of its own"));
  EXPECT_TRUE(rejects(merge(out, sums, more), "part", "out", "memory of its own"));
  EXPECT_EQ(data, std::vector<float>(200));
  // An empty tensor is nothing to do.
  grape::merge_attention(view(data, 2, 0, 5, 4), {}, view(other, 2, 0, 5, 4), {});
}

}  // namespace
