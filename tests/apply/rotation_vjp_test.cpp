// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <Eigen/Core>
#include <unsupported/Eigen/AutoDiff>

#include "grape/apply/rotation.hpp"
#include "grape/group/block_rotation.hpp"
#include "grape/presets.hpp"
#include "grape/spectrum/log_uniform.hpp"
#include "support/errors.hpp"
#include "support/executors.hpp"
#include "support/golden.hpp"
#include "support/matrices.hpp"
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

reference::Planes planes_of(const Spectrum& spectrum, Pairing pairing, Index first) {
  return {pairing == Pairing::half_split,
          spectrum.sets(),
          spectrum.planes(),
          {spectrum.frequencies().begin(), spectrum.frequencies().end()},
          spectrum.attention_factor(),
          first};
}

template <class T>
double tolerance(double want, double scale) {
  using A = grape::accumulation_t<T>;
  const double kernel = 4 * Rounding<A>::unit * scale;
  const double narrow = std::same_as<T, A> ? 0 : Rounding<T>::unit * (std::fabs(want) + kernel);
  return kernel + narrow + Rounding<T>::least;
}

template <class T>
class RotationVjpOf : public testing::Test {};
TYPED_TEST_SUITE(RotationVjpOf, ElementTypes);

// The transposed action, from one view to another and within one, for every pair of layouts.
TYPED_TEST(RotationVjpOf, IsTheTransposeInEveryLayout) {
  using T = TypeParam;
  for_both_pairings([]<Pairing pairing> {
    Random random(101);
    for (const Spectrum& spectrum :
         {Spectrum(random.frequencies(5)), Spectrum::per_head(random.frequencies(8), 2, 1.3),
          grape::spectrum::proportional(10, 10000.0, 0.5)}) {
      const grape::RoPE<T, pairing> rope(spectrum, grape::RotarySlice{1});
      const auto action = rope.at(Positions::range(-2, 4));
      const reference::Planes planes = planes_of(spectrum, pairing, 1);
      const auto all = layouts(2, 4, 2, 12);
      for (std::size_t i = 0; i < all.size(); ++i) {
        const Layout& to = all[(i * 3 + 1) % all.size()];
        SCOPED_TRACE(all[i].name + " to " + to.name);
        Strided<T> d_out(all[i], random), d_in(to, random);
        const std::vector<T> out_memory = d_out.memory(), in_memory = d_in.memory();
        const std::vector<double> w = d_out.values();
        grape::apply_rotation_vjp(action, grape::TensorView<const T>(d_out.tensor()),
                                  d_in.tensor());
        EXPECT_TRUE(same_bits(d_out.memory(), out_memory));
        EXPECT_TRUE(d_in.same_outside(in_memory));
        const auto want = reference::rotate(
            planes, d_out.shape(), w, [](Index, Index t) { return t - 2; }, Way::transpose);
        const std::vector<double> got = d_in.values();
        for (std::size_t n = 0; n < got.size(); ++n) {
          if (want.scale[n] == 0) {
            ASSERT_EQ(got[n], w[n]) << n;
          } else {
            ASSERT_NEAR(got[n], static_cast<double>(want.value[n]),
                        tolerance<T>(static_cast<double>(want.value[n]),
                                     static_cast<double>(want.scale[n])))
                << n;
          }
        }
        // In place.
        grape::apply_rotation_vjp(action, d_out.tensor(), d_out.tensor());
        EXPECT_TRUE(d_out.same_outside(out_memory));
        const std::vector<double> in_place = d_out.values();
        for (std::size_t n = 0; n < got.size(); ++n) {
          // Loops over other strides may fuse other products.
          ASSERT_NEAR(in_place[n], got[n], 4 * Rounding<T>::unit) << n;
        }
      }
    }
  });
}

