// SPDX-License-Identifier: Apache-2.0
#include "grape/attention/cache.hpp"

#include <gtest/gtest.h>

#include "attention/problem.hpp"
#include "attention/sequence.hpp"
#include "grape/presets.hpp"
#include "grape/spectrum/log_uniform.hpp"
#include "support/errors.hpp"
#include "support/executors.hpp"

namespace {

using attention::expect_near;
using attention::kBatch;
using attention::kDim;
using attention::kHeads;
using attention::kKeyHeads;
using attention::kTokens;
using attention::kValueDim;
using attention::Sequence;
using attention::Shape;
using grape::AttendOptions;
using grape::BiasAction;
using grape::CachedKeys;
using grape::Index;
using grape::KeyValueCache;
using grape::Positions;
using grape::RotationAction;

template <class T>
class Cache : public testing::Test {};
TYPED_TEST_SUITE(Cache, ElementTypes);

// The whole pass against chunks of the given sizes: `rotation(first, count)` and
// `bias(first, count)` make the actions of new tokens, and may return null.
template <class T, class RotationOf, class BiasOf>
void expect_streaming(Random& random, RotationOf&& rotation_of, BiasOf&& bias_of) {
  Sequence<T> s(random, {3, 3, 3});
  const RotationAction<grape::accumulation_t<T>>* rotation = rotation_of(0, kTokens);
  const BiasAction<grape::accumulation_t<T>>* bias = bias_of(0, kTokens);
  const bool rotated = rotation != nullptr;
  grape::attend(s.q.tensor(), s.k.tensor(), s.v.tensor(), s.out.tensor(),
                {.rotation = rotation, .bias = bias, .causal = true});
  const std::vector<double> whole = s.out.values();
  for (const bool single : {true, false}) {
    s.out.memory().assign(s.out.memory().size(), static_cast<T>(9));
    KeyValueCache<T> cache(kBatch, kKeyHeads, kDim, kValueDim);
    for (Index first = 0; first < kTokens;) {
      const Index count =
          single ? 1 : std::min<Index>(kTokens - first, random.integer(0, 1) == 0 ? 3 : 66);
      rotation = rotation_of(first, count);
      bias = bias_of(first, count);
      const auto part = [&](Strided<T>& x) { return attention::part(x, first, count); };
      cache.append(part(s.k), part(s.v), rotation);
      grape::attend(part(s.q), cache, part(s.out), {.rotation = rotation, .bias = bias});
      first += count;
    }
    ASSERT_EQ(cache.size(), kTokens);
    expect_near<T>(s.out.values(), whole, rotated ? 1 : 0);
  }
}

template <class A>
auto no_rotation() {
  return [](Index, Index) -> const RotationAction<A>* { return nullptr; };
}
template <class A>
auto no_bias() {
  return [](Index, Index) -> const BiasAction<A>* { return nullptr; };
}

TYPED_TEST(Cache, TokenByTokenIsTheWholePassWithoutEncoding) {
  using A = grape::accumulation_t<TypeParam>;
  Random random(541);
  expect_streaming<TypeParam>(random, no_rotation<A>(), no_bias<A>());
}

TYPED_TEST(Cache, TokenByTokenIsTheWholePassWithRoPE) {
  using A = grape::accumulation_t<TypeParam>;
  Random random(542);
  const grape::RoPE<TypeParam> rope(grape::spectrum::log_uniform(kDim, 10000.0));
  RotationAction<A> action;
  expect_streaming<TypeParam>(
      random,
      [&](Index first, Index count) {
        rope.at(Positions::range(1000 + first, count), action);
        return &action;
      },
      no_bias<A>());
}

TYPED_TEST(Cache, TokenByTokenIsTheWholePassWithALiBi) {
  using A = grape::accumulation_t<TypeParam>;
  Random random(543);
  const grape::ALiBi<TypeParam> alibi(kHeads);
  BiasAction<A> action;
  expect_streaming<TypeParam>(random, no_rotation<A>(), [&](Index first, Index count) {
    if (first == 0) action = {};
    alibi.append(Positions::range(first, count), action);
    return &action;
  });
}

TYPED_TEST(Cache, TokenByTokenIsTheWholePassWithFoXAndRoPE) {
  using A = grape::accumulation_t<TypeParam>;
  Random random(544);
  const std::vector<double> gates = random.uniforms(kBatch * kTokens * kHeads, -0.2, 0);
  const grape::FoX<TypeParam> fox(kHeads);
  const grape::RoPE<TypeParam> rope(grape::spectrum::log_uniform(kDim, 10000.0));
  RotationAction<A> rotation;
  BiasAction<A> decay;
  const auto bias_of = [&](Index first, Index count) {
    if (first == 0) decay = {};
    fox.append(
        grape::TensorView<const double>(gates.data() + first * kHeads, {kBatch, count, kHeads, 1},
                                        {kTokens * kHeads, kHeads, 1, 1}),
        decay);
    return &decay;
  };
  expect_streaming<TypeParam>(random, no_rotation<A>(), bias_of);
  expect_streaming<TypeParam>(
      random,
      [&](Index first, Index count) {
        rope.at(Positions::range(first, count), rotation);
        return &rotation;
      },
      bias_of);
}

TYPED_TEST(Cache, TokenByTokenIsTheWholePassWithContextualPhases) {
  using A = grape::accumulation_t<TypeParam>;
  Random random(545);
  const std::vector<double> omega = random.uniforms(kBatch * kTokens, 0, 2);
  const grape::ContextualRoPE<TypeParam> rope(grape::spectrum::log_uniform(kDim, 100.0));
  RotationAction<A> action;
  std::vector<double> phases;
  expect_streaming<TypeParam>(
      random,
      [&](Index first, Index count) {
        if (first == 0) phases.assign(kBatch, 0.0);
        const grape::TensorView<const double> some(omega.data() + first, {kBatch, count, 1, 1},
                                                   {kTokens, 1, 1, 1});
        rope.at(some, grape::PhaseCarry{phases}, action);
        return &action;
      },
      no_bias<A>());
}

TYPED_TEST(Cache, TokenByTokenIsTheWholePassWithPathIntegrals) {
  using T = TypeParam;
  Random random(551);
  Strided<T> features(layouts(kBatch, kTokens, kHeads, 6)[0], random);
  const std::vector<double> slopes(kHeads, 0.05);
  const grape::PathIntegral<T> ap(slopes);
  BiasAction<grape::accumulation_t<T>> action;
  expect_streaming<T>(random, no_rotation<grape::accumulation_t<T>>(),
                      [&](Index first, Index count) {
                        if (first == 0) action = {};
                        ap.append(attention::part(features, first, count), action);
                        return &action;
                      });
}

TYPED_TEST(Cache, TokenByTokenIsTheWholePassWithGatedSlopes) {
  using T = TypeParam;
  Random random(552);
  Strided<T> q(layouts(kBatch, kTokens, kHeads, kDim)[0], random);
  Strided<T> wide(layouts(kBatch, kTokens, kHeads, kDim)[0], random);
  const grape::GateParameters parameters{.query_weights = random.uniforms(kHeads * kDim, -1, 1),
                                         .key_weights = random.uniforms(kHeads * kDim, -1, 1),
                                         .omega = random.uniforms(kHeads, 0, 0.1)};
  const std::vector<double> slopes(kHeads, 1.0);
  const grape::GatedALiBi<T, grape::Gate::both> gated(
      slopes, grape::GatedPath<grape::Gate::both>(parameters));
  BiasAction<grape::accumulation_t<T>> action;
  expect_streaming<T>(
      random, no_rotation<grape::accumulation_t<T>>(), [&](Index first, Index count) {
        if (first == 0) action = {};
        gated.append(attention::part(q, first, count), attention::part(wide, first, count),
                     Positions::range(first, count), action);
        return &action;
      });
}

// A raw cache turned by a spectrum that grows with the length is the whole pass by that spectrum.
TYPED_TEST(Cache, RawKeysMeetAnySpectrum) {
  using T = TypeParam;
  Random random(546);
  Sequence<T> s(random);
  KeyValueCache<T, CachedKeys::raw> cache(kBatch, kKeyHeads, kDim, kValueDim);
  for (Index first = 0; first < kTokens; first += 50) {
    const auto part = [&](Strided<T>& x) { return attention::part(x, first, 50); };
    cache.append(part(s.k), part(s.v));
    const Index size = first + 50;
    const grape::RoPE<T> rope(
        grape::spectrum::log_uniform(kDim, 100.0 * static_cast<double>(size)));
    const auto keys = rope.at(Positions::range(0, size));
    const auto queries = rope.at(Positions::range(first, 50));
    const AttendOptions<grape::accumulation_t<T>> options{.rotation = &queries,
                                                          .key_rotation = &keys};
    grape::attend(part(s.q), cache, part(s.out), options);
    const std::vector<double> got = s.out.values();
    auto causal = options;
    causal.causal = true;
    grape::attend(part(s.q), attention::part(s.k, 0, size), attention::part(s.v, 0, size),
                  part(s.out), causal);
    expect_near<T>(got, s.out.values(), 0);
  }
}

TYPED_TEST(Cache, BatchEntriesOfDifferentLengths) {
  using T = TypeParam;
  Random random(547);
  Sequence<T> s(random);
  KeyValueCache<T> cache(kBatch, kKeyHeads, kDim, kValueDim);
  const Index lengths[] = {130, 7};
  for (Index b = 0; b < 2; ++b) {
    const auto part = [&](Strided<T>& x) {
      return attention::entry(attention::part(x, 0, lengths[b]), b);
    };
    cache.append(b, part(s.k), part(s.v));
  }
  EXPECT_EQ(cache.size(), 130);
  EXPECT_EQ(cache.size(1), 7);
  const auto out = attention::part(s.out, 0, 3);
  grape::attend(attention::part(s.q, 0, 3), cache, out);
  const std::vector<double> got = s.out.values();
  for (Index b = 0; b < 2; ++b) {
    const auto part = [&](Strided<T>& x) {
      return attention::entry(attention::part(x, 0, lengths[b]), b);
    };
    grape::attend(attention::entry(attention::part(s.q, 0, 3), b), part(s.k), part(s.v),
                  attention::entry(out, b), {.causal = true});
  }
  expect_near<T>(got, s.out.values(), 0);
}

// A window that slides past many chunks is the windowed pass, and memory that leaves is not read.
TYPED_TEST(Cache, SlidingWindowByEviction) {
  using T = TypeParam;
  using A = grape::accumulation_t<T>;
  Random random(548);
  for (const Index window : {1, 40, 70}) {
    Sequence<T> s(random);
    const grape::RoPE<T> rope(grape::spectrum::log_uniform(kDim, 10000.0));
    const auto all = rope.at(Positions::range(0, kTokens));
    const grape::ALiBi<T> alibi(kHeads);
    const auto bias = alibi.at(Positions::range(0, kTokens), Positions::range(0, kTokens));
    grape::attend(s.q.tensor(), s.k.tensor(), s.v.tensor(), s.out.tensor(),
                  {.rotation = &all, .bias = &bias, .causal = true, .window = window});
    const std::vector<double> whole = s.out.values();
    KeyValueCache<T> cache(kBatch, kKeyHeads, kDim, kValueDim);
    RotationAction<A> rotation;
    BiasAction<A> some;
    for (Index t = 0; t < kTokens; ++t) {
      const auto part = [&](Strided<T>& x) { return attention::part(x, t, 1); };
      rope.at(Positions::range(t, 1), rotation);
      cache.append(part(s.k), part(s.v), &rotation);
      cache.keep_last(window);
      ASSERT_EQ(cache.evicted(1), std::max<Index>(0, t + 1 - window));
      alibi.at(Positions::range(t, 1), Positions::range(cache.evicted(0), cache.size()), some);
      grape::attend(part(s.q), cache, part(s.out), {.rotation = &rotation, .bias = &some});
    }
    expect_near<T>(s.out.values(), whole, 1);
  }
}

TYPED_TEST(Cache, ForksShareAndPartAndTruncate) {
  using T = TypeParam;
  Random random(549);
  Sequence<T> s(random), draft(random);
  const auto run = [&](const KeyValueCache<T>& cache) {
    grape::attend(attention::part(s.q, 0, 2), cache, attention::part(s.out, 0, 2));
    return s.out.memory();
  };
  const auto extend = [](KeyValueCache<T>& cache, Sequence<T>& from, Index first, Index count) {
    cache.append(attention::part(from.k, first, count), attention::part(from.v, first, count));
  };
  KeyValueCache<T> cache(kBatch, kKeyHeads, kDim, kValueDim);
  extend(cache, s, 0, 100);
  const auto before = run(cache);
  KeyValueCache<T> fork = cache;
  extend(fork, draft, 100, 40);
  EXPECT_FALSE(same_bits(run(fork), before));
  EXPECT_TRUE(same_bits(run(cache), before));
  fork.truncate(100);
  EXPECT_TRUE(same_bits(run(fork), before));
  fork.truncate(10);
  EXPECT_TRUE(same_bits(run(cache), before));
  extend(fork, s, 10, 90);
  EXPECT_TRUE(same_bits(run(fork), before));

  // What is cut off, NaN too, leaves no trace.
  const auto nan = static_cast<T>(std::numeric_limits<grape::accumulation_t<T>>::quiet_NaN());
  Sequence<T> bad(random);
  bad.k.memory().assign(bad.k.memory().size(), nan);
  bad.v.memory().assign(bad.v.memory().size(), nan);
  extend(cache, bad, 0, 13);
  cache.truncate(100);
  EXPECT_TRUE(same_bits(run(cache), before));
  cache.clear();
  EXPECT_EQ(cache.size(), 0);
  run(cache);
  const std::vector<double> zeros = s.out.values();
  EXPECT_TRUE(std::all_of(zeros.begin(), zeros.begin() + 2 * kHeads * kValueDim,
                          [](double x) { return x == 0; }));
}

TYPED_TEST(Cache, SameBitsOnAnyExecutor) {
  using T = TypeParam;
  Random random(550);
  Sequence<T> s(random);
  KeyValueCache<T> cache(kBatch, kKeyHeads, kDim, kValueDim);
  cache.append(s.k.tensor(), s.v.tensor());
  grape::attend(s.q.tensor(), cache, s.out.tensor());
  const std::vector<T> serial = s.out.memory();
  grape::attend(s.q.tensor(), cache, s.out.tensor(), {}, Reversed{});
  EXPECT_TRUE(same_bits(serial, s.out.memory()));
  grape::attend(s.q.tensor(), cache, s.out.tensor(), {}, Threads{3});
  EXPECT_TRUE(same_bits(serial, s.out.memory()));
}

TEST(CacheErrors, NameWhatDoesNotFit) {
  EXPECT_TRUE(rejects([] { KeyValueCache<float>(0, 1, 1, 1); }, "batch", "0", "1"));
  EXPECT_TRUE(rejects([] { KeyValueCache<float>(1, 0, 1, 1); }, "key_heads", "0", "1"));
  EXPECT_TRUE(rejects([] { KeyValueCache<float>(1, 1, 0, 1); }, "dim", "0", "1"));
  EXPECT_TRUE(rejects([] { KeyValueCache<float>(1, 1, 1, -1); }, "value_dim", "-1", "0"));
  KeyValueCache<float> cache(1, 2, 4, 4);
  std::vector<float> data(1000), other(1000);
  const auto k = grape::blhd(data.data(), 1, 3, 2, 4);
  const auto view = [&](Index b, Index l, Index h, Index d) {
    return grape::blhd(data.data(), b, l, h, d);
  };
  EXPECT_TRUE(rejects([&] { cache.append(view(2, 3, 2, 4), k); }, "k batch", "2", "1"));
  EXPECT_TRUE(rejects([&] { cache.append(k, view(1, 2, 2, 4)); }, "v seq", "2", "3"));
  EXPECT_TRUE(rejects([&] { cache.append(view(1, 3, 1, 4), k); }, "k heads", "1", "2"));
  EXPECT_TRUE(rejects([&] { cache.append(k, view(1, 3, 2, 5)); }, "v dim", "5", "4"));
  EXPECT_TRUE(rejects([&] { cache.append(1, k, k); }, "batch entry", "1", "[0, 1)"));
  EXPECT_TRUE(rejects([&] { cache.truncate(1); }, "size", "1", "[0, 0]"));
  EXPECT_TRUE(rejects([&] { cache.keep_last(-1); }, "window", "-1", "0"));
  EXPECT_EQ(cache.size(), 0);

  const grape::RoPE<float> rope(grape::spectrum::log_uniform(4, 100.0));
  const grape::RoPE<float> slow(grape::spectrum::log_uniform(4, 500.0));
  const auto turned = rope.at(Positions::range(0, 3)), others = slow.at(Positions::range(0, 3));
  cache.append(k, k, &turned);
  EXPECT_TRUE(rejects([&] { cache.append(k, k, &others); }, "rotation", "differ", "clear()"));
  EXPECT_TRUE(rejects([&] { cache.append(k, k); }, "rotation", "none", "the rotation"));
  const auto out = grape::blhd(other.data(), 1, 3, 2, 4);
  const auto call = [&](grape::TensorView<float> q, AttendOptions<float> options) {
    return [&cache, q, out, options] { grape::attend(q, cache, out, options); };
  };
  EXPECT_TRUE(rejects(call(k, {}), "rotation", "none", "the rotation"));
  EXPECT_TRUE(rejects(call(k, {.rotation = &others}), "rotation", "differ", "clear()"));
  EXPECT_TRUE(rejects(call(k, {.rotation = &turned, .key_rotation = &turned}), "key_rotation", "a",
                      "already"));
  const std::vector<Index> one{1};
  EXPECT_TRUE(
      rejects(call(k, {.rotation = &turned, .key_lengths = one}), "key_lengths", "l", "the cache"));
  EXPECT_TRUE(rejects(call(k, {.rotation = &turned, .query_offsets = one}), "query_offsets", "o",
                      "the cache"));
  EXPECT_TRUE(rejects(call(view(1, 3, 3, 4), {.rotation = &turned}), "q heads", "3", "2"));
  EXPECT_TRUE(rejects(call(view(1, 3, 2, 5), {.rotation = &turned}), "q dim", "5", "4"));
  EXPECT_TRUE(rejects(call(view(1, 2, 2, 4), {.rotation = &turned}), "out seq", "3", "2"));
  cache.truncate(0);
  cache.append(k, k, &others);  // nothing is held: another spectrum may begin
  KeyValueCache<float, CachedKeys::raw> raw(1, 2, 4, 4);
  EXPECT_TRUE(rejects([&] { raw.append(k, k, &turned); }, "rotation", "a", "raw"));
  raw.append(k, k);
  const auto short_keys = rope.at(Positions::range(0, 2));
  EXPECT_TRUE(rejects(
      [&] { grape::attend(k, raw, out, {.rotation = &turned, .key_rotation = &short_keys}); },
      "key_rotation seq", "2", "3"));
  EXPECT_TRUE(rejects([&] { grape::attend(k, raw, out, {.rotation = &turned}); }, "key_rotation",
                      "none", "raw keys"));
  EXPECT_TRUE(rejects([&] { grape::attend(k, raw, out, {.key_rotation = &turned}); },
                      "key_rotation", "without", "rotation"));
  EXPECT_TRUE(rejects(
      [&] {
        grape::attend(k, raw, out,
                      {.rotation = &turned, .key_rotation = &turned, .keys_rotated = true});
      },
      "key_rotation", "keys_rotated", "one"));
  const std::vector<std::int64_t> two(6, 0);
  const auto of_two = rope.at(Positions::per_token(two, 2, 3));
  EXPECT_TRUE(
      rejects([&] { grape::attend(k, raw, out, {.rotation = &turned, .key_rotation = &of_two}); },
              "key_rotation batch", "2", "1"));
  const auto wide = grape::RoPE<float>(grape::spectrum::log_uniform(6)).at(Positions::range(0, 3));
  EXPECT_TRUE(
      rejects([&] { grape::attend(k, raw, out, {.rotation = &turned, .key_rotation = &wide}); },
              "key_rotation dim", "6", "4"));
  const auto sets = grape::RoPE<float>(grape::Spectrum::per_head(std::vector<double>(6, 0.1), 3))
                        .at(Positions::range(0, 3));
  EXPECT_TRUE(
      rejects([&] { grape::attend(k, raw, out, {.rotation = &turned, .key_rotation = &sets}); },
              "key_rotation", "2 heads", "3"));
  grape::attend(k, raw, out, {.rotation = &turned, .keys_rotated = true});
  raw.keep_last(2);
  EXPECT_TRUE(rejects([&] { grape::attend(k, raw, out); }, "q seq", "3", "2"));
}

// Keys on two axes and queries whose planes turn by others never meet; one position is on any axis.
TEST(CacheErrors, AxesThatDifferAreNamed) {
  const std::vector<float> data(2 * 3 * 4, 1.0f);
  std::vector<float> result(data.size());
  const auto x = grape::blhd(data.data(), 1, 3, 2, 4);
  const auto out = grape::blhd(result.data(), 1, 3, 2, 4);
  const grape::Spectrum spectrum(std::vector<double>{1.0, 0.5});
  const std::vector<std::int64_t> grid{0, 1, 2, 5, 6, 7};
  const auto at = Positions::axes(grid, 2, 1, 3);
  const auto rows_first =
      grape::AxialRoPE<float>(spectrum, grape::AxialPath::sections({1, 1})).at(at);
  const auto columns_first =
      grape::AxialRoPE<float>(spectrum, grape::AxialPath(std::vector<Index>{1, 0})).at(at);
  const auto text = grape::RoPE<float>(spectrum).at(Positions::range(0, 3));
  KeyValueCache<float> cache(1, 2, 4, 4);
  cache.append(x, x, &rows_first);
  grape::attend(x, cache, out, {.rotation = &rows_first});
  grape::attend(x, cache, out, {.rotation = &text});
  EXPECT_TRUE(rejects([&] { grape::attend(x, cache, out, {.rotation = &columns_first}); },
                      "rotation", "other axes", "the same"));
  cache.clear();
  cache.append(x, x, &text);  // which tells no axes: the next keys do
  cache.append(x, x, &rows_first);
  EXPECT_TRUE(
      rejects([&] { cache.append(x, x, &columns_first); }, "rotation", "other axes", "the same"));
}

TEST(Cache, AShorterEntryGivesZerosBeforeItsFirstToken) {
  const std::vector<float> data(2 * 3 * 4, 1.0f);
  std::vector<float> result(data.size(), 7.0f);
  KeyValueCache<float> cache(1, 2, 4, 4);
  cache.append(grape::blhd(data.data(), 1, 2, 2, 4), grape::blhd(data.data(), 1, 2, 2, 4));
  const auto q = grape::blhd(data.data(), 1, 3, 2, 4);
  grape::attend(q, cache, grape::blhd(result.data(), 1, 3, 2, 4));
  for (std::size_t i = 0; i < result.size(); ++i) ASSERT_EQ(result[i], i < 8 ? 0.0f : 1.0f) << i;

  // Tokens that are gone were the queries' own, wherever they stood, until the entry starts anew.
  const auto three = grape::blhd(data.data(), 1, 3, 2, 4);
  const auto ask = [&] { grape::attend(q, cache, grape::blhd(result.data(), 1, 3, 2, 4)); };
  cache.append(three, three);
  cache.erase(0, 1, 4);
  EXPECT_FALSE(cache.whole(0));
  EXPECT_TRUE(rejects(ask, "q seq", "3", "at most the 2"));
  cache.truncate(0, 0);
  EXPECT_TRUE(cache.whole(0));
  cache.append(grape::blhd(data.data(), 1, 1, 2, 4), grape::blhd(data.data(), 1, 1, 2, 4));
  ask();
  cache.append(three, three);
  cache.keep_last(2);
  EXPECT_TRUE(rejects(ask, "q seq", "3", "at most the 2"));
  cache.truncate(0);
  cache.append(grape::blhd(data.data(), 1, 1, 2, 4), grape::blhd(data.data(), 1, 1, 2, 4));
  ask();
}

}  // namespace
