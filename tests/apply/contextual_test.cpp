// SPDX-License-Identifier: Apache-2.0
// Contextual phases and learned frequencies through apply_rotation: laws, gradients, golden
// numbers.
#include <gtest/gtest.h>

#include "grape/apply/rotation.hpp"
#include "grape/math/gates.hpp"
#include "grape/presets.hpp"
#include "grape/spectrum/learned.hpp"
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
using grape::Spectrum;
using reference::Way;

template <class T>
class ContextualOf : public testing::Test {};
TYPED_TEST_SUITE(ContextualOf, ElementTypes);

// Two rounded entries of the table, two products and their sum, each below a unit of |x0| + |x1|,
// and one rounding to T.
template <class T>
double tolerance(double want, double scale) {
  using A = grape::accumulation_t<T>;
  const double kernel = 6 * Rounding<A>::unit * scale;
  const double narrow = std::same_as<T, A> ? 0 : Rounding<T>::unit * (std::fabs(want) + kernel);
  return kernel + narrow + Rounding<T>::least;
}

TYPED_TEST(ContextualOf, TurnsTensorsByTheirPhases) {
  using T = TypeParam;
  for_both_pairings([]<Pairing pairing> {
    Random random(241);
    for (int trial = 0; trial < 40; ++trial) {
      SCOPED_TRACE(trial);
      const Index phases = trial % 3 == 0 ? 1 : 2, frequency_sets = trial % 2 == 0 ? 1 : 2;
      const Index sets = std::max(phases, frequency_sets), heads = sets * random.integer(1, 3);
      const Index batch = random.integer(1, 2), seq = random.integer(1, 40);
      const Index planes = random.integer(1, 20), first = random.integer(0, 2);
      const Spectrum spectrum =
          Spectrum::per_head(random.frequencies(planes * frequency_sets), frequency_sets);
      Strided<float> omega(layouts(batch, seq, phases, 1)[0], random, 2);
      const grape::ContextualRoPE<T, pairing> rope(
          grape::CanonicalPlanes<T, pairing>(spectrum, grape::RotarySlice{first}),
          grape::ExclusivePath{});
      const auto action = rope.at(omega.tensor());
      const auto position = [&](Index b, Index t, Index s, Index) {
        long double sum = 0;
        for (Index u = 0; u < t; ++u) {
          sum += static_cast<long double>(omega.tensor()(b, u, phases == 1 ? 0 : s, 0));
        }
        return static_cast<double>(sum);
      };
      std::vector<double> theta;  // the reference has frequencies in every set
      for (Index s = 0; s < sets; ++s) {
        for (Index m = 0; m < planes; ++m) theta.push_back(action.frequency(s, m));
      }
      const reference::Planes reference{
          pairing == Pairing::half_split, sets, planes, theta, 1, first};
      const auto all = layouts(batch, seq, heads, first + 2 * planes + random.integer(0, 2));
      Strided<T> x(all[static_cast<std::size_t>(random.integer(0, 9))], random);
      const std::vector<T> memory = x.memory();
      const std::vector<double> before = x.values();
      grape::apply_rotation(action, x.tensor());
      EXPECT_TRUE(x.same_outside(memory));
      const auto want = reference::rotate(reference, x.shape(), before, position);
      const std::vector<double> got = x.values();
      for (std::size_t i = 0; i < got.size(); ++i) {
        if (want.scale[i] == 0) {
          ASSERT_EQ(got[i], before[i]) << i;
          continue;
        }
        const auto value = static_cast<double>(want.value[i]);
        // A double phase below 80 is off by 2^-47, at frequencies up to 1.
        const double phase = std::same_as<T, double> ? 0x1p-47 : 0;
        const auto scale = static_cast<double>(want.scale[i]);
        ASSERT_NEAR(got[i], value, tolerance<T>(value, scale) + phase * scale) << i;
      }
    }
  });
}

