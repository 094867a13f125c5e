// SPDX-License-Identifier: Apache-2.0
// A cache whose keys move, and one whose tokens leave.
#include <gtest/gtest.h>

#include "attention/problem.hpp"
#include "attention/sequence.hpp"
#include "grape/attention/cache.hpp"
#include "grape/generator/learned_planes.hpp"
#include "grape/math/frame.hpp"
#include "grape/presets.hpp"
#include "grape/spectrum/log_uniform.hpp"
#include "support/errors.hpp"
#include "support/executors.hpp"
#include "support/matrices.hpp"

namespace {

using attention::entry;
using attention::expect_near;
using attention::kBatch;
using attention::kDim;
using attention::kKeyHeads;
using attention::kTokens;
using attention::kValueDim;
using attention::part;
using attention::Sequence;
using grape::CachedKeys;
using grape::Index;
using grape::KeyValueCache;
using grape::Positions;
using grape::RotationAction;

template <class T>
class CacheShift : public testing::Test {};
TYPED_TEST_SUITE(CacheShift, ElementTypes);

// One token is asked at a time.
template <class T>
Sequence<T> sequence(Random& random) {
  return Sequence<T>(random, {0, 2, 3}, 1);
}

// Attention of token `last`'s query to the tokens of `window`, rotated where the window puts them:
// from 0 on.
template <class T>
std::vector<double> recompute(Sequence<T>& s, const grape::RoPE<T>& rope,
                              const std::vector<Index>& window, Index last) {
  const auto count = static_cast<Index>(window.size());
  std::vector<T> keys, values;
  for (Index b = 0; b < kBatch; ++b) {
    for (const Index t : window) {
      for (Index h = 0; h < kKeyHeads; ++h) {
        for (Index d = 0; d < kDim; ++d) keys.push_back(s.k.tensor()(b, t, h, d));
        for (Index d = 0; d < kValueDim; ++d) values.push_back(s.v.tensor()(b, t, h, d));
      }
    }
  }
  const auto at_keys = rope.at(Positions::range(0, count));
  const auto at_query = rope.at(Positions::range(count - 1, 1));
  grape::attend(part(s.q, last, 1), grape::blhd(keys.data(), kBatch, count, kKeyHeads, kDim),
                grape::blhd(values.data(), kBatch, count, kKeyHeads, kValueDim), s.out.tensor(),
                {.rotation = &at_query, .key_rotation = &at_keys});
  return s.out.values();
}

// Decoding on and on in a context of 40 positions: when it is full the oldest tokens go, but for
// `sinks` of them, and the rest moves up. Every step is attention to the tokens that are left, at
// positions that begin at 0. Queries and new keys never see a position beyond the context.
TYPED_TEST(CacheShift, PastTheContextIsTheWindowAtShiftedPositions) {
  using T = TypeParam;
  using A = grape::accumulation_t<T>;
  Random random(581);
  constexpr Index kContext = 40, kGone = 16;
  const grape::RoPE<T> rope(grape::spectrum::log_uniform(kDim, 100.0));
  for (const Index sinks : {0, 3}) {
    Sequence<T> s = sequence<T>(random);
    KeyValueCache<T> cache(kBatch, kKeyHeads, kDim, kValueDim);
    std::vector<Index> window;
    RotationAction<A> rotation;
    for (Index t = 0; t < kTokens; ++t) {
      if (cache.size() == kContext) {
        cache.erase(sinks, sinks + kGone);
        window.erase(window.begin() + sinks, window.begin() + sinks + kGone);
        cache.shift(rope, {sinks, cache.size(), -kGone});
        ASSERT_TRUE(cache.shift_pending());
        cache.apply_shifts(rope);
        ASSERT_FALSE(cache.shift_pending());
      }
      rope.at(Positions::range(cache.size(), 1), rotation);
      cache.append(part(s.k, t, 1), part(s.v, t, 1), &rotation);
      window.push_back(t);
      ASSERT_EQ(cache.size(), static_cast<Index>(window.size()));
      grape::attend(part(s.q, t, 1), cache, s.out.tensor(), {.rotation = &rotation});
      const std::vector<double> got = s.out.values();
      expect_near<T>(got, recompute(s, rope, window, t), 3);  // a token lives for two shifts
    }
  }
}

// A raw cache moves for nothing: the same steps, the positions being said when attention is made.
TYPED_TEST(CacheShift, RawKeysMoveByTheirNextRotation) {
  using T = TypeParam;
  using A = grape::accumulation_t<T>;
  Random random(582);
  const grape::RoPE<T> rope(grape::spectrum::log_uniform(kDim, 100.0));
  Sequence<T> s = sequence<T>(random);
  KeyValueCache<T, CachedKeys::raw> cache(kBatch, kKeyHeads, kDim, kValueDim);
  std::vector<Index> window;
  RotationAction<A> rotation, keys;
  for (Index t = 0; t < 100; ++t) {
    if (cache.size() == 40) {
      cache.erase(3, 19);
      window.erase(window.begin() + 3, window.begin() + 19);
      cache.shift(rope, {3, cache.size(), -16});
      ASSERT_FALSE(cache.shift_pending());
      cache.apply_shifts(rope);
    }
    rope.at(Positions::range(cache.size(), 1), rotation);
    cache.append(part(s.k, t, 1), part(s.v, t, 1));
    window.push_back(t);
    rope.at(Positions::range(0, cache.size()), keys);
    grape::attend(part(s.q, t, 1), cache, s.out.tensor(),
                  {.rotation = &rotation, .key_rotation = &keys});
    const std::vector<double> got = s.out.values();
    expect_near<T>(got, recompute(s, rope, window, t), 1);
  }
}

// Out of the cache again: with a query and a key that pick token t out, its value; here, simply,
// the outputs for a few fixed queries.
template <class T>
std::vector<T> bits(const KeyValueCache<T>& cache, Sequence<T>& s, const grape::RoPE<T>& rope) {
  const auto turn = rope.at(Positions::range(7, 1));
  grape::attend(part(s.q, 5, 1), cache, s.out.tensor(), {.rotation = &turn});
  return s.out.memory();
}

TYPED_TEST(CacheShift, MovesAddUpAndAreMadeOnce) {
  using T = TypeParam;
  Random random(583);
  const grape::RoPE<T> rope(grape::spectrum::log_uniform(kDim, 100.0));
  Sequence<T> s = sequence<T>(random);
  KeyValueCache<T> cache(kBatch, kKeyHeads, kDim, kValueDim);
  const auto turn = rope.at(Positions::range(0, kTokens));
  cache.append(s.k.tensor(), s.v.tensor(), &turn);
  cache.keep_last(140);  // chunks that begin in the middle
  const std::vector<T> before = bits(cache, s, rope);

  // There and back moves no bit, and copies that share the chunks stay as they are.
  KeyValueCache<T> fork = cache;
  fork.shift(rope, {0, 140, 100});
  fork.shift(rope, {0, 140, -100});
  EXPECT_FALSE(fork.shift_pending());
  fork.apply_shifts(rope);
  EXPECT_TRUE(same_bits(bits(fork, s, rope), before));

  KeyValueCache<T> steps = cache, once = cache, threads = cache;
  for (int i = 0; i < 1000; ++i) steps.shift(rope, {20, 130, 1});
  once.shift(rope, {20, 130, 1000});
  threads.shift(rope, {20, 130, 1000});
  const auto moved_cache = [&](KeyValueCache<T>& c, const auto& executor) {
    c.apply_shifts(rope, executor);
    return bits(c, s, rope);
  };
  const std::vector<T> moved = moved_cache(once, grape::Serial{});
  EXPECT_TRUE(same_bits(moved_cache(steps, Reversed{}), moved));
  EXPECT_TRUE(same_bits(moved_cache(threads, Threads{3}), moved));
  EXPECT_FALSE(same_bits(moved, before));
  EXPECT_TRUE(same_bits(bits(cache, s, rope), before));

  // Tokens that leave or come while moves wait: those stay where they were put.
  KeyValueCache<T> busy = cache, calm = cache;
  busy.shift(rope, {0, 140, 12});
  const auto late = rope.at(Positions::range(300, 10));
  busy.append(part(s.k, 0, 10), part(s.v, 0, 10), &late);
  busy.erase(0, 70);
  busy.erase(20, 30);
  busy.truncate(68);
  calm.shift(rope, {0, 140, 12});
  calm.apply_shifts(rope);
  calm.append(part(s.k, 0, 10), part(s.v, 0, 10), &late);
  calm.erase(0, 70);
  calm.erase(20, 30);
  calm.truncate(68);
  busy.apply_shifts(rope);
  EXPECT_EQ(busy.size(), 68);
  EXPECT_EQ(busy.evicted(0), 80);
  EXPECT_TRUE(same_bits(bits(busy, s, rope), bits(calm, s, rope)));
}

TYPED_TEST(CacheShift, MovesOneEntryAndAlongOneAxis) {
  using T = TypeParam;
  Random random(584);
  Sequence<T> s = sequence<T>(random);
  const grape::AxialRoPE<T> rope(grape::Spectrum(random.frequencies(4)),
                                 grape::AxialPath::sections({2, 1, 1}));
  const auto n = random.integers(3 * kTokens, -50, 50);
  std::vector<std::int64_t> moved = n;  // of batch entry 1
  for (Index t = 30; t < 100; ++t) moved[static_cast<std::size_t>(kTokens + t)] += 9;
  for (Index t = 0; t < 64; ++t) moved[static_cast<std::size_t>(2 * kTokens + t)] -= 5;
  const auto at = rope.at(Positions::axes(n, 3, 1, kTokens));
  KeyValueCache<T> cache(kBatch, kKeyHeads, kDim, kValueDim), want = cache;
  cache.append(s.k.tensor(), s.v.tensor(), &at);
  cache.shift(1, rope, {30, 100, 9, 1});
  cache.shift(1, rope, {0, 64, -5, 2});
  cache.apply_shifts(rope);
  const auto at_moved = rope.at(Positions::axes(moved, 3, 1, kTokens));
  want.append(0, entry(s.k.tensor(), 0), entry(s.v.tensor(), 0), &at);
  want.append(1, entry(s.k.tensor(), 1), entry(s.v.tensor(), 1), &at_moved);
  const std::vector<std::int64_t> query{3, -4, 5};
  const auto turn = rope.at(Positions::axes(query, 3, 1, 1));
  grape::attend(part(s.q, 0, 1), want, s.out.tensor(), {.rotation = &turn});
  const std::vector<double> expected = s.out.values();
  grape::attend(part(s.q, 0, 1), cache, s.out.tensor(), {.rotation = &turn});
  expect_near<T>(s.out.values(), expected, 2);
}

// A frame made of parameters is moved by the planes that it made.
TYPED_TEST(CacheShift, MovesKeysInFrames) {
  using T = TypeParam;
  Random random(586);
  Sequence<T> s = sequence<T>(random);
  const grape::HouseholderRoPE<T> framed(random_matrix(random, kDim, 4),
                                         grape::Spectrum({1.0, 0.25}, 1.5));
  KeyValueCache<T> cache(kBatch, kKeyHeads, kDim, kValueDim), want = cache;
  const auto at = framed.at(Positions::range(0, kTokens));
  const auto at_moved = framed.at(Positions::range(9, kTokens));
  const auto turn = framed.at(Positions::range(200, 1));
  cache.append(s.k.tensor(), s.v.tensor(), &at);
  cache.shift(framed, {0, kTokens, 9});
  cache.apply_shifts(framed);
  want.append(s.k.tensor(), s.v.tensor(), &at_moved);
  grape::attend(part(s.q, 0, 1), want, s.out.tensor(), {.rotation = &turn});
  const std::vector<double> expected = s.out.values();
  grape::attend(part(s.q, 0, 1), cache, s.out.tensor(), {.rotation = &turn});
  expect_near<T>(s.out.values(), expected, 2);
}

TEST(CacheShiftErrors, NameWhatDoesNotFit) {
  std::vector<float> data(1000), other(1000);
  const auto k = grape::blhd(data.data(), 1, 5, 2, 4);
  const auto out = grape::blhd(other.data(), 1, 5, 2, 4);
  const grape::RoPE<float> rope(grape::spectrum::log_uniform(4, 100.0));
  const grape::RoPE<float> slow(grape::spectrum::log_uniform(4, 500.0));
  const auto turn = rope.at(Positions::range(0, 5));
  KeyValueCache<float> cache(1, 2, 4, 4);
  cache.shift(rope, {0, 0, 3});  // nothing is held, and nothing moves
  cache.append(k, k, &turn);
  const auto shift = [&](const auto& encoder, grape::KeyShift by) {
    return [&cache, &encoder, by] { cache.shift(encoder, by); };
  };
  EXPECT_TRUE(rejects(shift(rope, {0, 6, 1}), "tokens", "[0, 6)", "the 5 tokens"));
  EXPECT_TRUE(rejects(shift(rope, {-1, 5, 1}), "tokens", "[-1, 5)", "the 5 tokens"));
  EXPECT_TRUE(rejects(shift(rope, {3, 2, 1}), "tokens", "[3, 2)", "the 5 tokens"));
  EXPECT_TRUE(rejects(shift(rope, {0, 5, 1, 1}), "axis", "1", "[0, 1)"));
  EXPECT_TRUE(rejects(shift(slow, {0, 5, 1}), "encoder", "differ", "the same"));
  EXPECT_TRUE(rejects([&] { cache.shift(1, rope, {0, 5, 1}); }, "batch entry", "1", "[0, 1)"));
  EXPECT_TRUE(rejects([&] { cache.erase(2, 6); }, "tokens", "[2, 6)", "the 5 tokens"));
  EXPECT_TRUE(rejects([&] { cache.erase(0, 4, 3); }, "tokens", "[4, 3)", "the 5 tokens"));
  EXPECT_FALSE(cache.shift_pending());
  const grape::RoPE<float> rounded(grape::CanonicalPlanes<float>(
      grape::spectrum::log_uniform(4, 100.0), grape::AngleProfile::float32_product));
  EXPECT_TRUE(rejects(shift(rounded, {0, 5, 1}), "encoder", "rounded angles", "exact"));

  cache.shift(rope, {0, 5, std::numeric_limits<std::int64_t>::max()});
  EXPECT_TRUE(rejects(shift(rope, {4, 5, 1}), "delta", "1", "64 bits"));
  EXPECT_TRUE(rejects([&] { grape::attend(k, cache, out, {.rotation = &turn}); }, "cache", "wait",
                      "apply_shifts()"));
  EXPECT_TRUE(rejects([&] { cache.apply_shifts(slow); }, "encoder", "differ", "the same"));
  const grape::AxialRoPE<float> grid(grape::spectrum::log_uniform(4, 100.0),
                                     grape::AxialPath::sections({1, 1}));
  EXPECT_TRUE(rejects(shift(grid, {0, 5, 1}), "encoder", "2 axes", "the 1"));
  EXPECT_TRUE(rejects([&] { cache.apply_shifts(grid); }, "encoder", "2 axes", "the 1"));
  cache.clear();
  cache.append(k, k);
  EXPECT_TRUE(rejects(shift(rope, {0, 5, 1}), "encoder", "a rotation", "without one"));
}

// Two frames of one spectrum are two rotations.
TEST(CacheErrors, AFrameThatDiffersIsNamed) {
  std::vector<double> data(500, 0.5), other(500);
  const auto k = grape::blhd(data.data(), 1, 5, 2, 4);
  const auto out = grape::blhd(other.data(), 1, 5, 2, 4);
  const grape::Spectrum spectrum(std::vector<double>{1.0, 0.25});
  Random random(585);
  const auto planes = [&] {
    return grape::Encoder<grape::LearnedPlanes<double>, grape::LinearPath>(
        grape::LearnedPlanes<double>(grape::frame::householder(random_matrix(random, 4, 4)),
                                     spectrum));
  };
  const auto first = planes(), second = planes();
  const auto a = first.at(Positions::range(0, 5)), b = second.at(Positions::range(0, 5));
  const auto again = first.at(Positions::range(5, 5));
  const auto plain = grape::RoPE<double>(spectrum).at(Positions::range(0, 5));
  KeyValueCache<double> cache(1, 2, 4, 4);
  cache.append(k, k, &a);
  cache.append(k, k, &again);
  EXPECT_TRUE(rejects([&] { cache.append(k, k, &b); }, "rotation", "a frame", "clear()"));
  EXPECT_TRUE(rejects([&] { cache.append(k, k, &plain); }, "rotation", "a frame", "clear()"));
  EXPECT_TRUE(rejects([&] { grape::attend(k, cache, out, {.rotation = &b}); }, "rotation",
                      "a frame", "clear()"));
  grape::attend(k, cache, out, {.rotation = &again});
  EXPECT_EQ(cache.size(), 10);
}

}  // namespace