TYPED_TEST(RotationVjpOf, RandomShapes) {
  using T = TypeParam;
  for_both_pairings([]<Pairing pairing> {
    Random random(106);
    for (int trial = 0; trial < 50; ++trial) {
      SCOPED_TRACE(trial);
      const Index sets = random.integer(1, 2), heads = sets * random.integer(1, 9);
      const Index batch = random.integer(1, 2), seq = random.integer(1, 40);
      const Index planes = random.integer(1, 40), first = random.integer(0, 2);
      const Spectrum spectrum =
          Spectrum::per_head(random.frequencies(sets * planes), sets, trial % 3 == 0 ? 1.2 : 1.0);
      const auto action = grape::RoPE<T, pairing>(spectrum, grape::RotarySlice{first})
                              .at(Positions::range(trial, seq));
      const auto all = layouts(batch, seq, heads, first + 2 * planes + random.integer(0, 3));
      Strided<T> d_out(all[static_cast<std::size_t>(random.integer(0, 9))], random);
      Strided<T> d_in(all[static_cast<std::size_t>(random.integer(0, 9))], random);
      const std::vector<T> in_memory = d_in.memory();
      const std::vector<double> w = d_out.values();
      grape::apply_rotation_vjp(action, d_out.tensor(), d_in.tensor());
      EXPECT_TRUE(d_in.same_outside(in_memory));
      const auto want = reference::rotate(
          planes_of(spectrum, pairing, first), d_out.shape(), w,
          [&](Index, Index t) { return trial + t; }, Way::transpose);
      const std::vector<double> got = d_in.values();
      for (std::size_t n = 0; n < got.size(); ++n) {
        const auto value = static_cast<double>(want.value[n]);
        const auto scale = static_cast<double>(want.scale[n]);
        ASSERT_NEAR(got[n], value, scale == 0 ? 0 : tolerance<T>(value, scale)) << n;
      }
    }
  });
}

TYPED_TEST(RotationVjpOf, LongRangesAndAnyExecutor) {
  using T = TypeParam;
  Random random(102);
  for (const Index seq : {50, 1100}) {
    const Spectrum spectrum(random.frequencies(4), 0.8);
    const auto action = grape::RoPE<T>(spectrum).at(Positions::range(700, seq));
    Strided<T> d_out(layouts(2, seq, 2, 9)[0], random), a(layouts(2, seq, 2, 9)[1], random);
    Strided<T> b = a, c = a;
    grape::apply_rotation_vjp(action, d_out.tensor(), a.tensor());
    grape::apply_rotation_vjp(action, d_out.tensor(), b.tensor(), Reversed{});
    grape::apply_rotation_vjp(action, d_out.tensor(), c.tensor(), Threads{});
    EXPECT_TRUE(same_bits(a.memory(), b.memory()) && same_bits(a.memory(), c.memory()));
    const auto want = reference::rotate(
        planes_of(spectrum, Pairing::interleaved, 0), d_out.shape(), d_out.values(),
        [](Index, Index t) { return 700 + t; }, Way::transpose);
    const std::vector<double> got = a.values();
    for (std::size_t n = 0; n < got.size(); ++n) {
      const auto value = static_cast<double>(want.value[n]);
      ASSERT_NEAR(got[n], value, tolerance<T>(value, static_cast<double>(want.scale[n]))) << n;
    }
  }
}

