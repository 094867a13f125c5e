// SPDX-License-Identifier: Apache-2.0
#include "grape/apply/rotation.hpp"

#include <gtest/gtest.h>

#include "grape/presets.hpp"
#include "grape/spectrum/log_uniform.hpp"
#include "support/errors.hpp"
#include "support/executors.hpp"
#include "support/golden.hpp"
#include "support/pairings.hpp"
#include "support/random.hpp"
#include "support/reference.hpp"
#include "support/strided.hpp"

namespace {

using grape::Index;
using grape::Pairing;
using grape::Positions;
using grape::Spectrum;
using reference::Way;

constexpr std::int64_t kFar = (std::int64_t{1} << 31) - 1;

reference::Planes planes_of(const Spectrum& spectrum, Pairing pairing, Index first = 0) {
  return {pairing == Pairing::half_split,
          spectrum.sets(),
          spectrum.planes(),
          {spectrum.frequencies().begin(), spectrum.frequencies().end()},
          spectrum.attention_factor(),
          first};
}

// How far a result of the kernels may be from the exact one: two rounded entries of the table, two
// products and their sum (and a rounded factor where the inverse divides), each below a unit of
// |x0| + |x1|; then one rounding to T.
template <class T>
double tolerance(long double want, long double scale) {
  using A = grape::accumulation_t<T>;
  const double kernel = 6 * Rounding<A>::unit * static_cast<double>(scale);
  if constexpr (std::same_as<T, A>) {
    return kernel + Rounding<T>::least;
  } else {
    return kernel + Rounding<T>::unit * (static_cast<double>(std::fabs(want)) + kernel) +
           Rounding<T>::least;
  }
}

template <class T>
void expect_close(const std::vector<double>& got, const std::vector<double>& before,
                  const reference::Rotated& want) {
  ASSERT_EQ(got.size(), want.value.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (want.scale[i] == 0) {
      ASSERT_EQ(got[i], before[i]) << "untouched coordinate " << i;
    } else {
      ASSERT_NEAR(got[i], static_cast<double>(want.value[i]),
                  tolerance<T>(want.value[i], want.scale[i]))
          << i;
    }
  }
}

// Rotates a tensor in its memory and back, and compares both ways with the definition.
template <class T, Pairing pairing, class PositionOf>
void expect_rotation(const Spectrum& spectrum, const Positions& positions,
                     const PositionOf& position, const Layout& layout, Index first = 0,
                     std::uint64_t seed = 1) {
  SCOPED_TRACE(layout.name);
  Random random(seed);
  const grape::RoPE<T, pairing> rope(spectrum, grape::RotarySlice{first});
  const auto action = rope.at(positions);
  const reference::Planes planes = planes_of(spectrum, pairing, first);

  Strided<T> x(layout, random, 4);
  for (const Way way : {Way::forward, Way::inverse}) {
    const std::vector<T> memory = x.memory();
    const std::vector<double> before = x.values();
    if (way == Way::forward) {
      grape::apply_rotation(action, x.tensor());
    } else {
      grape::apply_inverse_rotation(action, x.tensor());
    }
    expect_close<T>(x.values(), before,
                    reference::rotate(planes, x.shape(), before, position, way));
    EXPECT_TRUE(x.same_outside(memory)) << "memory outside of the view was written";
  }
}

template <class T>
class RotationOf : public testing::Test {};
TYPED_TEST_SUITE(RotationOf, ElementTypes);

TYPED_TEST(RotationOf, EveryLayout) {
  for_both_pairings([]<Pairing pairing> {
    Random random(81);
    const Spectrum spectrum(random.frequencies(5));
    const auto position = [](Index, Index t) { return std::int64_t{1000} + t; };
    for (const Layout& layout : layouts(2, 5, 3, 13)) {
      expect_rotation<TypeParam, pairing>(spectrum, Positions::range(1000, 5), position, layout);
    }
    for (const Layout& layout : layouts(2, 5, 1, 10)) {  // one head
      expect_rotation<TypeParam, pairing>(spectrum, Positions::range(1000, 5), position, layout);
    }
    for (const Layout& layout : layouts(1, 40, 2, 10)) {  // more tokens than a tile
      expect_rotation<TypeParam, pairing>(spectrum, Positions::range(1000, 40), position, layout);
    }
  });
}

TYPED_TEST(RotationOf, DecodeWithPositionsOfEachBatchEntry) {
  for_both_pairings([]<Pairing pairing> {
    Random random(82);
    const Spectrum spectrum(random.frequencies(4));
    const std::vector<std::int64_t> list{4095, 0, -7, kFar, -kFar, 31};
    const auto position = [&](Index b, Index) { return list[static_cast<std::size_t>(b)]; };
    for (const Index heads : {1, 3}) {
      for (const Layout& layout : layouts(6, 1, heads, 8)) {
        expect_rotation<TypeParam, pairing>(spectrum, Positions::per_token(list, 6, 1), position,
                                            layout);
      }
    }
  });
}

TYPED_TEST(RotationOf, LeftPaddedBatchesHaveNegativePositions) {
  for_both_pairings([]<Pairing pairing> {
    Random random(83);
    std::vector<std::int64_t> list;
    for (const std::int64_t padding : {0, 3, 7}) {
      for (std::int64_t t = 0; t < 9; ++t) list.push_back(t - padding);
    }
    const auto position = [&](Index b, Index t) {
      return list[static_cast<std::size_t>(b * 9 + t)];
    };
    for (const Layout& layout : layouts(3, 9, 2, 12)) {
      expect_rotation<TypeParam, pairing>(grape::spectrum::log_uniform(12, 10000.0),
                                          Positions::per_token(list, 3, 9), position, layout);
    }
  });
}

TYPED_TEST(RotationOf, EveryNumberOfPlanesWithATail) {
  for_both_pairings([]<Pairing pairing> {
    Random random(84);
    const auto position = [](Index, Index t) { return t - 1; };
    for (Index planes = 1; planes <= 70; ++planes) {
      const Spectrum spectrum(random.frequencies(planes));
      const Index dim = 2 * planes + planes % 3;
      const auto all = layouts(1, 3, 2, dim);
      for (const std::size_t i : {std::size_t{0}, std::size_t{3}, std::size_t{4}}) {
        expect_rotation<TypeParam, pairing>(spectrum, Positions::range(-1, 3), position, all[i]);
      }
    }
  });
}

TYPED_TEST(RotationOf, SlicesThatStartLater) {
  for_both_pairings([]<Pairing pairing> {
    Random random(85);
    const auto position = [](Index, Index t) { return 17 + t; };
    for (const Index first : {1, 2, 5, 16}) {
      for (const Layout& layout : layouts(2, 3, 2, 24)) {
        expect_rotation<TypeParam, pairing>(Spectrum(random.frequencies(4)),
                                            Positions::range(17, 3), position, layout, first);
      }
    }
  });
}

TYPED_TEST(RotationOf, ZeroTailsAreUntouched) {
  for_both_pairings([]<Pairing pairing> {
    const auto position = [](Index, Index t) { return 5 + t; };
    for (const double fraction : {0.0, 0.25, 0.5, 1.0}) {
      const Spectrum spectrum = grape::spectrum::proportional(16, 10000.0, fraction);
      for (const Layout& layout : layouts(2, 3, 2, 18)) {
        expect_rotation<TypeParam, pairing>(spectrum, Positions::range(5, 3), position, layout, 1);
      }
    }
  });
}

TYPED_TEST(RotationOf, GroupedHeadsShareSets) {
  for_both_pairings([]<Pairing pairing> {
    Random random(86);
    const auto position = [](Index, Index t) { return 100 * t; };
    const std::vector<std::int64_t> list{0, 100, 200};
    for (const Index sets : {2, 3, 6}) {
      const Spectrum spectrum = Spectrum::per_head(random.frequencies(4 * sets), sets);
      for (const Index heads : {sets, 2 * sets}) {
        for (const Layout& layout : layouts(2, 3, heads, 9)) {
          expect_rotation<TypeParam, pairing>(spectrum, Positions::shared(list), position, layout);
        }
      }
    }
  });
}

TYPED_TEST(RotationOf, AttentionFactorIsUndoneByTheInverse) {
  for_both_pairings([]<Pairing pairing> {
    Random random(87);
    const auto position = [](Index, Index t) { return 3 + t; };
    for (const double factor : {0.1, 0.7071, 1.25, 3.0}) {
      const Spectrum spectrum({1.0, 0.1, 0.0}, factor);
      for (const Layout& layout : layouts(2, 3, 2, 7)) {
        expect_rotation<TypeParam, pairing>(spectrum, Positions::range(3, 3), position, layout);
      }
    }
  });
}

TYPED_TEST(RotationOf, LongRanges) {
  for_both_pairings([]<Pairing pairing> {
    Random random(88);
    const Spectrum spectrum = Spectrum::per_head(random.frequencies(6), 2);
    for (const Index seq : {1024, 1057}) {
      const auto position = [](Index, Index t) { return 123456 + t; };
      for (const std::size_t i : {std::size_t{0}, std::size_t{1}}) {
        const auto all = layouts(2, seq, 2, 7);
        expect_rotation<TypeParam, pairing>(spectrum, Positions::range(123456, seq), position,
                                            all[i]);
      }
    }
    const Spectrum scaled(random.frequencies(3), 1.3);
    expect_rotation<TypeParam, pairing>(
        scaled, Positions::range(-500, 1100), [](Index, Index t) { return t - 500; },
        layouts(1, 1100, 1, 6)[0]);
  });
}

TYPED_TEST(RotationOf, RealPositions) {
  for_both_pairings([]<Pairing pairing> {
    Random random(89);
    const std::vector<double> list{0.5, -3.25, 1000.125, 7};
    expect_rotation<TypeParam, pairing>(
        Spectrum(random.frequencies(4)), Positions::real(list),
        [&](Index, Index t) { return list[static_cast<std::size_t>(t)]; }, layouts(2, 4, 2, 8)[0]);
  });
}

TYPED_TEST(RotationOf, RandomShapes) {
  for_both_pairings([]<Pairing pairing> {
    Random random(99);
    for (int trial = 0; trial < 60; ++trial) {
      SCOPED_TRACE(trial);
      const Index sets = random.integer(0, 2) == 0 ? random.integer(2, 4) : 1;
      const Index heads = sets * random.integer(1, 9), batch = random.integer(1, 3);
      const Index seq = random.integer(1, trial % 10 == 0 ? 150 : 7);
      const Index planes = random.integer(1, 40), first = random.integer(0, 3);
      std::vector<double> theta = random.frequencies(sets * planes);
      const Index still = random.integer(0, 3) == 0 ? random.integer(0, planes) : 0;
      for (Index i = 0; i < sets * still; ++i) {  // the last planes of each set
        theta[static_cast<std::size_t>(i / still * planes + planes - 1 - i % still)] = 0;
      }
      const double factor = random.integer(0, 3) == 0 ? random.uniform(0.5, 2) : 1;
      const auto all = layouts(batch, seq, heads, first + 2 * planes + random.integer(0, 3));
      const Layout& layout = all[static_cast<std::size_t>(random.integer(0, 9))];
      const std::vector<std::int64_t> list = random.integers(batch * seq, -kFar, kFar);
      expect_rotation<TypeParam, pairing>(
          Spectrum::per_head(theta, sets, factor), Positions::per_token(list, batch, seq),
          [&](Index b, Index t) { return list[static_cast<std::size_t>(b * seq + t)]; }, layout,
          first, static_cast<std::uint64_t>(trial));
    }
  });
}

TYPED_TEST(RotationOf, TwoViewsInOneCall) {
  using T = TypeParam;
  Random random(90);
  const grape::RoPE<T, Pairing::half_split> rope(Spectrum::per_head(random.frequencies(8), 2));
  const auto action = rope.at(Positions::range(9, 4));
  Strided<T> q(layouts(2, 4, 6, 10)[0], random), k(layouts(2, 4, 2, 8)[2], random);
  Strided<T> q2 = q, k2 = k, q3 = q, k3 = k;
  grape::apply_rotation(action, q.tensor());
  grape::apply_rotation(action, k.tensor());
  grape::apply_rotation(action, q2.tensor(), k2.tensor());
  grape::apply_rotation(rope, Positions::range(9, 4), q3.tensor(), k3.tensor());
  EXPECT_TRUE(same_bits(q.memory(), q2.memory()) && same_bits(k.memory(), k2.memory()));
  EXPECT_TRUE(same_bits(q.memory(), q3.memory()) && same_bits(k.memory(), k3.memory()));
  // A query head and its key head turn alike: head h of 6 against head h / 3 of 2.
  std::vector<T> row(6 * 8, static_cast<T>(1.0F)), key(2 * 8, static_cast<T>(1.0F));
  grape::apply_rotation(rope, Positions::range(11, 1), grape::blhd(row.data(), 1, 1, 6, 8),
                        grape::blhd(key.data(), 1, 1, 2, 8));
  for (std::size_t h = 0; h < 6; ++h) {
    for (std::size_t d = 0; d < 8; ++d) EXPECT_EQ(row[h * 8 + d], key[h / 3 * 8 + d]);
  }
  // One view at once.
  Strided<T> q4(layouts(2, 4, 6, 10)[0], random);
  Strided<T> q5 = q4;
  grape::apply_rotation(rope, Positions::range(0, 4), q4.tensor());
  grape::apply_rotation(rope.at(Positions::range(0, 4)), q5.tensor());
  EXPECT_TRUE(same_bits(q4.memory(), q5.memory()));
}

TYPED_TEST(RotationOf, FusedViewsOfOneBufferAreRotatedTogether) {
  using T = TypeParam;
  using A = grape::accumulation_t<T>;
  constexpr Index kB = 2, kL = 5, kH = 3, kD = 8;
  Random random(91);
  std::vector<T> buffer;
  for (Index i = 0; i < kB * kL * 3 * kH * kD; ++i) {
    buffer.push_back(static_cast<T>(static_cast<A>(random.uniform(-1, 1))));
  }
  const std::vector<T> before = buffer;
  const grape::RoPE<T> rope(grape::spectrum::log_uniform(kD, 10000.0));
  const auto action = rope.at(Positions::range(1, kL));
  const std::array<Index, 4> extents{kB, kL, kH, kD};
  // [.., q k v, heads, dim] and [.., heads, q k v, dim].
  const std::pair<std::array<Index, 4>, Index> fusions[] = {
      {{kL * 3 * kH * kD, 3 * kH * kD, kD, 1}, kH * kD},
      {{kL * 3 * kH * kD, 3 * kH * kD, 3 * kD, 1}, kD}};
  for (const auto& [strides, part] : fusions) {
    std::vector<T> x = before, want = before;
    grape::apply_rotation(action, grape::TensorView<T>(x.data(), extents, strides),
                          grape::TensorView<T>(x.data() + part, extents, strides));
    grape::apply_rotation(action, grape::TensorView<T>(want.data(), extents, strides));
    grape::apply_rotation(action, grape::TensorView<T>(want.data() + part, extents, strides));
    EXPECT_TRUE(same_bits(x, want));
    // The values are as they were, the queries are not.
    const grape::TensorView<T> v(x.data() + 2 * part, extents, strides);
    const grape::TensorView<const T> old(before.data() + 2 * part, extents, strides);
    for (Index b = 0; b < kB; ++b) {
      for (Index t = 0; t < kL; ++t) {
        for (Index h = 0; h < kH; ++h) {
          for (Index d = 0; d < kD; ++d) EXPECT_TRUE(same_bits(v(b, t, h, d), old(b, t, h, d)));
        }
      }
    }
    EXPECT_FALSE(same_bits(x, before));
  }
}

TYPED_TEST(RotationOf, LayoutsGiveTheSameBits) {
  using T = TypeParam;
  for_both_pairings([]<Pairing pairing> {
    Random random(92);
    const grape::RoPE<T, pairing> rope(Spectrum(random.frequencies(37)), grape::RotarySlice{1});
    const auto action = rope.at(Positions::range(5, 6));
    const auto all = layouts(2, 6, 3, 76);
    Strided<T> first(all[0], random);
    const std::vector<double> values = first.values();
    grape::apply_rotation(action, first.tensor());
    const std::vector<double> want = first.values();
    for (const Layout& layout : all) {
      Strided<T> x(layout, random);
      std::size_t i = 0;
      x.for_each([&](std::size_t at) {
        x.memory()[at] = static_cast<T>(static_cast<grape::accumulation_t<T>>(values[i++]));
      });
      grape::apply_rotation(action, x.tensor());
      const std::vector<double> got = x.values();
      double worst = 0;
      for (std::size_t n = 0; n < got.size(); ++n)
        worst = std::max(worst, std::fabs(got[n] - want[n]));
      // A compiler may fuse a product into the sum in one loop and not in another: one ulp of 2.
      EXPECT_LE(worst, 4 * Rounding<T>::unit) << layout.name;
    }
  });
}

TYPED_TEST(RotationOf, AnyExecutorGivesTheSameBits) {
  using T = TypeParam;
  Random random(93);
  for (const Index seq : {1, 70, 1100}) {
    const grape::RoPE<T> rope(Spectrum::per_head(random.frequencies(6), 2, 1.5));
    const auto action = rope.at(Positions::range(3, seq));
    Strided<T> x(layouts(3, seq, 4, 7)[1], random);
    Strided<T> reversed = x, threaded = x, two = x, key = x;
    grape::apply_rotation(action, x.tensor());
    grape::apply_rotation(action, reversed.tensor(), Reversed{});
    grape::apply_rotation(action, threaded.tensor(), Threads{});
    EXPECT_TRUE(same_bits(x.memory(), reversed.memory()));
    EXPECT_TRUE(same_bits(x.memory(), threaded.memory()));
    grape::apply_rotation(action, two.tensor(), key.tensor(), Threads{2});
    EXPECT_TRUE(same_bits(x.memory(), two.memory()) && same_bits(x.memory(), key.memory()));
    grape::apply_inverse_rotation(action, x.tensor());
    grape::apply_inverse_rotation(action, reversed.tensor(), Reversed{});
    grape::apply_inverse_rotation(action, threaded.tensor(), Threads{});
    EXPECT_TRUE(same_bits(x.memory(), reversed.memory()));
    EXPECT_TRUE(same_bits(x.memory(), threaded.memory()));
  }
}

TYPED_TEST(RotationOf, NanAndInfinityStayInTheirPair) {
  using T = TypeParam;
  using A = grape::accumulation_t<T>;
  for_both_pairings([]<Pairing pairing> {
    constexpr Index kPlanes = 40;
    Random random(94);
    const grape::RoPE<T, pairing> rope(Spectrum(random.frequencies(kPlanes)));
    const auto action = rope.at(Positions::range(12345, 2));
    for (const A bad : {std::numeric_limits<A>::quiet_NaN(), std::numeric_limits<A>::infinity(),
                        -std::numeric_limits<A>::infinity()}) {
      for (const Index m : {Index{0}, Index{17}, kPlanes - 1}) {
        const auto pair = grape::plane_coordinates(pairing, m, kPlanes);
        std::vector<T> x(2 * 81, static_cast<T>(A(0.5)));
        x[static_cast<std::size_t>(pair.second)] = static_cast<T>(bad);
        grape::apply_rotation(action, grape::blhd(x.data(), 1, 2, 1, 81));
        for (Index i = 0; i < 162; ++i) {
          const A got = static_cast<A>(x[static_cast<std::size_t>(i)]);
          EXPECT_EQ(std::isfinite(got), i != pair.first && i != pair.second) << i;
          if (std::isnan(bad) && (i == pair.first || i == pair.second)) {
            EXPECT_TRUE(std::isnan(got));
          }
        }
      }
    }
    // In coordinates that do not turn nothing happens to them, not even to a NaN's bits.
    std::vector<T> x(81, static_cast<T>(std::numeric_limits<A>::signaling_NaN()));
    const std::vector<T> before = x;
    grape::apply_rotation(rope.at(Positions::range(1, 1)), grape::blhd(x.data(), 1, 1, 1, 81));
    EXPECT_TRUE(same_bits(x[80], before[80]));
  });
}

TYPED_TEST(RotationOf, EmptyTensorsAreLeftAlone) {
  using T = TypeParam;
  const grape::RoPE<T> rope(grape::spectrum::log_uniform(8, 10000.0));
  const auto action = rope.at(Positions::range(0, 3));
  T* null = nullptr;
  const auto none = grape::blhd(null, 2, 0, 4, 8);
  EXPECT_NO_THROW(grape::apply_rotation(action, none));
  EXPECT_NO_THROW(grape::apply_inverse_rotation(action, grape::blhd(null, 0, 3, 4, 8)));
  EXPECT_NO_THROW(grape::apply_rotation(action, none, grape::blhd(null, 2, 3, 0, 8)));
  EXPECT_NO_THROW(grape::apply_rotation(action, grape::blhd(null, 2, 3, 4, 0)));
  EXPECT_NO_THROW(grape::apply_rotation(grape::RotationAction<grape::accumulation_t<T>>{}, none));
  // Empty queries beside keys that are not.
  std::vector<T> k(3 * 8, static_cast<T>(1.0F));
  grape::apply_rotation(action, none, grape::blhd(k.data(), 1, 3, 1, 8));
  EXPECT_FALSE(same_bits(k[8], k[0]));
}

TYPED_TEST(RotationOf, RejectsShapesThatDoNotFitAndWritesNothing) {
  using T = TypeParam;
  Random random(95);
  const grape::RoPE<T> rope(grape::spectrum::log_uniform(8, 10000.0), grape::RotarySlice{2});
  const grape::RoPE<T> sets(Spectrum::per_head(random.frequencies(8), 2));
  const auto action = rope.at(Positions::range(0, 3));
  const std::vector<std::int64_t> list(6);
  const auto two = rope.at(Positions::per_token(list, 2, 3));
  std::vector<T> x(1000, static_cast<T>(1.0F));
  const std::vector<T> before = x;
  const auto view = [&](Index b, Index l, Index h, Index d) {
    return grape::blhd(x.data(), b, l, h, d);
  };
  const auto both_fail = [&](const auto& a, const auto& bad, const char* axis, const char* got,
                             const char* wanted) {
    const auto name = [&](const char* argument) { return std::string(argument) + axis; };
    EXPECT_TRUE(rejects([&] { grape::apply_rotation(a, bad); }, name("x"), got, wanted));
    EXPECT_TRUE(rejects([&] { grape::apply_inverse_rotation(a, bad); }, name("x"), got, wanted));
    const auto good = grape::blhd(x.data() + 500, bad.batch(), Index{3}, Index{2}, Index{10});
    if (bad.batch() != 2 && a.batch() == 2) return;
    EXPECT_TRUE(rejects([&] { grape::apply_rotation(a, good, bad); }, name("k"), got, wanted));
    EXPECT_TRUE(rejects([&] { grape::apply_rotation(a, bad, good); }, name("q"), got, wanted));
  };
  // More and fewer tokens than prepared.
  both_fail(action, view(1, 4, 2, 10), " seq", "4 tokens", "3 positions");
  both_fail(action, view(1, 2, 2, 10), " seq", "2 tokens", "3 positions");
  EXPECT_TRUE(rejects(
      [&] {
        grape::apply_rotation(grape::RotationAction<grape::accumulation_t<T>>{}, view(1, 1, 2, 10));
      },
      "x seq", "1 tokens", "0 positions"));
  // rotary_dim beyond the head.
  both_fail(action, view(1, 3, 2, 9), " dim", "9", "at least 10");
  both_fail(action, view(1, 3, 2, 1), " dim", "1", "rotary_dim 8");
  both_fail(two, view(3, 3, 2, 10), " batch", "3", "batch 2");
  both_fail(two, view(1, 3, 2, 10), " batch", "1", "batch 2");
  both_fail(sets.at(Positions::range(0, 3)), view(1, 3, 3, 10), "", "3 heads", "2 parameter sets");
  both_fail(sets.at(Positions::range(0, 3)), view(1, 3, 1, 10), "", "1 heads", "2 parameter sets");
  EXPECT_TRUE(
      rejects([&] { grape::apply_rotation(rope, Positions::range(0, 5), view(1, 3, 2, 10)); },
              "x seq", "3 tokens", "5 positions"));
  EXPECT_TRUE(same_bits(x, before));
}

TYPED_TEST(RotationOf, RejectsQueriesAndKeysThatShareElements) {
  using T = TypeParam;
  const grape::RoPE<T> rope(grape::spectrum::log_uniform(8, 10000.0));
  const auto action = rope.at(Positions::range(1, 3));
  std::vector<T> x(200, static_cast<T>(1.0F));
  const std::vector<T> before = x;
  const auto q = grape::blhd(x.data(), 1, 3, 2, 8);
  for (const Index offset : {0, 1, 8, 47}) {
    EXPECT_TRUE(rejects(
        [&] { grape::apply_rotation(action, q, grape::blhd(x.data() + offset, 1, 3, 1, 8)); }, "k",
        "shares elements with q", "do not overlap"))
        << offset;
  }
  EXPECT_TRUE(same_bits(x, before));
  EXPECT_NO_THROW(grape::apply_rotation(action, q, grape::blhd(x.data() + 48, 1, 3, 1, 8)));
}

// --- the laws ---

TEST(Rotation, PreservesNorms) {
  Random random(96);
  constexpr Index kDim = 128, kTokens = 200;
  const grape::RoPE<float> single(grape::spectrum::log_uniform(kDim, 10000.0));
  const grape::RoPE<double> twice(grape::spectrum::log_uniform(kDim, 10000.0));
  const std::vector<std::int64_t> list = random.integers(kTokens, -kFar, kFar);
  Strided<float> x(layouts(1, kTokens, 1, kDim)[0], random);
  Strided<double> y(layouts(1, kTokens, 1, kDim)[0], random);
  const auto norms = [](const std::vector<double>& v) {
    std::vector<double> out;
    for (std::size_t t = 0; t < kTokens; ++t) {
      out.push_back(Eigen::Map<const Eigen::VectorXd>(&v[t * kDim], kDim).norm());
    }
    return out;
  };
  const auto before = norms(x.values()), before_twice = norms(y.values());
  grape::apply_rotation(single, Positions::shared(list), x.tensor());
  grape::apply_rotation(twice, Positions::shared(list), y.tensor());
  const auto after = norms(x.values()), after_twice = norms(y.values());
  for (std::size_t t = 0; t < kTokens; ++t) {
    EXPECT_NEAR(after[t] / before[t], 1, 2 * 0x1p-24);  // errors of 64 pairs mostly cancel
    EXPECT_NEAR(after_twice[t] / before_twice[t], 1, 8 * 0x1p-53);
  }
}

TEST(Rotation, LogitsDependOnDifferencesAlone) {
  Random random(97);
  constexpr Index kDim = 64;
  const grape::RoPE<double> rope(grape::spectrum::log_uniform(kDim, 10000.0));
  const auto turned = [&](std::vector<double> x, std::int64_t n) {
    grape::apply_rotation(rope, Positions::range(n, 1), grape::blhd(x.data(), 1, 1, 1, kDim));
    return x;
  };
  const auto dot = [](const std::vector<double>& a, const std::vector<double>& b) {
    return Eigen::Map<const Eigen::VectorXd>(a.data(), kDim)
        .dot(Eigen::Map<const Eigen::VectorXd>(b.data(), kDim));
  };
  for (int trial = 0; trial < 500; ++trial) {
    const std::vector<double> q = random.uniforms(kDim, -1, 1), k = random.uniforms(kDim, -1, 1);
    const std::int64_t i = random.integer(-kFar, kFar), j = random.integer(-kFar, kFar);
    const double want = dot(q, turned(k, j - i));
    // Three rotations at 6 units of |x0| + |x1| <= sqrt(2) |x|, and two sums of 64 products.
    const double tolerance = (3 * 6 * 1.5 + 2 * kDim) * 0x1p-53 * std::sqrt(dot(q, q) * dot(k, k));
    EXPECT_NEAR(dot(turned(q, i), turned(k, j)), want, tolerance) << i << " " << j;
    // Composition.
    const std::vector<double> both = turned(turned(k, i), j), once = turned(k, i + j);
    for (std::size_t d = 0; d < kDim; ++d) EXPECT_NEAR(both[d], once[d], 18 * 2 * 0x1p-53);
  }
}

TEST(Rotation, PairingsDifferByAPermutation) {
  Random random(98);
  constexpr Index kPlanes = 11;
  const std::vector<double> theta = random.frequencies(kPlanes);
  std::vector<double> x = random.uniforms(2 * kPlanes, -1, 1), y(x.size());
  const auto at = [](Index i) {
    return static_cast<std::size_t>(
        grape::permuted_coordinate(i, kPlanes, Pairing::interleaved, Pairing::half_split));
  };
  for (Index i = 0; i < 2 * kPlanes; ++i) y[at(i)] = x[static_cast<std::size_t>(i)];
  grape::apply_rotation(grape::RoPE<double>(Spectrum(theta)), Positions::range(77, 1),
                        grape::blhd(x.data(), 1, 1, 1, 2 * kPlanes));
  grape::apply_rotation(grape::RoPE<double, Pairing::half_split>(Spectrum(theta)),
                        Positions::range(77, 1), grape::blhd(y.data(), 1, 1, 1, 2 * kPlanes));
  for (Index i = 0; i < 2 * kPlanes; ++i) {
    EXPECT_NEAR(y[at(i)], x[static_cast<std::size_t>(i)], 2 * 0x1p-53);
  }
}

// --- golden numbers ---

template <class T, Pairing pairing>
void expect_golden(const golden::Case& c, const Spectrum& spectrum, double tolerance) {
  const golden::Array x = c.inputs("x"), y = c.outputs("y");
  ASSERT_EQ(x.shape.size(), 4U);
  ASSERT_EQ(x.shape, y.shape);
  std::vector<std::int64_t> positions;
  if (c.has_input("positions")) {
    for (const double n : c.inputs("positions").data)
      positions.push_back(static_cast<std::int64_t>(n));
  } else {
    for (Index i = 0; i < x.shape[0] * x.shape[1]; ++i) positions.push_back(i % x.shape[1]);
  }
  std::vector<T> data = x.as<T>();
  const grape::RoPE<T, pairing> rope(spectrum);
  grape::apply_rotation(rope, Positions::per_token(positions, x.shape[0], x.shape[1]),
                        grape::blhd(data.data(), x.shape[0], x.shape[1], x.shape[2], x.shape[3]));
  for (std::size_t i = 0; i < data.size(); ++i) {
    ASSERT_NEAR(static_cast<double>(data[i]), y.data[i], tolerance * (1 + std::fabs(x.data[i])))
        << i;
  }
}

// The reference rounds its angle n theta to double, up to 5000 radians here: half an ulp of 4096 is
// 4.5e-13. Cases in float32 say what they are good for.
template <Pairing pairing>
void expect_golden_family(const std::string& family, bool negated) {
  for (const std::string& name : golden::families(family)) {
    SCOPED_TRACE(name);
    const golden::Case c = golden::load(name);
    const auto dim = static_cast<Index>(c.inputs("x").shape.at(3));
    Spectrum spectrum = grape::spectrum::log_uniform(c.config_or<Index>("rotary_dim", dim),
                                                     c.config<double>("base"));
    if (negated) spectrum = spectrum.negated();
    const bool exact = c.dtype() == "float64";
    double last = 0;
    if (c.has_input("positions")) {
      for (const double n : c.inputs("positions").data) last = std::max(last, std::fabs(n));
    }
    // The reference's angle in float32 is off by a few 6e-8 of itself; authors_sign caches cosines
    // in bfloat16.
    const double reference = exact ? 2e-12 : name == "rope_authors_sign" ? 1e-2 : 4e-7 * (1 + last);
    expect_golden<double, pairing>(c, spectrum, reference);
    expect_golden<float, pairing>(c, spectrum, reference + 8 * 0x1p-24);
  }
}

TEST(Rotation, GoldenInterleaved) {
  expect_golden_family<Pairing::interleaved>("rope_interleaved", false);
}
TEST(Rotation, GoldenHalfSplit) {
  expect_golden_family<Pairing::half_split>("rope_half_split", false);
}
TEST(Rotation, GoldenOfTheAuthorsTurnTheOtherWay) {
  expect_golden_family<Pairing::half_split>("rope_authors_sign", true);
  expect_golden_family<Pairing::half_split>("rope_half_split_authors", true);
}

}  // namespace