// Logits see the increments between two tokens alone: what came before does not matter.
TEST(Contextual, LogitsDependOnThePhaseBetweenTokensAlone) {
  Random random(242);
  constexpr Index kDim = 32, kSeq = 12, kBefore = 30;
  const grape::ContextualRoPE<double> rope(Spectrum(random.frequencies(kDim / 2)));
  const std::vector<double> q = random.uniforms(kSeq * kDim, -1, 1);
  const std::vector<double> k = random.uniforms(kSeq * kDim, -1, 1);
  const std::vector<double> omega = random.uniforms(kSeq, 0, 1);
  const auto logits = [&](double start) {
    std::vector<double> carry{start}, a = q, b = k;
    grape::RotationAction<double> action;
    rope.at(grape::blh(omega.data(), 1, kSeq, 1), grape::PhaseCarry{carry}, action);
    grape::apply_rotation(action, grape::blhd(a.data(), 1, kSeq, 1, kDim),
                          grape::blhd(b.data(), 1, kSeq, 1, kDim));
    std::vector<double> out;
    for (Index i = 0; i < kSeq; ++i) {
      for (Index j = 0; j <= i; ++j) {
        out.push_back(
            Eigen::Map<const Eigen::VectorXd>(&a[static_cast<std::size_t>(i * kDim)], kDim)
                .dot(Eigen::Map<const Eigen::VectorXd>(&b[static_cast<std::size_t>(j * kDim)],
                                                       kDim)));
      }
    }
    return out;
  };
  const auto first = logits(0);
  for (const double start : {1.0, -17.25, static_cast<double>(kBefore), 1234.5}) {
    const auto moved = logits(start);
    for (std::size_t i = 0; i < first.size(); ++i) {
      // Phases below 2048 are rounded to 2^-42; 32 products below 1.
      EXPECT_NEAR(moved[i], first[i], kDim * 4 * 0x1p-42) << start;
    }
  }
  EXPECT_GT(std::fabs(first[3] - first[4]), 1e-3);
}