// d_frequencies of random shapes against the definition; the terms are taken from `out`, which was
// rounded to T.
TYPED_TEST(RotationVjpOf, FrequencyGradientsOfRandomShapes) {
  using T = TypeParam;
  using A = grape::accumulation_t<T>;
  for_both_pairings([]<Pairing pairing> {
    Random random(103);
    for (int trial = 0; trial < 40; ++trial) {
      const Index sets = random.integer(1, 3), count = random.integer(1, 9);
      const Index heads = sets * random.integer(1, 3), batch = random.integer(1, 3);
      const Index seq = trial == 0 ? 200 : random.integer(1, 20), first = random.integer(0, 2);
      const Spectrum spectrum =
          Spectrum::per_head(random.frequencies(sets * count), sets, random.uniform(0.5, 2));
      const reference::Planes planes = planes_of(spectrum, pairing, first);
      const std::vector<std::int64_t> list = random.integers(batch * seq, -1000, 1000);
      const auto position = [&](Index b, Index t) {
        return list[static_cast<std::size_t>(b * seq + t)];
      };
      const grape::RoPE<T, pairing> rope(spectrum, grape::RotarySlice{first});
      const auto action = rope.at(Positions::per_token(list, batch, seq));
      const auto all = layouts(batch, seq, heads, first + 2 * count + random.integer(0, 2));
      Strided<T> x(all[static_cast<std::size_t>(random.integer(0, 9))], random);
      Strided<T> w(all[static_cast<std::size_t>(random.integer(0, 9))], random);
      const std::vector<double> before = x.values(), weights = w.values();
      grape::apply_rotation(action, x.tensor());
      const std::vector<T> out = x.memory(), w_memory = w.memory();

      std::vector<double> got(static_cast<std::size_t>(sets * count), 100.0);
      grape::apply_rotation_frequency_vjp(action, x.tensor(),
                                          grape::TensorView<const T>(w.tensor()), got);
      EXPECT_TRUE(same_bits(x.memory(), out) && same_bits(w.memory(), w_memory));
      const auto want = reference::frequency_gradient(planes, x.shape(), before, weights, position);
      // Every term is off by |n| |w| times the error of `out`, plus the sum's own roundings.
      std::vector<double> error(got.size(), 0);
      const auto rotated = reference::rotate(planes, x.shape(), before, position);
      const reference::Shape s = x.shape();
      for (Index i = 0; i < s.batch * s.seq * s.heads; ++i) {
        const Index h = i % heads, token = i / heads;
        for (Index m = 0; m < count; ++m) {
          const auto lo = static_cast<std::size_t>(i * s.dim + planes.low(m));
          const auto hi = static_cast<std::size_t>(i * s.dim + planes.high(m));
          const double n = std::fabs(static_cast<double>(list[static_cast<std::size_t>(token)]));
          const auto scale = static_cast<double>(rotated.scale[lo]);
          const double off = tolerance<T>(scale, scale) + 400 * 0x1p-53 * scale;
          error[static_cast<std::size_t>(planes.set(h, heads) * count + m)] +=
              n * (std::fabs(weights[lo]) + std::fabs(weights[hi])) * off;
        }
      }
      for (std::size_t p = 0; p < got.size(); ++p) {
        // It is added to what was there.
        ASSERT_NEAR(got[p] - 100.0, static_cast<double>(want[p]), error[p] + 200 * 0x1p-53)
            << trial << " " << p;
      }
      std::vector<double> reversed(got.size(), 100.0), threaded = reversed;
      grape::apply_rotation_frequency_vjp(action, x.tensor(), w.tensor(), reversed, Reversed{});
      grape::apply_rotation_frequency_vjp(action, x.tensor(), w.tensor(), threaded, Threads{});
      EXPECT_TRUE(same_bits(got, reversed) && same_bits(got, threaded));
      static_assert(sizeof(A) >= sizeof(T));
    }
  });
}

TYPED_TEST(RotationVjpOf, EmptyTensorsAreLeftAlone) {
  using T = TypeParam;
  const auto action =
      grape::RoPE<T>(grape::spectrum::log_uniform(8, 10000.0)).at(Positions::range(0, 3));
  T* null = nullptr;
  const auto none = grape::blhd(null, 0, 3, 2, 8);
  EXPECT_NO_THROW(grape::apply_rotation_vjp(action, none, none));
  std::vector<double> d_theta(4, 5.0);
  EXPECT_NO_THROW(grape::apply_rotation_frequency_vjp(action, none, none, d_theta));
  EXPECT_EQ(d_theta, std::vector<double>(4, 5.0));
}

