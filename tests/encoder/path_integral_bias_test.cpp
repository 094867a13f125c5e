// SPDX-License-Identifier: Apache-2.0
#include "grape/encoder/path_integral_bias.hpp"

#include <gtest/gtest.h>

#include <Eigen/Core>
#include <cmath>
#include <limits>

#include "grape/presets.hpp"
#include "support/errors.hpp"
#include "support/golden.hpp"
#include "support/path_integral.hpp"
#include "support/random.hpp"
#include "support/strided.hpp"

namespace {

using grape::Future;
using grape::Index;
using grape::Pairing;
using grape::PathIntegralPath;
using grape::ProbeConvention;
using grape::QueryRange;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

template <class A>
class PathIntegralOf : public testing::Test {};
using Accumulators = testing::Types<float, double>;
TYPED_TEST_SUITE(PathIntegralOf, Accumulators);

template <class A>
constexpr double kUnit = Rounding<A>::unit;

// Four conventions, with the epsilon that the bias takes unless it is told one.
template <class A>
std::vector<PathIntegralPath<>> paths() {
  return {PathIntegralPath<>{},
          {.pairing = Pairing::half_split},
          {.convention = ProbeConvention::authors, .epsilon = 1e-3},
          PathIntegralPath<>::authors()};
}
template <class A>
reference::EdgeRule rule_of(const PathIntegralPath<>& path) {
  return {.authors = path.convention == ProbeConvention::authors,
          .half_split = path.pairing == Pairing::half_split,
          .epsilon = path.epsilon.value_or(std::numeric_limits<A>::epsilon())};
}

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

template <class T>
std::vector<T> rounded(const std::vector<double>& x) {
  std::vector<T> out;
  for (const double v : x) out.push_back(static_cast<T>(static_cast<grape::accumulation_t<T>>(v)));
  return out;
}

// Every entry, alone and in one tile.
template <class A>
void expect_bias(const grape::BiasAction<A>& bias, const std::vector<double>& slopes,
                 const reference::Edges& edges, Index feature_heads, Index start, Future future) {
  const Index seq = bias.keys(), heads = bias.heads();
  for (Index b = 0; b < bias.batch(); ++b) {
    for (Index h = 0; h < heads; ++h) {
      std::vector<A> tile(static_cast<std::size_t>(bias.queries() * seq));
      bias.tile({b, h, 0, bias.queries(), 0, seq}, tile.data(), seq);
      const Index f = feature_heads == 1 ? 0 : h;
      for (Index i = 0; i < bias.queries(); ++i) {
        const auto row = edges.row(kUnit<A>, b, f, start + i);
        for (Index j = 0; j < seq; ++j) {
          const A got = tile[static_cast<std::size_t>(i * seq + j)];
          if (j > start + i) {
            ASSERT_EQ(got, future == Future::mask ? -std::numeric_limits<A>::infinity() : A(0));
            ASSERT_EQ(bias(b, h, i, j), got);
            continue;
          }
          const double slope = slopes[static_cast<std::size_t>(h)];
          const double want = slope * row[static_cast<std::size_t>(j)].bias;
          const double tolerance = std::fabs(slope) * row[static_cast<std::size_t>(j)].tolerance;
          ASSERT_NEAR(got, want, tolerance) << b << " " << h << " " << i << " " << j;
          ASSERT_NEAR(bias(b, h, i, j), want, tolerance);
        }
      }
    }
  }
}

TYPED_TEST(PathIntegralOf, IsItsDefinition) {
  using A = TypeParam;
  Random random(611);
  const std::vector<double> slopes{1, 0.25, -3.5};
  // Sequences beyond a panel of keys; widths that are odd, 1, and no multiple of anything.
  for (const auto& path : paths<A>()) {
    for (const Index width : {Index{1}, Index{5}, Index{8}, Index{19}}) {
      for (const Index feature_heads : {Index{1}, Index{3}}) {
        const reference::Shape shape{2, 41, feature_heads, width};
        const auto p = rounded<A>(random.uniforms(shape.size(), -2, 2));
        const reference::Edges edges({p.begin(), p.end()}, shape, rule_of<A>(path));
        const grape::PathIntegral<A> ap(grape::UnipotentGenerator<A>(slopes), path);
        const auto view = grape::blhd(p.data(), 2, 41, feature_heads, width);
        expect_bias(ap.at(view), slopes, edges, feature_heads, 0, Future::mask);
        const QueryRange range{17, 13};
        const auto some = ap.at(view, range, Future::zero);
        EXPECT_EQ(some.queries(), 13);
        EXPECT_EQ(some.keys(), 41);
        EXPECT_EQ(some.gradient_sizes().features, 2 * 41 * 3 * width);
        expect_bias(some, slopes, edges, feature_heads, 17, Future::zero);
      }
    }
  }
}

TYPED_TEST(PathIntegralOf, AnglesStayExactFarOut) {
  using A = TypeParam;
  constexpr Index kSeq = 3000;
  Random random(612);
  const auto p = rounded<A>(random.uniforms(kSeq * 4, -1, 1));
  const reference::Edges edges({p.begin(), p.end()}, {1, kSeq, 1, 4},
                               {.epsilon = std::numeric_limits<A>::epsilon()});
  const auto bias = grape::PathIntegral<A>(std::vector<double>{1.0})
                        .at(grape::blhd(p.data(), 1, kSeq, 1, 4), QueryRange{kSeq - 1, 1});
  std::vector<A> got(kSeq);
  bias.tile({0, 0, 0, 1, 0, kSeq}, got.data(), kSeq);
  const auto want = edges.row(kUnit<A>, 0, 0, kSeq - 1);
  for (std::size_t j = 0; j < got.size(); ++j) {
    ASSERT_NEAR(got[j], want[j].bias, want[j].tolerance) << j;
  }
}

TYPED_TEST(PathIntegralOf, MatchesTheGoldenNumbers) {
  using A = TypeParam;
  std::vector<std::string> names;
  for (const char* family : {"grape_ap_paper", "grape_ap_authors", "grape_ap_bias"}) {
    for (const std::string& name : golden::families(family)) names.push_back(name);
  }
  ASSERT_EQ(names.size(), 13u);
  for (const std::string& name : names) {
    SCOPED_TRACE(name);
    const golden::Case c = golden::load(name);
    const bool authors = name.find("authors") != std::string::npos;
    const golden::Array p = c.inputs("p"), want = c.outputs("bias");
    const golden::Array slopes = c.inputs(c.has_input("alpha") ? "alpha" : "slopes");
    const Index batch = p.shape[0], seq = p.shape[1], heads = p.shape[2], width = p.shape[3];
    const bool half_split = authors || name.rfind("more/", 0) != 0;
    const PathIntegralPath<> path{authors ? ProbeConvention::authors : ProbeConvention::paper,
                                  half_split ? Pairing::half_split : Pairing::interleaved,
                                  std::numeric_limits<double>::epsilon()};
    const grape::PathIntegral<A> ap(grape::UnipotentGenerator<A>(slopes.data), path);
    const auto bias = ap.at(grape::blhd(p.data.data(), batch, seq, heads, width), Future::zero);
    const reference::Edges edges(p.data, {batch, seq, heads, width}, rule_of<A>(path));
    std::size_t n = 0;
    for (Index b = 0; b < batch; ++b) {
      for (Index h = 0; h < heads; ++h) {
        const double slope = slopes.data[static_cast<std::size_t>(h)];
        for (Index t = 0; t < seq; ++t) {
          const auto row = edges.row(kUnit<A>, b, h, t);
          // Theirs is the sum of all edges less that of the first ones.
          const double theirs = 2 * slope * edges.row(0x1p-53, b, h, t).back().tolerance;
          for (Index j = 0; j < seq; ++j, ++n) {
            const double ours = j > t ? 0 : slope * row[static_cast<std::size_t>(j)].tolerance;
            ASSERT_NEAR(bias(b, h, t, j), want.data[n], ours + (j > t ? 0 : theirs));
          }
        }
      }
    }
  }
}

TYPED_TEST(PathIntegralOf, TilesAreTheSumsWhereverTheyAreCut) {
  using A = TypeParam;
  Random random(613);
  constexpr Index kSeq = 150, kStart = 30, kQueries = 110;
  const auto p = rounded<A>(random.uniforms(kSeq * 6, -2, 2));
  const reference::Edges edges({p.begin(), p.end()}, {1, kSeq, 1, 6},
                               {.epsilon = std::numeric_limits<A>::epsilon()});
  const auto bias =
      grape::PathIntegral<A>(std::vector<double>{0.5})
          .at(grape::blhd(p.data(), 1, kSeq, 1, 6), QueryRange{kStart, kQueries}, Future::zero);
  std::vector<std::vector<reference::Edges::Entry>> rows_of;
  for (Index i = 0; i < kQueries; ++i) rows_of.push_back(edges.row(kUnit<A>, 0, 0, kStart + i));
  std::vector<A> whole(kQueries * kSeq);
  bias.tile({0, 0, 0, kQueries, 0, kSeq}, whole.data(), kSeq);
  for (int trial = 0; trial < 100; ++trial) {
    const Index q = random.integer(0, kQueries - 1), rows = random.integer(0, kQueries - q);
    // add_tile, from the last key to the first, in pieces of any size; what is there stays.
    const Index stride = kSeq + 3;
    std::vector<A> scores(static_cast<std::size_t>((rows + 1) * stride), A(2));
    std::vector<double> carry(static_cast<std::size_t>(rows), 0.0);
    for (Index end = kSeq; end > 0;) {
      const Index keys = std::min<Index>(end, random.integer(0, 70));
      end -= keys;
      bias.add_tile({0, 0, q, rows, end, keys}, scores.data() + end, stride, carry.data());
      if (keys == 0 || rows == 0) continue;
      std::vector<A> tile(static_cast<std::size_t>(rows * keys), A(9));
      bias.tile({0, 0, q, rows, end, keys}, tile.data(), keys);
      for (Index r = 0; r < rows; ++r) {
        const Index t = kStart + q + r;
        const Index c = random.integer(0, keys - 1);
        const A alone = whole[static_cast<std::size_t>((q + r) * kSeq + end + c)];
        const auto& row = rows_of[static_cast<std::size_t>(q + r)];
        const double off = t < end + c ? 0 : row[static_cast<std::size_t>(end + c)].tolerance;
        ASSERT_NEAR(tile[static_cast<std::size_t>(r * keys + c)], alone, off);
        ASSERT_NEAR(scores[static_cast<std::size_t>(r * stride + end + c)], A(2) + alone,
                    off + 4 * kUnit<A> * (2 + std::fabs(alone)));
      }
    }
    for (Index r = 0; r < rows; ++r) {
      for (Index c = kSeq; c < stride; ++c) {
        ASSERT_EQ(scores[static_cast<std::size_t>(r * stride + c)], A(2));
      }
    }
  }
}

TYPED_TEST(PathIntegralOf, IsMonotoneAndNeverAboveZero) {
  using A = TypeParam;
  Random random(614);
  for (const double size : {1e-30, 1.0, 1e18}) {
    for (const auto& path : paths<A>()) {
      const auto p = rounded<A>(random.uniforms(70 * 2 * 7, -size, size));
      const auto bias = grape::PathIntegral<A>(2, path).at(grape::blhd(p.data(), 1, 70, 2, 7));
      for (Index h = 0; h < 2; ++h) {
        for (Index t = 0; t < 70; ++t) {
          ASSERT_EQ(bias(0, h, t, t), 0);
          for (Index j = 0; j < t; ++j) {
            ASSERT_LE(bias(0, h, t, j), bias(0, h, t, j + 1));
            ASSERT_GT(bias(0, h, t, j), -kInfinity);
          }
        }
      }
    }
  }
}

TYPED_TEST(PathIntegralOf, NoEntryExceedsTheBound) {
  using A = TypeParam;
  Random random(615);
  for (const double size : {1e-3, 1.0, 50.0}) {
    for (const auto& path : paths<A>()) {
      const auto p = rounded<A>(random.uniforms(2 * 90 * 5, -size, size));
      const std::vector<double> slopes{0.5, 1e-44};
      const grape::PathIntegral<A> ap(grape::UnipotentGenerator<A>(slopes), path);
      for (const Future future : {Future::mask, Future::zero}) {
        const auto bias = ap.at(grape::blhd(p.data(), 1, 90, 2, 5), QueryRange{10, 75}, future);
        for (int trial = 0; trial < 100; ++trial) {
          const Index q = random.integer(0, 74), k = random.integer(0, 89);
          const Index rows = random.integer(1, 75 - q), keys = random.integer(1, 90 - k);
          std::vector<A> tile(static_cast<std::size_t>(rows * keys));
          const grape::ScoreTile where{0, random.integer(0, 1), q, rows, k, keys};
          bias.tile(where, tile.data(), keys);
          const A most = *std::max_element(tile.begin(), tile.end());
          ASSERT_LE(most, bias.upper_bound(where));
          if (k > 10 + q) {  // its first query sees none or itself
            ASSERT_EQ(bias.upper_bound(where),
                      k > 9 + q + rows && future == Future::mask ? -kInfinity : 0);
          }
        }
      }
      // Far keys are known to be far: by the paper's convention an edge is log sigmoid(1) at most.
      const auto bias = ap.at(grape::blhd(p.data(), 1, 90, 2, 5));
      if (path.convention == ProbeConvention::paper) {
        EXPECT_LT(bias.upper_bound({0, 0, 80, 10, 0, 21}), -60 * 0.5 * 0.31);
      }
    }
  }
  std::vector<A> p(3 * 2, A(1));
  EXPECT_EQ(grape::PathIntegral<A>(std::vector<double>{-1.0})
                .at(grape::blhd(p.data(), 1, 3, 1, 2))
                .upper_bound({0, 0, 2, 1, 0, 1}),
            kInfinity);
  p[5] = std::numeric_limits<A>::quiet_NaN();
  EXPECT_EQ(grape::PathIntegral<A>(1)
                .at(grape::blhd(p.data(), 1, 3, 1, 2))
                .upper_bound({0, 0, 1, 2, 0, 1}),
            kInfinity);
}

// A link that knows nothing of the tokens, and one that is linear.
struct Constant {
  static constexpr bool increasing = true;
  double operator()(double) const { return -1; }
  double derivative(double) const { return 0; }
};
struct Shifted {
  double shift = 3;
  template <class A>
  A operator()(A x) const {
    return x - static_cast<A>(shift);
  }
  template <class A>
  A derivative(A) const {
    return 1;
  }
};

TYPED_TEST(PathIntegralOf, ConstantEdgesAreALiBi) {
  using A = TypeParam;
  Random random(616);
  const auto p = rounded<A>(random.uniforms(45 * 3 * 4, -1, 1));
  const auto bias = grape::PathIntegral<A, Constant>(3).at(grape::blhd(p.data(), 1, 45, 3, 4));
  const auto alibi =
      grape::ALiBi<A>(3).at(grape::Positions::range(0, 45), grape::Positions::range(0, 45));
  for (Index h = 0; h < 3; ++h) {
    for (Index i = 0; i < 45; ++i) {
      for (Index j = 0; j < 45; ++j) {
        ASSERT_EQ(bias(0, h, i, j), alibi(0, h, i, j));  // their slopes are powers of 2
      }
    }
  }
}

// Where every token asks with the same probe c, an edge knows its earlier token alone:
// psi(t, l) = alpha g(<c, R_l c> / d), which is a forget gate, and for a linear link a phase.
template <class A, class Link, class Gate>
void expect_forgetting(const Link& link, const Gate& gate) {
  constexpr Index kSeq = 67;
  Random random(617);
  const std::vector<double> slopes{0.5, 1.25};
  for (const Index width : {Index{2}, Index{9}}) {
    const auto c = rounded<A>(random.uniforms(2 * width, -1, 1));
    std::vector<A> p;
    for (Index t = 0; t < kSeq; ++t) p.insert(p.end(), c.begin(), c.end());
    const PathIntegralPath<Link> path{.link = link};
    const auto bias = grape::PathIntegral<A, Link>(grape::UnipotentGenerator<A>(slopes), path)
                          .at(grape::blhd(p.data(), 1, kSeq, 2, width));
    const reference::Edges edges({p.begin(), p.end()}, {1, kSeq, 2, width},
                                 {.epsilon = std::numeric_limits<A>::epsilon(), .link = gate});
    std::vector<double> log_forget;
    for (Index l = 0; l < kSeq; ++l) {
      for (Index h = 0; h < 2; ++h) {
        log_forget.push_back(static_cast<double>(edges.edge(0, h, kSeq - 1, l)));
      }
    }
    const auto fox = grape::FoX<A>(slopes).at(grape::blh(log_forget.data(), 1, kSeq, 2));
    for (Index h = 0; h < 2; ++h) {
      for (Index t = 0; t < kSeq; ++t) {
        const auto row = edges.row(kUnit<A>, 0, h, t);
        for (Index j = 0; j <= t; ++j) {
          const A want = fox(0, h, t, j);
          ASSERT_NEAR(
              bias(0, h, t, j), want,
              slopes[static_cast<std::size_t>(h)] * row[static_cast<std::size_t>(j)].tolerance +
                  2 * kUnit<A> * std::fabs(want));
        }
      }
    }
  }
}

TYPED_TEST(PathIntegralOf, EdgesOfOneEndAreForgetGates) {
  expect_forgetting<TypeParam>(grape::LogSigmoidLink{}, reference::EdgeRule{}.link);
}
TYPED_TEST(PathIntegralOf, LinearEdgesOfOneEndAreAPhase) {
  expect_forgetting<TypeParam>(Shifted{2.0}, [](long double x) { return x - 2; });
}

TYPED_TEST(PathIntegralOf, TakesFeaturesOfEveryElementTypeAndStride) {
  using A = TypeParam;
  Random random(618);
  const auto check = [&](auto one) {
    using T = decltype(one);
    for (const Layout& layout : layouts(2, 35, 2, 6)) {
      SCOPED_TRACE(layout.name);
      Strided<T> p(layout, random);
      const auto dense = rounded<T>(p.values());
      const grape::PathIntegral<A> ap(2);
      const auto got = ap.at(p.tensor(), QueryRange{30, 5});
      const auto want = ap.at(grape::blhd(dense.data(), 2, 35, 2, 6), QueryRange{30, 5});
      for (Index b = 0; b < 2; ++b) {
        for (Index j = 0; j < 35; j += 7) ASSERT_EQ(got(b, 1, 3, j), want(b, 1, 3, j));
      }
    }
  };
  check(1.0F);
  check(1.0);
  check(Eigen::half(1.0F));
  check(Eigen::bfloat16(1.0F));
}

TYPED_TEST(PathIntegralOf, NaNSpoilsTheRowsThatMeetItAlone) {
  using A = TypeParam;
  Random random(619);
  auto p = rounded<A>(random.uniforms(80 * 4, -1, 1));
  const grape::PathIntegral<A> ap(1);
  const auto clean = ap.at(grape::blhd(p.data(), 1, 80, 1, 4));
  constexpr Index kBad = 40;
  p[kBad * 4 + 2] = std::numeric_limits<A>::quiet_NaN();
  const auto bias = ap.at(grape::blhd(p.data(), 1, 80, 1, 4));
  for (Index t = 0; t < 80; ++t) {
    for (Index j = 0; j <= t; ++j) {
      const bool meets = j < t && (t == kBad || (t > kBad && j < kBad));
      if (meets) {
        ASSERT_TRUE(std::isnan(bias(0, 0, t, j))) << t << " " << j;
      } else {
        ASSERT_EQ(bias(0, 0, t, j), clean(0, 0, t, j)) << t << " " << j;
      }
    }
  }
}

// --- again in place, streaming, errors ---

TYPED_TEST(PathIntegralOf, AppendedTokensAreThoseOfTheWhole) {
  using A = TypeParam;
  Random random(620);
  constexpr Index kSeq = 200;
  for (const auto& path : paths<A>()) {
    const auto p = rounded<A>(random.uniforms(2 * kSeq * 2 * 5, -1, 1));
    const auto part = [&](Index from, Index count) {
      return grape::TensorView<const A>(p.data() + from * 10, {2, count, 2, 5},
                                        {kSeq * 10, 10, 5, 1});
    };
    const grape::PathIntegral<A> ap(2, path);
    const auto whole = ap.at(part(0, kSeq));
    for (const Index piece : {Index{1}, Index{7}, Index{64}}) {
      grape::BiasAction<A> bias;
      ap.append(part(0, 3), bias);  // begins an empty action
      for (Index from = 3; from < kSeq;) {
        Index count = std::min(piece, kSeq - from);
        ap.append(part(from, count), bias);
        ASSERT_EQ(bias.keys(), from + count);
        ASSERT_EQ(bias.queries(), count);
        if (random.integer(0, 9) == 0) {  // a draft that is rejected, and come again in part
          bias.truncate(from);
          ASSERT_EQ(bias.keys(), from);
          ASSERT_EQ(bias.queries(), 0);
          count = std::min<Index>(count, 2);
          ap.append(part(from, count), bias);
        }
        for (Index b = 0; b < 2; ++b) {
          std::vector<A> got(static_cast<std::size_t>(from + count));
          std::vector<A> want(got);
          bias.tile({b, 1, count - 1, 1, 0, from + count}, got.data(), 0);
          whole.tile({b, 1, from + count - 1, 1, 0, from + count}, want.data(), 0);
          ASSERT_TRUE(same_bits(got, want));
        }
        from += count;
      }
      const auto append = [&](auto features) {
        return [&bias, &ap, features] { ap.append(features, bias); };
      };
      EXPECT_TRUE(
          rejects(append(grape::blhd(p.data(), 2, 1, 2, 6)), "features", "width 6", "width 5"));
      EXPECT_TRUE(rejects(append(grape::blhd(p.data(), 1, 1, 2, 5)), "features", "1", "2"));
      EXPECT_TRUE(
          rejects(append(grape::blhd(p.data(), 2, 1, 1, 5)), "features", "1 heads", "2 heads"));
      PathIntegralPath<> other = path;
      other.epsilon = 0.5;
      EXPECT_TRUE(rejects([&] { grape::PathIntegral<A>(2, other).append(part(0, 1), bias); },
                          "path", "other options", "epsilon"));
      EXPECT_EQ(bias.keys(), kSeq);
      const auto copy = bias;  // stays as it is
      ap.append(part(0, 1), bias);
      EXPECT_EQ(copy.keys(), kSeq);
      EXPECT_EQ(bias.keys(), kSeq + 1);
      if constexpr (std::same_as<A, double>) {
        std::vector<double> d(2 * (kSeq + 1), 1.0);
        std::vector<double> got(at(bias.gradient_sizes().features), 0.0);
        grape::BiasAction<A> again;
        std::vector<A> all;
        for (Index b = 0; b < 2; ++b) {
          const auto x = p.begin() + b * kSeq * 10;
          all.insert(all.end(), x, x + kSeq * 10);
          all.insert(all.end(), x, x + 10);
        }
        ap.at(grape::blhd(all.data(), 2, kSeq + 1, 2, 5), QueryRange{kSeq, 1}, again);
        std::vector<double> want(got);
        for (Index b = 0; b < 2; ++b) {
          for (const auto* action : {&bias, &again}) {
            std::vector<double> scratch(at(action->gradient_sizes().path), 0.0);
            std::vector<double>& out = action == &bias ? got : want;
            const double before[1] = {};
            const grape::BiasGradients gradients{.features = out, .path = scratch};
            action->tile_vjp({b, 1, 0, 1, 0, kSeq + 1}, d.data(), kSeq + 1, before, gradients);
            action->finish_vjp(b, 1, gradients);
          }
        }
        ASSERT_EQ(got, want);
      }
    }
  }
}

TEST(PathIntegralBias, IsPreparedAgainInPlace) {
  const std::vector<float> p{1, 2, 3, 4, 5, 6};
  const grape::PathIntegral<float> ap(1);
  auto bias = ap.at(grape::blhd(p.data(), 1, 3, 1, 2));
  const auto copy = bias;
  ap.at(grape::blhd(p.data(), 1, 2, 1, 2), bias);
  EXPECT_EQ(copy.keys(), 3);  // a shared source is left alone
  EXPECT_EQ(bias.keys(), 2);
  EXPECT_EQ(bias(0, 0, 1, 0), copy(0, 0, 1, 0));
  const auto* source = bias.unshared<grape::PathIntegralBias<float>>();
  ASSERT_NE(source, nullptr);
  ap.at(grape::blhd(p.data(), 1, 3, 1, 2), QueryRange{2, 1}, bias);
  EXPECT_EQ(bias.unshared<grape::PathIntegralBias<float>>(), source);
  EXPECT_EQ(bias(0, 0, 0, 0), copy(0, 0, 2, 0));
  ap.at(grape::blhd(p.data(), 1, 3, 1, 2), QueryRange{0, 1}, Future::zero, bias);
  EXPECT_EQ(bias(0, 0, 0, 2), 0);
  EXPECT_THROW(ap.at(grape::blhd(p.data(), 1, 1, 2, 3), bias), grape::ArgumentError);
  EXPECT_EQ(bias.keys(), 3);
  const float* none = nullptr;
  EXPECT_EQ(ap.at(grape::blhd(none, 1, 0, 1, 2)).keys(), 0);
}

TEST(PathIntegralBias, HasALiBisSlopesUnlessGiven) {
  const grape::PathIntegral<float> ap(12);
  const std::vector<double> want = grape::alibi_slopes(12);
  ASSERT_EQ(ap.generator().sets(), 12);
  EXPECT_TRUE(std::equal(want.begin(), want.end(), ap.generator().slopes().begin()));
  const grape::PathIntegral<float> authors(2, PathIntegralPath<>::authors());
  EXPECT_EQ(authors.path().convention, ProbeConvention::authors);
  EXPECT_EQ(authors.path().pairing, Pairing::half_split);
}

// A link with a state, which says when two are equal.
struct ScaledLink {
  double by = 1;
  template <class A>
  A operator()(A x) const {
    return static_cast<A>(by) * x;
  }
  template <class A>
  A derivative(A) const {
    return static_cast<A>(by);
  }
  bool operator==(const ScaledLink&) const = default;
};

TEST(PathIntegralBias, RejectsWhatItCannotUse) {
  const grape::PathIntegral<float> ap(2);
  const std::vector<float> p(24, 1.0F);
  const auto at = [&](auto... rest) {
    return [&, rest...] { ap.at(grape::blhd(p.data(), 1, 3, 2, 4), rest...); };
  };
  EXPECT_TRUE(rejects(at(Future::symmetric), "future", "symmetric", "Future::mask"));
  EXPECT_TRUE(rejects(at(QueryRange{-1, 1}), "query range start", "-1", "[0, 3]"));
  EXPECT_TRUE(rejects(at(QueryRange{1, 3}), "query range count", "3", "at most the 2 tokens"));
  EXPECT_TRUE(rejects([&] { ap.at(grape::blhd(p.data(), 1, 2, 3, 4)); }, "features heads", "3",
                      "2 heads of the generator, or 1"));
  EXPECT_TRUE(
      rejects([&] { ap.at(grape::blhd(p.data(), 1, 2, 2, 0)); }, "features dim", "0", ">= 1"));
  for (const double epsilon : {-1e-9, kInfinity, std::nan("")}) {
    const grape::PathIntegral<float> bad(2, PathIntegralPath<>{.epsilon = epsilon});
    EXPECT_TRUE(rejects([&] { bad.at(grape::blhd(p.data(), 1, 3, 2, 4)); }, "path epsilon",
                        grape::detail::text(epsilon), "finite"));
  }
  const grape::PathIntegral<float, ScaledLink> halved(2, {.link = {0.5}}), whole(2, {.link = {1}});
  auto grown = halved.at(grape::blhd(p.data(), 1, 3, 2, 4));
  halved.append(grape::blhd(p.data(), 1, 1, 2, 4), grown);
  EXPECT_TRUE(rejects([&] { whole.append(grape::blhd(p.data(), 1, 1, 2, 4), grown); }, "path",
                      "another link", "of the action"));
  EXPECT_TRUE(rejects([] { grape::PathIntegral<float>(0); }, "heads", "0", ">= 1"));
}

}  // namespace