// Through increments, frequencies (per set and shared) and queries, in two chunks with a carry.
TEST(Contextual, GradientsAgainstFiniteDifferences) {
  for_both_pairings([]<Pairing pairing> {
    Random random(243);
    constexpr Index kBatch = 2, kSeq = 7, kCut = 3, kHeads = 4, kPlanes = 3, kDim = 7;
    for (const auto& counts : {std::pair<Index, Index>{1, 1}, {2, 1}, {1, 2}, {2, 2}}) {
      const Index phases = counts.first, sets = counts.second;
      SCOPED_TRACE(testing::Message() << phases << " phases, " << sets << " sets");
      const std::vector<double> theta = random.uniforms(kPlanes * sets, -1, 1);
      const std::vector<double> omega = random.uniforms(kBatch * kSeq * phases, -1, 1);
      const std::vector<double> start = random.uniforms(kBatch * phases, -2, 2);
      const std::vector<double> x = random.uniforms(kBatch * kSeq * kHeads * kDim, -1, 1);
      const std::vector<double> w = random.uniforms(kBatch * kSeq * kHeads * kDim, -1, 1);
      const auto chunk = [](auto* data, Index begin, Index count, Index heads, Index dim) {
        return grape::TensorView(data + begin * heads * dim, {kBatch, count, heads, dim},
                                 {kSeq * heads * dim, heads * dim, dim, 1});
      };
      const auto loss = [&](const std::vector<double>& f, const std::vector<double>& o,
                            std::vector<double> carry) {
        const grape::ContextualRoPE<double, pairing> rope(Spectrum::per_head(f, sets, 1.1));
        std::vector<double> y = x;
        grape::RotationAction<double> action;
        for (const auto& [begin, count] : {std::pair{Index{0}, kCut}, {kCut, kSeq - kCut}}) {
          rope.at(chunk(o.data(), begin, count, phases, 1), grape::PhaseCarry{carry}, action);
          grape::apply_rotation(action, chunk(y.data(), begin, count, kHeads, kDim));
        }
        double sum = 0;
        for (std::size_t i = 0; i < y.size(); ++i) sum += w[i] * y[i];
        return sum;
      };
      // Forward over the chunks, then backward from the last.
      const grape::ContextualRoPE<double, pairing> rope(Spectrum::per_head(theta, sets, 1.1));
      std::vector<double> carry = start, d_carry(start.size(), 0.0), d_theta(theta.size(), 0.0);
      std::vector<double> y = x, d_omega(omega.size(), 0.0);
      grape::RotationAction<double> actions[2];
      const std::pair<Index, Index> chunks[] = {{0, kCut}, {kCut, kSeq - kCut}};
      for (std::size_t c = 0; c < 2; ++c) {
        const auto [begin, count] = chunks[c];
        rope.at(chunk(omega.data(), begin, count, phases, 1), grape::PhaseCarry{carry}, actions[c]);
        grape::apply_rotation(actions[c], chunk(y.data(), begin, count, kHeads, kDim));
      }
      for (std::size_t c = 2; c-- > 0;) {
        const auto [begin, count] = chunks[c];
        const auto out = chunk(y.data(), begin, count, kHeads, kDim);
        const auto d_out = chunk(w.data(), begin, count, kHeads, kDim);
        std::vector<double> d_phase(static_cast<std::size_t>(kBatch * count * phases), 0.0);
        std::vector<double> d_chunk(d_phase.size(), 0.0), other = d_phase;
        grape::apply_rotation_phase_vjp(actions[c], out, d_out, d_phase);
        grape::apply_rotation_phase_vjp(actions[c], out, d_out, other, Threads{});
        EXPECT_TRUE(same_bits(d_phase, other));
        grape::apply_rotation_frequency_vjp(actions[c], out, d_out, d_theta);
        grape::phase_increments_vjp(d_phase, kBatch, count, phases, d_chunk, d_carry);
        for (Index b = 0; b < kBatch; ++b) {
          for (Index i = 0; i < count * phases; ++i) {
            d_omega[static_cast<std::size_t>((b * kSeq + begin) * phases + i)] =
                d_chunk[static_cast<std::size_t>(b * count * phases + i)];
          }
        }
      }
      // The loss is below 2 * 1.1 * 400, phases below 9: third derivatives in theta below 729 of
      // it.
      constexpr double kStep = 0x1p-16;
      constexpr double kTolerance = 900 * 0x1p-53 / kStep * 4 + kStep * kStep * 900 * 729 / 6;
      const auto expect_gradient = [&](const std::vector<double>& got, std::vector<double> at,
                                       const auto& value) {
        for (std::size_t i = 0; i < at.size(); ++i) {
          const double middle = at[i];
          at[i] = middle + kStep;
          const double up = value(at);
          at[i] = middle - kStep;
          const double down = value(at);
          at[i] = middle;
          EXPECT_NEAR(got[i], (up - down) / (2 * kStep), kTolerance) << i;
        }
      };
      expect_gradient(d_theta, theta, [&](const auto& f) { return loss(f, omega, start); });
      expect_gradient(d_omega, omega, [&](const auto& o) { return loss(theta, o, start); });
      expect_gradient(d_carry, start, [&](const auto& s) { return loss(theta, omega, s); });
    }
  });
}