TYPED_TEST(RotationVjpOf, RejectsShapesThatDoNotFitAndWritesNothing) {
  using T = TypeParam;
  const grape::RoPE<T> rope(Spectrum::per_head({0.1, 0.2, 0.3, 0.4}, 2));
  const auto action = rope.at(Positions::range(1, 3));
  std::vector<T> x(400, static_cast<T>(1.0F));
  const std::vector<T> before = x;
  std::vector<double> d_theta(4, 5.0);
  const auto view = [&](Index offset, Index b, Index l, Index h, Index d) {
    return grape::blhd(x.data() + offset, b, l, h, d);
  };
  const auto good = view(0, 2, 3, 2, 5);
  const auto vjp = [&](const auto& d_out, const auto& d_in) {
    return [&action, d_out, d_in] { grape::apply_rotation_vjp(action, d_out, d_in); };
  };
  EXPECT_TRUE(rejects(vjp(good, view(100, 1, 3, 2, 5)), "d_in batch", "1", "2"));
  EXPECT_TRUE(rejects(vjp(good, view(100, 2, 2, 2, 5)), "d_in seq", "2", "3"));
  EXPECT_TRUE(rejects(vjp(good, view(100, 2, 3, 4, 5)), "d_in heads", "4", "2"));
  EXPECT_TRUE(rejects(vjp(good, view(100, 2, 3, 2, 4)), "d_in dim", "4", "5"));
  EXPECT_TRUE(rejects(vjp(view(0, 2, 4, 2, 5), view(100, 2, 4, 2, 5)), "d_in seq", "4 tokens",
                      "3 positions"));
  EXPECT_TRUE(
      rejects(vjp(view(0, 2, 3, 2, 3), view(100, 2, 3, 2, 3)), "d_in dim", "3", "at least 4"));
  EXPECT_TRUE(rejects(vjp(view(0, 2, 3, 3, 5), view(100, 2, 3, 3, 5)), "d_in", "3 heads",
                      "2 parameter sets"));
  // Overlap in part, and the same memory in another order.
  EXPECT_TRUE(rejects(vjp(good, view(1, 2, 3, 2, 5)), "d_in", "shares elements", "very same view"));
  EXPECT_TRUE(rejects(vjp(good, grape::bhld(x.data(), 2, 2, 3, 5)), "d_in", "shares elements",
                      "very same view"));
  EXPECT_NO_THROW(grape::apply_rotation_vjp(action, view(200, 2, 3, 2, 5), view(260, 2, 3, 2, 5)));

  const auto frequency = [&](const auto& out, const auto& d_out, std::span<double> d) {
    return [&action, out, d_out, d] { grape::apply_rotation_frequency_vjp(action, out, d_out, d); };
  };
  EXPECT_TRUE(rejects(frequency(good, view(0, 2, 3, 2, 4), d_theta), "d_out dim", "4", "5"));
  EXPECT_TRUE(rejects(frequency(good, good, std::span(d_theta).first(3)), "d_frequencies",
                      "3 entries", "4"));
  EXPECT_TRUE(rejects(frequency(view(0, 2, 4, 2, 5), view(0, 2, 4, 2, 5), d_theta), "out seq",
                      "4 tokens", "3 positions"));
  EXPECT_EQ(d_theta, std::vector<double>(4, 5.0));
  x.resize(200, T{});
  EXPECT_TRUE(same_bits(x, std::vector<T>(before.begin(), before.begin() + 200)));
}

// One entry along an axis has no stride, so views that differ in it alone are the same view.
TEST(RotationVjp, InPlaceViewsMayDifferInTheStrideOfASingleEntry) {
  const auto action =
      grape::RoPE<float>(grape::spectrum::log_uniform(4, 10000.0)).at(Positions::range(1, 2));
  std::vector<float> x(8, 1.0F), y = x;
  const grape::TensorView<float> dense(x.data(), {1, 2, 1, 4}, {8, 4, 4, 1});
  const grape::TensorView<float> padded(x.data(), {1, 2, 1, 4}, {64, 4, 16, 1});
  grape::apply_rotation_vjp(action, grape::blhd(y.data(), 1, 2, 1, 4),
                            grape::blhd(y.data(), 1, 2, 1, 4));
  EXPECT_NO_THROW(grape::apply_rotation_vjp(action, padded, dense));
  EXPECT_EQ(x, y);
}

// <w, G^-1 x> = <G^-T w, x>, on coordinates and in a frame, with an attention factor of any size.
TEST(InverseRotationVjp, IsTheTransposeOfTheInverse) {
  Random random(110);
  const auto check = [&](const auto& encoder, double factor) {
    const auto action = encoder.at(Positions::range(-3, 5));
    const std::vector<double> x = random.uniforms(60, -1, 1), w = random.uniforms(60, -1, 1);
    const auto view = [](std::vector<double>& of) { return grape::blhd(of.data(), 1, 5, 2, 6); };
    std::vector<double> out = x, d_out = w, d_x(60);
    grape::apply_inverse_rotation(action, view(out));
    grape::apply_inverse_rotation_vjp(action, view(d_out), view(d_x));
    EXPECT_EQ(d_out, w);
    double forward = 0, backward = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      forward += w[i] * out[i];
      backward += d_x[i] * x[i];
    }
    EXPECT_NEAR(forward, backward, 60 * 0x1p-52 * (std::max)(1.0, 1 / factor));
    grape::apply_inverse_rotation_vjp(action, view(d_out), view(d_out));
    EXPECT_TRUE(same_bits(d_out, d_x));
  };
  for (const double factor : {1.0, 1.3, 1e-18, 1e18}) {
    const Spectrum spectrum({0.9, -0.2}, factor);
    check(grape::RoPE<double>(spectrum), factor);
    check(grape::RoPE<double, Pairing::interleaved>(spectrum), factor);
    const auto frame = grape::frame::orthonormalized(random_matrix(random, 6, 4));
    check(grape::FramedRoPE<double>(frame, spectrum), factor);
  }
}

