// SPDX-License-Identifier: Apache-2.0
#include "grape/attention/kv_shift.hpp"

#include <gtest/gtest.h>

#include <Eigen/Core>
#include <cmath>
#include <limits>

#include "grape/math/gates.hpp"
#include "support/errors.hpp"
#include "support/executors.hpp"
#include "support/golden.hpp"
#include "support/random.hpp"
#include "support/strided.hpp"

namespace {

using grape::Index;

template <class T>
class ShiftOf : public testing::Test {};
TYPED_TEST_SUITE(ShiftOf, ElementTypes);

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

// Gates as they come from a sigmoid in T, both ends among them.
template <class T>
void set_gates(Strided<T>& gates, Random& random) {
  gates.for_each([&](std::size_t i) {
    const double a = random.integer(0, 9) == 0 ? static_cast<double>(random.integer(0, 1))
                                               : random.uniform(0, 1);
    gates.memory()[i] = static_cast<T>(static_cast<grape::accumulation_t<T>>(a));
  });
}

TYPED_TEST(ShiftOf, IsItsDefinitionForEveryLayout) {
  using T = TypeParam;
  using A = grape::accumulation_t<T>;
  Random random(701);
  for (const Index sets : {Index{1}, Index{2}, Index{4}}) {
    for (const Index dim : {Index{1}, Index{7}, Index{133}}) {
      for (const Layout& layout : layouts(2, 6, 4, dim)) {
        SCOPED_TRACE(layout.name);
        Strided<T> gates(layouts(2, 6, sets, 1)[3], random), x(layout, random, 2);
        set_gates(gates, random);
        const std::vector<T> memory = x.memory();
        const std::vector<double> a = gates.values(), before = x.values();
        grape::shift_tokens(gates.tensor(), x.tensor());
        EXPECT_TRUE(x.same_outside(memory));
        const std::vector<double> got = x.values();
        std::size_t n = 0;
        for (Index b = 0; b < 2; ++b) {
          for (Index t = 0; t < 6; ++t) {
            for (Index h = 0; h < 4; ++h) {
              const double alpha = a[at((b * 6 + t) * sets + h * sets / 4)];
              for (Index d = 0; d < dim; ++d, ++n) {
                const double earlier = t == 0 ? 0 : before[n - at(4 * dim)];
                const double want = alpha * earlier + (1 - alpha) * before[n];
                // 1 - alpha rounds, each product and the sum.
                const double kernel =
                    Rounding<A>::unit * 3 *
                    (alpha * std::fabs(earlier) + (1 - alpha) * std::fabs(before[n]));
                const double store =
                    std::same_as<T, A>
                        ? 0
                        : Rounding<T>::unit * (std::fabs(want) + kernel) + Rounding<T>::least;
                ASSERT_NEAR(got[n], want, kernel + store) << b << " " << t << " " << h << " " << d;
              }
            }
          }
        }
        for (int way = 0; way < 2; ++way) {
          Strided<T> again(layout, random);
          again.memory() = memory;
          way == 0 ? grape::shift_tokens(gates.tensor(), again.tensor(), Threads{3})
                   : grape::shift_tokens(gates.tensor(), again.tensor(), Reversed{});
          EXPECT_TRUE(same_bits(again.memory(), x.memory()));
        }
      }
    }
  }
}

TYPED_TEST(ShiftOf, PiecesOfAStreamAreTheWhole) {
  using T = TypeParam;
  Random random(702);
  constexpr Index kSeq = 23;
  Strided<T> gates(layouts(2, kSeq, 3, 1)[0], random), x(layouts(2, kSeq, 3, 5)[0], random);
  set_gates(gates, random);
  const std::vector<T> raw = x.memory();
  grape::shift_tokens(gates.tensor(), x.tensor());
  const auto part = [](T* data, Index from, Index count, Index dim) {
    return grape::TensorView<T>(data + from * 3 * dim, {2, count, 3, dim},
                                {kSeq * 3 * dim, 3 * dim, dim, 1});
  };
  for (const Index piece : {Index{1}, Index{2}, Index{9}, kSeq}) {
    std::vector<T> got = raw;
    grape::TokenShiftState<T> state;
    for (Index from = 0; from < kSeq; from += piece) {
      const Index count = std::min(piece, kSeq - from);
      const auto step = [&](grape::TokenShiftState<T>& s) {
        grape::shift_tokens(part(gates.data(), from, count, 1), part(got.data(), from, count, 5),
                            s);
      };
      // A draft that is thrown away first: the snapshot goes on as if it had not been.
      const std::vector<T> before = got;
      grape::TokenShiftState<T> draft = state;
      step(draft);
      got = before;
      step(state);
    }
    EXPECT_TRUE(same_bits(got, x.memory()));
    state.reset();
    EXPECT_TRUE(state.empty());
  }
}

TYPED_TEST(ShiftOf, GradientsAreTheTranspose) {
  using T = TypeParam;
  using A = grape::accumulation_t<T>;
  Random random(703);
  constexpr Index kSeq = 9, kDim = 6, kSets = 2;
  for (const Layout& layout : layouts(2, kSeq, 4, kDim)) {
    SCOPED_TRACE(layout.name);
    Strided<T> gates(layouts(2, kSeq, kSets, 1)[4], random);
    Strided<T> x(layouts(2, kSeq, 4, kDim)[1], random, 2), d(layout, random, 2);
    set_gates(gates, random);
    const std::vector<T> memory = d.memory();
    const std::vector<double> a = gates.values(), v = x.values(), w = d.values();
    std::vector<double> d_alpha(2 * kSeq * kSets, 0.5);
    grape::shift_tokens_vjp(gates.tensor(), x.tensor(), d.tensor(), d_alpha);
    EXPECT_TRUE(d.same_outside(memory));
    const std::vector<double> got = d.values();
    std::vector<double> want_alpha(2 * kSeq * kSets, 0.5);
    std::size_t n = 0;
    constexpr std::size_t kToken = 4 * kDim;
    for (Index b = 0; b < 2; ++b) {
      for (Index t = 0; t < kSeq; ++t) {
        for (Index h = 0; h < 4; ++h) {
          const Index set = h * kSets / 4;
          const double alpha = a[at((b * kSeq + t) * kSets + set)];
          const double next = t + 1 == kSeq ? 0 : a[at((b * kSeq + t + 1) * kSets + set)];
          for (Index e = 0; e < kDim; ++e, ++n) {
            const double later = t + 1 == kSeq ? 0 : w[n + kToken];
            const double want = (1 - alpha) * w[n] + next * later;
            const double kernel =
                Rounding<A>::unit * 3 * ((1 - alpha) * std::fabs(w[n]) + next * std::fabs(later));
            const double store =
                std::same_as<T, A>
                    ? 0
                    : Rounding<T>::unit * (std::fabs(want) + kernel) + Rounding<T>::least;
            ASSERT_NEAR(got[n], want, kernel + store);
            const double earlier = t == 0 ? 0 : v[n - kToken];
            want_alpha[at((b * kSeq + t) * kSets + set)] += w[n] * (earlier - v[n]);
          }
        }
      }
    }
    for (std::size_t i = 0; i < d_alpha.size(); ++i) {  // 12 terms of at most 8, in another order
      ASSERT_NEAR(d_alpha[i], want_alpha[i], 4 * 12 * 8 * 12 * 0x1p-53);
    }
    for (int way = 0; way < 2; ++way) {
      Strided<T> again(layout, random);
      again.memory() = memory;
      std::vector<double> alpha_again(d_alpha.size(), 0.5);
      way == 0 ? grape::shift_tokens_vjp(gates.tensor(), x.tensor(), again.tensor(), alpha_again,
                                         Threads{3})
               : grape::shift_tokens_vjp(gates.tensor(), x.tensor(), again.tensor(), alpha_again,
                                         Reversed{});
      EXPECT_TRUE(same_bits(again.memory(), d.memory()));
      EXPECT_EQ(alpha_again, d_alpha);
    }
  }
}

TEST(Shift, MatchesTheGoldenNumbers) {
  const golden::Case c = golden::load("kv_shift_0");
  const golden::Array x = c.inputs("x"), alpha = c.inputs("alpha");
  const Index batch = x.shape[0], seq = x.shape[1], heads = x.shape[2], dim = x.shape[3];
  std::vector<double> y = x.data, d = c.inputs("w").data;
  const auto gates = grape::blh(alpha.data.data(), batch, seq, heads);
  grape::shift_tokens(gates, grape::blhd(y.data(), batch, seq, heads, dim));
  std::vector<double> d_alpha(alpha.data.size(), 0.0);
  grape::shift_tokens_vjp(gates, grape::blhd(x.data.data(), batch, seq, heads, dim),
                          grape::blhd(d.data(), batch, seq, heads, dim), d_alpha);
  const auto expect_near = [](const std::vector<double>& got, const std::vector<double>& want) {
    ASSERT_EQ(got.size(), want.size());
    for (std::size_t i = 0; i < got.size(); ++i) {  // sums of at most 8 terms of order 4
      ASSERT_NEAR(got[i], want[i], 8 * 8 * 4 * 0x1p-53) << i;
    }
  };
  expect_near(y, c.outputs("y").data);
  expect_near(d, c.gradients("x").data);
  expect_near(d_alpha, c.gradients("alpha").data);
}

// Of the authors' projections o = W x and gates sigmoid(S x): [tokens, C] by [out, C].
std::vector<double> project(const golden::Array& x, const golden::Array& weight) {
  const Index in = weight.shape[1], out = weight.shape[0];
  std::vector<double> y;
  for (std::size_t t = 0; t < x.data.size() / at(in); ++t) {
    for (Index o = 0; o < out; ++o) {
      double sum = 0;
      for (Index i = 0; i < in; ++i)
        sum += x.data[t * at(in) + at(i)] * weight.data[at(o * in + i)];
      y.push_back(sum);
    }
  }
  return y;
}

TEST(Shift, MatchesTheAuthorsLayerAndItsDecoding) {
  int layers = 0, steps = 0;
  for (const std::string& name : golden::families("kv_shift")) {
    if (name.find("shift_linear") == std::string::npos) continue;
    SCOPED_TRACE(name);
    const golden::Case c = golden::load(name);
    const golden::Array x = c.inputs("x");
    const Index heads = c.inputs("shift_proj.weight").shape[0];
    const Index batch = x.shape[0], seq = x.shape[1];
    std::vector<double> y = project(x, c.inputs("linear.weight"));
    std::vector<double> gates = project(x, c.inputs("shift_proj.weight"));
    for (double& g : gates) g = grape::sigmoid(g);
    const Index dim = static_cast<Index>(y.size()) / (batch * seq * heads);
    grape::TokenShiftState<double> state;
    const bool decode = c.has_input("shift_state");
    if (decode) {  // the state is what a stream of that one token leaves behind
      std::vector<double> last = c.inputs("shift_state").data;
      const std::vector<double> open(at(batch * heads), 0.0);
      grape::shift_tokens(grape::blh(open.data(), batch, 1, heads),
                          grape::blhd(last.data(), batch, 1, heads, dim), state);
    }
    grape::shift_tokens(grape::blh(gates.data(), batch, seq, heads),
                        grape::blhd(y.data(), batch, seq, heads, dim), state);
    const std::vector<double> want = c.outputs("y").data;
    ASSERT_EQ(y.size(), want.size());
    for (std::size_t i = 0; i < y.size(); ++i) {  // sums of 5 products of order 4
      ASSERT_NEAR(y[i], want[i], 16 * 5 * 4 * 0x1p-53);
    }
    if (decode) {
      const std::vector<double> next = c.outputs("shift_state_new").data;
      for (Index b = 0; b < batch; ++b) {
        for (Index i = 0; i < heads * dim; ++i) {
          ASSERT_NEAR(state.row(b, i / dim)[i % dim], next[at(b * heads * dim + i)],
                      16 * 5 * 4 * 0x1p-53);
        }
      }
    }
    ++(decode ? steps : layers);
  }
  EXPECT_EQ(layers, 2);
  EXPECT_EQ(steps, 2);
}

// The authors' kernel weighs a token and its predecessor freely, y_t = p_t x_{t-1} + c_t x_t: that
// is p times the shift with gates 1 plus c times the one with gates 0, and so are its gradients.
TEST(Shift, MatchesTheAuthorsKernelOfTwoWeights) {
  int cases = 0;
  for (const std::string& name : golden::families("kv_shift")) {
    if (name.find("token_shift") == std::string::npos) continue;
    SCOPED_TRACE(name);
    const golden::Case c = golden::load(name);
    const golden::Array x = c.inputs("x");
    const Index batch = x.shape[0], seq = x.shape[1], heads = x.shape[2], dim = x.shape[3];
    const auto tensor = [&](auto& data) {
      return grape::blhd(data.data(), batch, seq, heads, dim);
    };
    const std::vector<double> weights[] = {c.inputs("curr_weight").data,
                                           c.inputs("prev_weight").data};
    const std::vector<double> w = c.inputs("w_y").data;
    std::vector<double> y(x.data.size(), 0.0), d_x = y;
    for (const std::size_t gate : {0u, 1u}) {
      const std::vector<double>& weight = weights[gate];
      const std::vector<double> alpha(weight.size(), static_cast<double>(gate));
      const auto gates = grape::blh(alpha.data(), batch, seq, heads);
      std::vector<double> shifted = x.data, d = w, d_alpha(alpha.size(), 0.0);
      for (std::size_t i = 0; i < d.size(); ++i) d[i] *= weight[i / at(dim)];
      grape::shift_tokens(gates, tensor(shifted));
      grape::shift_tokens_vjp(gates, tensor(x.data), tensor(d), {});
      std::vector<double> d_weight(weight.size(), 0.0);
      for (std::size_t i = 0; i < y.size(); ++i) {
        y[i] += weight[i / at(dim)] * shifted[i];
        d_x[i] += d[i];
        d_weight[i / at(dim)] += w[i] * shifted[i];
      }
      // Sums of at most 8 products of order 9.
      const auto want = c.gradients(gate == 0 ? "curr_weight" : "prev_weight").data;
      ASSERT_EQ(d_weight.size(), want.size());
      for (std::size_t i = 0; i < want.size(); ++i) {
        ASSERT_NEAR(d_weight[i], want[i], 8 * 8 * 9 * 0x1p-53);
      }
      // A gate moves weight from the token to its predecessor.
      std::vector<double> again = w;
      grape::shift_tokens_vjp(gates, tensor(x.data), tensor(again), d_alpha);
      for (std::size_t i = 0; i < want.size(); ++i) {
        ASSERT_NEAR(d_alpha[i],
                    c.gradients("prev_weight").data[i] - c.gradients("curr_weight").data[i],
                    2 * 8 * 8 * 9 * 0x1p-53);
      }
    }
    for (std::size_t i = 0; i < y.size(); ++i) {
      ASSERT_NEAR(y[i], c.outputs("y").data[i], 4 * 9 * 0x1p-53);
      ASSERT_NEAR(d_x[i], c.gradients("x").data[i], 4 * 9 * 0x1p-53);
    }
    ++cases;
  }
  EXPECT_EQ(cases, 2);
}

TEST(Shift, AFirstTokenHasTheFormulasWeight) {
  // The authors' code has 3 here, and 1.5 in a sequence of two.
  const std::vector<float> alpha{0.5F};
  std::vector<float> x{3.0F};
  grape::shift_tokens(grape::blh(alpha.data(), 1, 1, 1), grape::blhd(x.data(), 1, 1, 1, 1));
  EXPECT_EQ(x[0], 1.5F);
}

TEST(Shift, NaNInDataPropagatesAndNoFurther) {
  const std::vector<float> alpha(4, 0.5F);
  std::vector<float> x{1, std::numeric_limits<float>::quiet_NaN(), 3, 4};
  grape::shift_tokens(grape::blh(alpha.data(), 1, 4, 1), grape::blhd(x.data(), 1, 4, 1, 1));
  EXPECT_EQ(x[0], 0.5F);
  EXPECT_TRUE(std::isnan(x[1]) && std::isnan(x[2]));
  EXPECT_EQ(x[3], 3.5F);
}

TEST(Shift, EmptyTensorsAreLeftAlone) {
  float* none = nullptr;
  const std::vector<float> alpha(4, 0.5F);
  grape::TokenShiftState<float> state;
  std::vector<float> x(12, 1.0F);
  grape::shift_tokens(grape::blh(alpha.data(), 1, 4, 1), grape::blhd(x.data(), 1, 4, 1, 3), state);
  grape::shift_tokens(grape::blh(none, 1, 0, 1), grape::blhd(none, 1, 0, 1, 3), state);
  EXPECT_EQ(state.row(0, 0)[2], 1.0F);
  grape::shift_tokens_vjp(grape::blh(none, 1, 0, 1), grape::blhd(none, 1, 0, 1, 3),
                          grape::blhd(none, 1, 0, 1, 3), {});
}

TEST(Shift, RejectsWhatDoesNotFit) {
  std::vector<float> x(2 * 3 * 4 * 5, 1.0F), a(2 * 3 * 2, 0.5F);
  const auto view = grape::blhd(x.data(), 2, 3, 4, 5);
  const auto shift = [&](auto gates) { return [=] { grape::shift_tokens(gates, view); }; };
  EXPECT_TRUE(rejects(shift(grape::blh(a.data(), 1, 3, 2)), "alpha batch", "1", "batch 2"));
  EXPECT_TRUE(rejects(shift(grape::blh(a.data(), 2, 2, 2)), "alpha seq", "2", "3 tokens"));
  EXPECT_TRUE(rejects(shift(grape::blhd(a.data(), 2, 3, 1, 2)), "alpha dim", "2", "1"));
  EXPECT_TRUE(rejects(shift(grape::blh(a.data(), 2, 3, 0)), "alpha heads", "0", ">= 1"));
  std::vector<float> three(2 * 3 * 3, 0.5F);
  EXPECT_TRUE(rejects(shift(grape::blh(three.data(), 2, 3, 3)), "x heads", "4", "multiple of"));
  EXPECT_TRUE(rejects(shift(grape::blh(x.data(), 2, 3, 2)), "alpha", "shares", "overlap"));
  for (const float bad : {-0x1p-20F, 1.0F + 0x1p-20F, std::numeric_limits<float>::quiet_NaN(),
                          std::numeric_limits<float>::infinity()}) {
    a[9] = bad;
    EXPECT_TRUE(rejects(shift(grape::blh(a.data(), 2, 3, 2)), "alpha(1, 1, 1)",
                        grape::detail::text(bad), "[0, 1]"));
  }
  a[9] = 1;
  const auto gates = grape::blh(a.data(), 2, 3, 2);
  grape::TokenShiftState<float> state;
  std::vector<float> other(2 * 3 * 4 * 6, 1.0F);
  grape::shift_tokens(gates, grape::blhd(other.data(), 2, 3, 4, 6), state);
  EXPECT_TRUE(rejects([&] { grape::shift_tokens(gates, view, state); }, "x", "dim 5", "dim 6"));
  std::vector<double> d_alpha(11);
  std::vector<float> d(x.size(), 1.0F);
  const auto d_view = grape::blhd(d.data(), 2, 3, 4, 5);
  EXPECT_TRUE(rejects([&] { grape::shift_tokens_vjp(gates, view, d_view, d_alpha); }, "d_alpha",
                      "11 entries", "12 (batch x seq x"));
  EXPECT_TRUE(
      rejects([&] { grape::shift_tokens_vjp(gates, view, view, {}); }, "d", "shares", "overlap"));
  EXPECT_TRUE(rejects(
      [&] { grape::shift_tokens_vjp(gates, grape::blhd(other.data(), 2, 3, 4, 6), d_view, {}); },
      "x dim", "6", "5"));
  EXPECT_EQ(x, std::vector<float>(x.size(), 1.0F));
  EXPECT_EQ(d, std::vector<float>(x.size(), 1.0F));
}

}  // namespace