TEST(Contextual, PhaseGradientOfSharedPositionsAddsUpTheBatch) {
  Random random(244);
  const std::vector<double> list{0.5, -3.0, 7.25};
  const grape::RoPE<double> rope(Spectrum({0.5, -0.25}));
  const auto action = rope.at(grape::Positions::real(list));
  std::vector<double> x = random.uniforms(2 * 3 * 2 * 4, -1, 1);
  const std::vector<double> w = random.uniforms(2 * 3 * 2 * 4, -1, 1);
  const auto view = grape::blhd(x.data(), 2, 3, 2, 4);
  grape::apply_rotation(action, view);
  std::vector<double> d(3, 0.0);
  grape::apply_rotation_phase_vjp(action, view, grape::blhd(w.data(), 2, 3, 2, 4), d);
  for (Index t = 0; t < 3; ++t) {
    double want = 0;
    for (Index b = 0; b < 2; ++b) {
      for (Index h = 0; h < 2; ++h) {
        for (Index m = 0; m < 2; ++m) {
          const auto i = static_cast<std::size_t>(((b * 3 + t) * 2 + h) * 4 + 2 * m);
          want += (m == 0 ? 0.5 : -0.25) * (w[i + 1] * x[i] - w[i] * x[i + 1]);
        }
      }
    }
    EXPECT_NEAR(d[static_cast<std::size_t>(t)], want, 16 * 0x1p-53);
  }
  std::vector<double> four(4);
  EXPECT_TRUE(rejects(
      [&] {
        grape::apply_rotation_phase_vjp(action, view, grape::blhd(w.data(), 2, 3, 2, 4), four);
      },
      "d_phase", "4 entries", "3 (batch x seq x channels"));
}

// --- golden numbers: the authors' code, which turns by minus the angle ---

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

// Queries and keys rotated, and the gradients of everything behind them, against a case.
struct Golden {
  golden::Case c;
  bool wide = c.name().rfind("more/", 0) == 0;
  golden::Array q = c.inputs("q");
  Index batch = q.shape[0], seq = q.shape[1], heads = q.shape[2], dim = q.shape[3];
  // The first set works in float32 and says 1e-5; gradients sum up to 500 terms of the size of 1.
  double tolerance = wide ? 1e-12 : 1e-5;

  grape::TensorView<double> view(std::vector<double>& x) const {
    return grape::blhd(x.data(), batch, seq, heads, dim);
  }
  void expect(const std::vector<double>& got, const golden::Array& want, double size) const {
    ASSERT_EQ(got.size(), want.data.size());
    for (std::size_t i = 0; i < got.size(); ++i) {
      ASSERT_NEAR(got[i], want.data[i], tolerance * size) << i;
    }
  }
  // Rotates both, checks them, adds the gradients of frequencies and phases.
  void rotate(const grape::RotationAction<double>& action, std::vector<double>& d_theta,
              std::vector<double>& d_phase) const {
    for (const std::string name : {"q", "k"}) {
      std::vector<double> x = c.inputs(name).data;
      std::vector<double> d = c.inputs(wide ? "w_" + name + "_out" : "w" + name).data;
      grape::apply_rotation(action, view(x));
      expect(x, c.outputs(wide ? name + "_out" : name), 1);
      grape::apply_rotation_frequency_vjp(action, view(x), view(d), d_theta);
      grape::apply_rotation_phase_vjp(action, view(x), view(d), d_phase);
      grape::apply_rotation_vjp(action, view(d), view(d));
      expect(d, c.gradients(name), 4);
    }
  }
  // Of log frequencies, from the frequencies' gradient; shared ones where only one set is given.
  Spectrum spectrum(double scale) const {
    const golden::Array log_freq = c.inputs("log_freq");
    const Index sets = log_freq.shape.size() == 2 ? log_freq.shape[0] : 1;
    return grape::spectrum::learned(log_freq.data, scale, sets).negated();
  }
  void expect_log_freq(const Spectrum& spectrum, double scale,
                       const std::vector<double>& d_theta) const {
    std::vector<double> d(d_theta.size(), 0.0);
    grape::spectrum::learned_vjp(spectrum, scale, d_theta, d);
    expect(d, c.gradients("log_freq"), 50);
  }
};

