// SPDX-License-Identifier: Apache-2.0
// Encoder::append and BiasAction::truncate: token by token is all at once, and what is taken back
// leaves no trace.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "grape/apply/bias.hpp"
#include "grape/presets.hpp"
#include "support/errors.hpp"
#include "support/random.hpp"
#include "support/strided.hpp"

namespace {

using grape::Index;
using grape::Positions;

template <class A>
class StreamingOf : public testing::Test {};
using Accumulators = testing::Types<float, double>;
TYPED_TEST_SUITE(StreamingOf, Accumulators);

// Every entry of the queries that the action has.
template <class A>
std::vector<A> entries(const grape::BiasAction<A>& bias) {
  std::vector<A> out(
      static_cast<std::size_t>(bias.batch() * bias.heads() * bias.queries() * bias.keys()));
  A* to = out.data();
  for (Index b = 0; b < bias.batch(); ++b) {
    for (Index h = 0; h < bias.heads(); ++h, to += bias.queries() * bias.keys()) {
      bias.tile({b, h, 0, bias.queries(), 0, bias.keys()}, to, bias.keys());
    }
  }
  return out;
}

// The tokens [first, first + count) of gates [batch, seq, heads].
template <class T>
grape::TensorView<const T> tokens(const std::vector<T>& g, Index batch, Index heads, Index first,
                                  Index count) {
  const Index seq = std::ssize(g) / (batch * heads);
  return {g.data() + first * heads, {batch, count, heads, 1}, {seq * heads, heads, 1, 1}};
}

TYPED_TEST(StreamingOf, GatesTokenByTokenAreGatesAtOnce) {
  using A = TypeParam;
  Random random(401);
  constexpr Index kSeq = 70;
  std::vector<double> g = random.uniforms(2 * kSeq * 3, -2, 0);
  for (std::size_t i = 0; i < g.size(); i += 7) g[i] = -std::pow(10.0, random.uniform(-12, 0));
  g[40 * 3 + 1] = -std::numeric_limits<double>::infinity();
  g[(kSeq + 5) * 3] = -1e30;
  const grape::FoX<A> fox(std::vector<double>{1, 0.25, 2});
  grape::BiasAction<A> bias;
  Index past = 0;
  while (past < kSeq) {
    const Index count = std::min<Index>(random.integer(0, 6), kSeq - past);
    fox.append(tokens(g, 2, 3, past, count), bias);
    past += count;
    ASSERT_EQ(bias.keys(), past);
    ASSERT_EQ(bias.queries(), count);
    const auto whole = fox.at(tokens(g, 2, 3, 0, past), grape::QueryRange{past - count, count});
    ASSERT_TRUE(same_bits(entries(bias), entries(whole))) << past;
  }
}

TYPED_TEST(StreamingOf, GatesTakenBackLeaveNoTrace) {
  using A = TypeParam;
  Random random(402);
  constexpr Index kSeq = 60;
  std::vector<double> g = random.uniforms(kSeq * 2, -2, 0), draft = random.uniforms(60, -9, 0);
  draft[8] = -std::numeric_limits<double>::infinity();
  draft[2] = -1e-13;
  const grape::FoX<A> fox(2);
  grape::BiasAction<A> bias;
  for (Index past = 0; past < kSeq; past += 3) {
    fox.append(tokens(draft, 1, 2, 0, random.integer(1, 30)), bias);
    const auto copy = bias;
    const std::vector<A> drafted = entries(copy);
    bias.truncate(past);
    ASSERT_EQ(bias.keys(), past);
    ASSERT_EQ(bias.queries(), 0);
    fox.append(tokens(g, 1, 2, past, 3), bias);
    const auto whole = fox.at(tokens(g, 1, 2, 0, past + 3), grape::QueryRange{past, 3});
    ASSERT_TRUE(same_bits(entries(bias), entries(whole))) << past;
    ASSERT_TRUE(same_bits(entries(copy), drafted));  // a copy stays as it was
  }
}

TYPED_TEST(StreamingOf, PositionsTokenByTokenArePositionsAtOnce) {
  using A = TypeParam;
  Random random(403);
  constexpr Index kSeq = 50;
  const grape::ALiBi<A> alibi(3);
  for (const int kind : {0, 1, 2}) {  // a range, a list, a range that jumps halfway
    std::vector<std::int64_t> list = random.integers(kSeq, -100, 100);
    if (kind == 2) {
      for (Index t = 0; t < kSeq; ++t) list[static_cast<std::size_t>(t)] = t < 25 ? 7 + t : t - 20;
    }
    const auto positions = [&](Index first, Index count) {
      if (kind == 0) return Positions::range(7 + first, count);
      if (kind == 2 && first + count <= 25) return Positions::range(7 + first, count);
      return Positions::shared(std::span(list).subspan(static_cast<std::size_t>(first),
                                                       static_cast<std::size_t>(count)));
    };
    grape::BiasAction<A> bias;
    for (Index past = 0; past < kSeq; past += 5) {
      alibi.append(positions(past, 5), bias);
      const auto whole = alibi.at(positions(past, 5), positions(0, past + 5));
      ASSERT_TRUE(same_bits(entries(bias), entries(whole))) << kind << " " << past;
      // A draft that breaks the run, and is taken back.
      const std::vector<std::int64_t> far{1000, -5};
      auto copy = bias;
      alibi.append(Positions::shared(far), copy);
      ASSERT_EQ(copy.keys(), past + 7);
      ASSERT_EQ(copy(0, 1, 0, past + 5), A(0));
      copy.truncate(past);
      alibi.append(positions(past, 5), copy);
      std::vector<A> a(static_cast<std::size_t>(3 * 5 * (past + 5)), A(1)), b = a;
      grape::add_bias(bias, grape::bhqk(a.data(), 1, 3, 5, past + 5));
      grape::add_bias(copy, grape::bhqk(b.data(), 1, 3, 5, past + 5));
      ASSERT_TRUE(same_bits(a, b)) << kind << " " << past;
    }
  }
}

TYPED_TEST(StreamingOf, PositionsOfEachBatchEntry) {
  using A = TypeParam;
  Random random(404);
  const grape::ALiBi<A> alibi(2);
  const std::vector<std::int64_t> list = random.integers(3 * 12, -30, 30);
  const auto part = [&](Index first, Index count) {
    std::vector<std::int64_t> out;
    for (Index b = 0; b < 3; ++b) {
      for (Index t = first; t < first + count; ++t) {
        out.push_back(list[static_cast<std::size_t>(b * 12 + t)]);
      }
    }
    return out;
  };
  auto bias = alibi.at(Positions::per_token({}, 3, 0), Positions::per_token({}, 3, 0),
                       grape::Future::symmetric);
  for (Index past = 0; past < 12; past += 2) {
    const auto now = part(past, 2), all = part(0, past + 2);
    alibi.append(Positions::per_token(now, 3, 2), bias);
    const auto whole = alibi.at(Positions::per_token(now, 3, 2),
                                Positions::per_token(all, 3, past + 2), grape::Future::symmetric);
    ASSERT_TRUE(same_bits(entries(bias), entries(whole)));
  }
}

// Tokens on a grid, of each batch entry: an action that grows has the bits of one made at once, a
// copy of it stays as it was, and a draft leaves no trace.
TYPED_TEST(StreamingOf, TokensOnAGrid) {
  using A = TypeParam;
  Random random(407);
  const std::vector<double> slopes{0.5, 2};
  constexpr Index kSeq = 24;
  for (const Index axes : {1, 2, 3}) {
    const auto all = random.integers(axes * 2 * kSeq, -30, 30);  // [axes, batch, seq]
    const auto part = [&](Index first, Index count) {
      std::vector<std::int64_t> out;
      for (Index row = 0; row < axes * 2; ++row) {
        const auto from = all.begin() + row * kSeq + first;
        out.insert(out.end(), from, from + count);
      }
      return out;
    };
    const auto weights = random.uniforms(axes, 0.1, 2);
    for (const auto& path : {grape::GridPath::weighted(weights),
                             grape::GridPath::distances(weights), grape::GridPath::radial()}) {
      const grape::GridALiBi<A> grid(slopes, path);
      auto bias = grid.at(Positions::axes({}, axes, 2, 0), Positions::axes({}, axes, 2, 0));
      for (Index past = 0; past < kSeq; past += 3) {
        const auto now = part(past, 3), seen = part(0, past + 3);
        const auto before = bias;
        const std::vector<A> entries_before = entries(before);
        grid.append(Positions::axes(now, axes, 2, 3), bias);
        ASSERT_TRUE(same_bits(entries(before), entries_before));
        const auto whole =
            grid.at(Positions::axes(now, axes, 2, 3), Positions::axes(seen, axes, 2, past + 3));
        ASSERT_TRUE(same_bits(entries(bias), entries(whole))) << axes << " " << past;
        bias.truncate(past);
        ASSERT_EQ(bias.queries(), 0);
        grid.append(Positions::axes(now, axes, 2, 3), bias);
        ASSERT_TRUE(same_bits(entries(bias), entries(whole))) << axes << " " << past;
      }
    }
  }
}

TYPED_TEST(StreamingOf, AMillionTokensKeepTheirAccuracy) {
  using A = TypeParam;
  constexpr Index kSeq = 1'000'000, kStep = 1000;
  Random random(405);
  const std::vector<double> g = random.uniforms(kSeq, -0.2, 0);
  const grape::FoX<A> fox(1);
  grape::BiasAction<A> bias;
  for (Index past = 0; past < kSeq; past += kStep) fox.append(tokens(g, 1, 1, past, kStep), bias);
  ASSERT_EQ(bias.keys(), kSeq);
  const Index i = kSeq - 1;
  long double want = 0;
  for (Index j = i; j-- > 0;) {
    want += g[static_cast<std::size_t>(j + 1)];
    if (j % 9973 != 0 && j < i - 100) continue;
    const double w = static_cast<double>(want);
    const double unit = std::same_as<A, float> ? 1.1 * 0x1p-24 : 6 * 0x1p-53;
    ASSERT_NEAR(bias(0, 0, kStep - 1, j), w, unit * std::fabs(w)) << j;
  }
}

// No entry exceeds the bound of its tile; where `tight`, one attains it but for its margin.
template <class A>
void expect_bounds(const grape::BiasAction<A>& bias, Random& random, double tight) {
  for (int trial = 0; trial < 300; ++trial) {
    const Index q = random.integer(0, bias.queries() - 1), k = random.integer(0, bias.keys() - 1);
    const Index rows = random.integer(1, std::min<Index>(9, bias.queries() - q));
    const Index cols = random.integer(1, std::min<Index>(9, bias.keys() - k));
    const Index b = random.integer(0, bias.batch() - 1), h = random.integer(0, bias.heads() - 1);
    std::vector<A> tile(static_cast<std::size_t>(rows * cols));
    bias.tile({b, h, q, rows, k, cols}, tile.data(), cols);
    const A bound = bias.upper_bound({b, h, q, rows, k, cols});
    const A most = *std::max_element(tile.begin(), tile.end());
    ASSERT_LE(most, bound);
    if (tight >= 0 && most > -std::numeric_limits<A>::infinity()) {
      ASSERT_GE(static_cast<double>(most),
                static_cast<double>(bound) - tight * (1 + std::fabs(static_cast<double>(most))));
    } else if (tight >= 0) {
      ASSERT_EQ(bound, most);
    }
  }
}

TYPED_TEST(StreamingOf, UpperBoundsBound) {
  using A = TypeParam;
  Random random(406);
  const std::vector<double> slopes{0.5, 0.01, -0.3, 0};
  const auto list = random.integers(2 * 30, -20, 20), list_k = random.integers(2 * 40, -20, 20);
  for (const auto future : {grape::Future::mask, grape::Future::zero, grape::Future::symmetric}) {
    const grape::ALiBi<A> alibi(slopes);
    expect_bounds(alibi.at(Positions::range(10, 30), Positions::range(0, 40), future), random, 0);
    expect_bounds(
        alibi.at(Positions::per_token(list, 2, 30), Positions::per_token(list_k, 2, 40), future),
        random, -1);
    if (future == grape::Future::symmetric) continue;
    std::vector<double> g = random.uniforms(2 * 40 * 4, -1, 0);
    for (std::size_t i = 0; i < g.size(); i += 5) g[i] = random.integer(0, 1) ? 0 : -1e-9;
    const grape::FoX<A> fox(std::vector<double>{0.5, 2, 0.1, 1});
    const auto view = grape::blh(g.data(), 2, 40, 4);
    expect_bounds(fox.at(view, grape::QueryRange{5, 35}, future), random, 4 * 0x1p-23);
    g[100] = -std::numeric_limits<double>::infinity();
    expect_bounds(fox.at(view, grape::QueryRange{5, 35}, future), random, -1);
    expect_bounds(grape::FoX<A>(slopes).at(view, future), random, -1);
  }
}

TEST(Streaming, RejectsWhatCannotFollow) {
  const std::vector<float> g(24, -1.0F);
  const grape::FoX<float> fox(2);
  auto bias = fox.at(grape::blh(g.data(), 2, 3, 2));
  const auto before = entries(bias);
  EXPECT_TRUE(rejects([&] { fox.append(grape::blh(g.data(), 1, 3, 2), bias); }, "log_forget batch",
                      "1", "batch 2"));
  EXPECT_TRUE(rejects([&] { fox.append(grape::blh(g.data(), 2, 2, 3), bias); }, "log_forget heads",
                      "3", "2 heads"));
  EXPECT_TRUE(rejects(
      [&] {
        grape::FoX<float>(std::vector<double>{1, 2}).append(grape::blh(g.data(), 2, 1, 2), bias);
      },
      "slopes", "2 slopes", "began"));
  const std::vector<float> bad{-1, -1, -1, 1};
  EXPECT_TRUE(rejects([&] { fox.append(grape::blh(bad.data(), 2, 1, 2), bias); },
                      "log_forget(1, 0, 1)", "1", "<= 0"));
  const grape::ALiBi<float> alibi(2);
  EXPECT_TRUE(rejects([&] { alibi.append(Positions::range(0, 1), bias); }, "action",
                      "another encoder", "this encoder"));
  EXPECT_TRUE(rejects([&] { bias.truncate(4); }, "keys", "4", "[0, 3]"));
  EXPECT_TRUE(rejects([&] { bias.truncate(-1); }, "keys", "-1", "[0, 3]"));
  EXPECT_TRUE(same_bits(entries(bias), before));
  auto lists = alibi.at(Positions::range(0, 1), Positions::range(0, 4));
  const std::vector<std::int64_t> two(2);
  EXPECT_TRUE(rejects([&] { alibi.append(Positions::per_token(two, 2, 1), lists); },
                      "positions batch", "2", "batch 1"));
  const std::vector<double> real(1);
  EXPECT_TRUE(
      rejects([&] { alibi.append(Positions::real(real), lists); }, "positions", "real", "integer"));
  const std::vector<std::int64_t> four(4);
  const grape::GridALiBi<float> grid(std::vector<double>{1}, grape::GridPath::radial());
  auto on_grid = grid.at(Positions::axes(four, 2, 1, 2), Positions::axes(four, 2, 1, 2));
  EXPECT_TRUE(rejects([&] { grid.append(Positions::range(0, 1), on_grid); }, "positions", "1 axes",
                      "2 axes of the action"));
  EXPECT_TRUE(rejects([&] { grid.append(Positions::axes(four, 2, 2, 1), on_grid); },
                      "positions batch", "2", "batch 1"));
  const grape::GridALiBi<float> weighted(std::vector<double>{1}, grape::GridPath::weighted({1, 2}));
  EXPECT_TRUE(rejects([&] { weighted.append(Positions::axes(four, 2, 1, 2), on_grid); }, "path",
                      "other weights", "of the action"));
  grape::BiasAction<float> fresh;
  EXPECT_TRUE(rejects([&] { weighted.append(Positions::range(0, 1), fresh); }, "query_positions",
                      "1 axes", "2 axes"));
  EXPECT_EQ(on_grid.keys(), 2);
  grape::BiasAction<float> none;
  none.truncate(0);
  EXPECT_TRUE(rejects([&] { none.truncate(1); }, "keys", "1", "[0, 0]"));
}

}  // namespace