TEST(RotationVjp, InverseUndoesAnyAttentionFactor) {
  for (const double factor : {1e-18, 0.3, 1e18}) {
    const grape::RoPE<float> rope(Spectrum({0.9, -0.2}, factor));
    const auto action = rope.at(Positions::range(1, 3));
    std::vector<float> x{1, 2, 3, 4, -1, 2, -3, 4, 5, 6, 7, 8};
    const std::vector<float> before = x;
    grape::apply_rotation(action, grape::blhd(x.data(), 1, 3, 1, 4));
    grape::apply_inverse_rotation(action, grape::blhd(x.data(), 1, 3, 1, 4));
    for (std::size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(x[i], before[i], 1e-5) << factor;
  }
  EXPECT_TRUE(rejects([] { Spectrum({1.0}, 1e19); }, "attention_factor", "1e+19", "1e18"));
  EXPECT_TRUE(rejects([] { Spectrum({1.0}, 0x1p-70); }, "attention_factor", "e-22", "1e-18"));
}

TEST(RotationVjp, FiniteDifferences) {
  for_both_pairings([]<Pairing pairing> {
    Random random(104);
    const std::vector<double> theta = random.uniforms(6, -0.1, 0.1);
    const auto loss = [&](const std::vector<double>& frequencies, std::vector<double> x,
                          const std::vector<double>& w) {
      const grape::RoPE<double, pairing> rope(Spectrum::per_head(frequencies, 2, 1.1));
      grape::apply_rotation(rope, Positions::range(-3, 5), grape::blhd(x.data(), 1, 5, 2, 7));
      double sum = 0;
      for (std::size_t i = 0; i < x.size(); ++i) sum += w[i] * x[i];
      return sum;
    };
    const std::vector<double> x = random.uniforms(70, -1, 1), w = random.uniforms(70, -1, 1);
    const grape::RoPE<double, pairing> rope(Spectrum::per_head(theta, 2, 1.1));
    const auto action = rope.at(Positions::range(-3, 5));
    std::vector<double> out = x, d_x = w, d_theta(6, 0.0);
    grape::apply_rotation(action, grape::blhd(out.data(), 1, 5, 2, 7));
    grape::apply_rotation_frequency_vjp(action, grape::blhd(out.data(), 1, 5, 2, 7),
                                        grape::blhd(d_x.data(), 1, 5, 2, 7), d_theta);
    grape::apply_rotation_vjp(action, grape::blhd(d_x.data(), 1, 5, 2, 7),
                              grape::blhd(d_x.data(), 1, 5, 2, 7));
    // Central differences: the loss (below 100) is rounded, and its third derivatives in theta are
    // below 3^3 of it.
    constexpr double kStep = 0x1p-16;
    constexpr double kTolerance = 100 * 0x1p-53 / kStep * 4 + kStep * kStep * 100 * 27;
    for (std::size_t i = 0; i < x.size(); ++i) {
      std::vector<double> up = x, down = x;
      up[i] += kStep;
      down[i] -= kStep;
      EXPECT_NEAR(d_x[i], (loss(theta, up, w) - loss(theta, down, w)) / (2 * kStep), kTolerance);
    }
    for (std::size_t p = 0; p < theta.size(); ++p) {
      std::vector<double> up = theta, down = theta;
      up[p] += kStep;
      down[p] -= kStep;
      EXPECT_NEAR(d_theta[p], (loss(up, x, w) - loss(down, x, w)) / (2 * kStep), kTolerance);
    }
  });
}

TEST(RotationVjp, AgreesWithAutoDiffThroughTheGroup) {
  using S = Eigen::AutoDiffScalar<Eigen::VectorXd>;
  for_both_pairings([]<Pairing pairing> {
    Random random(105);
    constexpr int kPlanes = 4, kDim = 9, kTokens = 6, kVariables = kPlanes + kDim;
    const std::vector<double> theta = random.uniforms(kPlanes, -1, 1);
    const std::vector<double> x = random.uniforms(kTokens * kDim, -1, 1);
    std::vector<double> w = random.uniforms(kTokens * kDim, -1, 1);
    const grape::RoPE<double, pairing> rope{Spectrum(theta)};
    const auto action = rope.at(Positions::range(40, kTokens));
    std::vector<double> out = x, d_theta(kPlanes, 0.0), want_theta(kPlanes, 0.0);
    const auto out_view = grape::blhd(out.data(), 1, kTokens, 1, kDim);
    const auto w_view = grape::blhd(w.data(), 1, kTokens, 1, kDim);
    const std::vector<double> weights = w;
    grape::apply_rotation(action, out_view);
    grape::apply_rotation_frequency_vjp(action, out_view, w_view, d_theta);
    grape::apply_rotation_vjp(action, w_view, w_view);
    for (int t = 0; t < kTokens; ++t) {
      std::vector<S> angles;
      for (int m = 0; m < kPlanes; ++m) {
        angles.push_back(S(theta[static_cast<std::size_t>(m)], kVariables, m) * (40.0 + t));
      }
      typename grape::BlockRotation<S>::Vector v(kDim);
      for (int d = 0; d < kDim; ++d) {
        v[d] = S(x[static_cast<std::size_t>(t * kDim + d)], kVariables, kPlanes + d);
      }
      const auto y = grape::BlockRotation<S>::from_angles(pairing, angles) * v;
      Eigen::VectorXd gradient = Eigen::VectorXd::Zero(kVariables);
      for (int d = 0; d < kDim; ++d) {
        const auto at = static_cast<std::size_t>(t * kDim + d);
        gradient += weights[at] * y[d].derivatives();
        EXPECT_NEAR(out[at], y[d].value(), 100 * 0x1p-53);  // angles up to 45 rad, rounded there
      }
      for (int m = 0; m < kPlanes; ++m) want_theta[static_cast<std::size_t>(m)] += gradient[m];
      for (int d = 0; d < kDim; ++d) {
        EXPECT_NEAR(w[static_cast<std::size_t>(t * kDim + d)], gradient[kPlanes + d],
                    100 * 0x1p-53);
      }
    }
    for (int m = 0; m < kPlanes; ++m) {
      const auto at = static_cast<std::size_t>(m);
      EXPECT_NEAR(d_theta[at], want_theta[at], kTokens * 45 * 4 * 100 * 0x1p-53);
    }
  });
}

TEST(RotationVjp, GoldenGradients) {
  int files = 0;
  for (const char* family : {"rope_interleaved", "rope_half_split", "rope_half_split_authors"}) {
    for (const std::string& name : golden::families(family)) {
      const golden::Case c = golden::load(name);
      if (!c.has_gradient("x") || c.dtype() != "float64") continue;
      SCOPED_TRACE(name);
      ++files;
      const golden::Array w = c.inputs(c.has_input("w_y") ? "w_y" : "w"), want = c.gradients("x");
      std::vector<std::int64_t> positions;
      for (const double n : c.inputs("positions").data) {
        positions.push_back(static_cast<std::int64_t>(n));
      }
      Spectrum spectrum =
          grape::spectrum::log_uniform(c.config<Index>("rotary_dim"), c.config<double>("base"));
      if (name.find("authors") != std::string::npos) spectrum = spectrum.negated();
      std::vector<double> d = w.data;
      const auto view = grape::blhd(d.data(), w.shape[0], w.shape[1], w.shape[2], w.shape[3]);
      const Positions at = Positions::per_token(positions, w.shape[0], w.shape[1]);
      if (name.find("interleaved") != std::string::npos) {
        grape::apply_rotation_vjp(grape::RoPE<double>(spectrum).at(at), view, view);
      } else {
        grape::apply_rotation_vjp(grape::RoPE<double, Pairing::half_split>(spectrum).at(at), view,
                                  view);
      }
      // The reference rounds angles of up to 5000 radians to double.
      for (std::size_t i = 0; i < d.size(); ++i) {
        ASSERT_NEAR(d[i], want.data[i], 2e-12 * (1 + std::fabs(w.data[i]))) << i;
      }
    }
  }
  EXPECT_GT(files, 25);
}

}  // namespace