TEST(Contextual, GoldenLearnedFrequencies) {
  int cases = 0;
  for (const std::string& name : golden::families("grape_m_nonctx")) {
    SCOPED_TRACE(name);
    const Golden g{golden::load(name)};
    const double scale = g.c.config<double>("log_freq_scale");
    const Spectrum spectrum = g.spectrum(scale);
    const grape::RoPE<double, Pairing::half_split> rope(spectrum);
    const auto action = rope.at(grape::Positions::range(0, g.seq));
    std::vector<double> d_theta(spectrum.frequencies().size(), 0.0), d_phase(at(g.seq), 0.0);
    g.rotate(action, d_theta, d_phase);
    g.expect_log_freq(spectrum, scale, d_theta);
    ++cases;
  }
  EXPECT_EQ(cases, 10);
}

TEST(Contextual, GoldenPhases) {
  int cases = 0;
  for (const std::string& name : golden::families("grape_m_ctx")) {
    SCOPED_TRACE(name);
    const Golden g{golden::load(name)};
    const Spectrum spectrum = g.spectrum(1);
    const double gate = g.c.config<double>("ctx_omega_scale");
    // omega = sigmoid((W x + bias) / gate), and its derivative.
    const golden::Array x = g.c.inputs("x");
    const golden::Array w = g.c.inputs(g.wide ? "omega_weight" : "W");
    const golden::Array bias = g.c.inputs(g.wide ? "omega_bias" : "bias");
    const Index sets = w.shape[0], width = w.shape[1], tokens = g.batch * g.seq;
    std::vector<double> omega(at(tokens * sets)), slope(omega.size());
    for (Index i = 0; i < tokens; ++i) {
      for (Index p = 0; p < sets; ++p) {
        double logit = bias.data[at(p)];
        for (Index n = 0; n < width; ++n) {
          logit += w.data[at(p * width + n)] * x.data[at(i * width + n)];
        }
        omega[at(i * sets + p)] = grape::sigmoid(logit / gate);
        slope[at(i * sets + p)] = grape::sigmoid_derivative(logit / gate) / gate;
      }
    }
    const grape::ContextualRoPE<double, Pairing::half_split> rope(spectrum);
    const auto action = rope.at(grape::blh(omega.data(), g.batch, g.seq, sets));
    const golden::Array phi = g.c.outputs("phi");
    for (Index i = 0; i < tokens * sets; ++i) {
      EXPECT_NEAR(action.position(i / sets / g.seq, i / sets % g.seq, i % sets), phi.data[at(i)],
                  g.tolerance);
    }
    std::vector<double> d_theta(spectrum.frequencies().size(), 0.0);
    std::vector<double> d_phase(omega.size(), 0.0), d_omega(omega.size(), 0.0);
    g.rotate(action, d_theta, d_phase);
    g.expect_log_freq(spectrum, 1, d_theta);
    grape::phase_increments_vjp(d_phase, g.batch, g.seq, sets, d_omega);
    if (g.c.has_gradient("omega")) g.expect(d_omega, g.c.gradients("omega"), 50);
    std::vector<double> d_w(w.data.size(), 0.0), d_bias(bias.data.size(), 0.0);
    std::vector<double> d_x(x.data.size(), 0.0);
    for (Index i = 0; i < tokens; ++i) {
      for (Index p = 0; p < sets; ++p) {
        const double d = d_omega[at(i * sets + p)] * slope[at(i * sets + p)];
        d_bias[at(p)] += d;
        for (Index n = 0; n < width; ++n) {
          d_w[at(p * width + n)] += d * x.data[at(i * width + n)];
          d_x[at(i * width + n)] += d * w.data[at(p * width + n)];
        }
      }
    }
    g.expect(d_w, g.c.gradients(g.wide ? "omega_weight" : "W"), 50);
    g.expect(d_bias, g.c.gradients(g.wide ? "omega_bias" : "bias"), 50);
    g.expect(d_x, g.c.gradients("x"), 50);
    ++cases;
  }
  EXPECT_EQ(cases, 10);
}

}  // namespace
