// SPDX-License-Identifier: Apache-2.0
// Rotations on a grid through apply_rotation: laws, gradients, golden numbers.
#include <gtest/gtest.h>

#include "grape/apply/rotation.hpp"
#include "grape/presets.hpp"
#include "grape/spectrum/concatenated.hpp"
#include "grape/spectrum/log_uniform.hpp"
#include "support/golden.hpp"
#include "support/pairings.hpp"
#include "support/random.hpp"
#include "support/reference.hpp"
#include "support/strided.hpp"

namespace {

using grape::AxialPath;
using grape::Index;
using grape::Pairing;
using grape::Positions;
using grape::Spectrum;

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

template <class T>
class AxialOf : public testing::Test {};
TYPED_TEST_SUITE(AxialOf, ElementTypes);

// As for plain rotations: 6 units of |x0| + |x1| and one rounding to T.
TYPED_TEST(AxialOf, EachPlaneTurnsByItsAxis) {
  using T = TypeParam;
  using A = grape::accumulation_t<T>;
  for_both_pairings([]<Pairing pairing> {
    Random random(251);
    for (int trial = 0; trial < 30; ++trial) {
      SCOPED_TRACE(trial);
      const Index sets = random.integer(1, 2), heads = sets * random.integer(1, 3);
      const Index batch = random.integer(1, 2), seq = random.integer(1, 40);
      const std::vector<Index> counts{random.integer(8, 12), random.integer(1, 4),
                                      random.integer(1, 4)};
      const Index planes = counts[0] + counts[1] + counts[2];
      const AxialPath path =
          trial % 2 == 0 ? AxialPath::sections(counts) : AxialPath::interleaved(counts);
      const Spectrum spectrum = Spectrum::per_head(random.frequencies(planes * sets), sets);
      const auto list = random.integers(3 * batch * seq, -2000000000, 2000000000);
      const grape::AxialRoPE<T, pairing> rope(spectrum, path);
      const auto action = rope.at(Positions::axes(list, 3, batch, seq));
      const auto position = [&](Index b, Index t, Index, Index m) {
        return list[at((path.axis_of_plane()[at(m)] * batch + b) * seq + t)];
      };
      const auto all = layouts(batch, seq, heads, 2 * planes + random.integer(0, 2));
      Strided<T> x(all[at(random.integer(0, 9))], random);
      const std::vector<T> memory = x.memory();
      const std::vector<double> before = x.values();
      grape::apply_rotation(action, x.tensor());
      EXPECT_TRUE(x.same_outside(memory));
      const auto want =
          reference::rotate({pairing == Pairing::half_split,
                             sets,
                             planes,
                             {spectrum.frequencies().begin(), spectrum.frequencies().end()}},
                            x.shape(), before, position);
      const std::vector<double> got = x.values();
      for (std::size_t i = 0; i < got.size(); ++i) {
        if (want.scale[i] == 0) {
          ASSERT_EQ(got[i], before[i]) << i;
          continue;
        }
        const double kernel = 6 * Rounding<A>::unit * static_cast<double>(want.scale[i]);
        const double narrow =
            std::same_as<T, A>
                ? 0
                : Rounding<T>::unit * (std::fabs(static_cast<double>(want.value[i])) + kernel);
        ASSERT_NEAR(got[i], static_cast<double>(want.value[i]),
                    kernel + narrow + Rounding<T>::least)
            << i;
      }
    }
  });
}

// Appendix G: logits see the difference on every axis alone, whatever the offsets of the two.
TEST(Axial, LogitsDependOnDifferencesOfCoordinatesAlone) {
  Random random(252);
  constexpr Index kDim = 24;
  const Spectrum axis = grape::spectrum::log_uniform(8, 100.0);
  const grape::AxialRoPE<double> rope(grape::spectrum::concatenated({axis, axis, axis}),
                                      AxialPath::sections({4, 4, 4}));
  const auto turned = [&](std::vector<double> x, const std::vector<std::int64_t>& n) {
    grape::apply_rotation(rope, Positions::axes(n, 3, 1, 1), grape::blhd(x.data(), 1, 1, 1, kDim));
    return x;
  };
  const auto dot = [](const std::vector<double>& a, const std::vector<double>& b) {
    return Eigen::Map<const Eigen::VectorXd>(a.data(), kDim)
        .dot(Eigen::Map<const Eigen::VectorXd>(b.data(), kDim));
  };
  for (int trial = 0; trial < 200; ++trial) {
    const auto q = random.uniforms(kDim, -1, 1), k = random.uniforms(kDim, -1, 1);
    const auto i = random.integers(3, -1000000000, 1000000000);
    const auto j = random.integers(3, -1000000000, 1000000000);
    const std::vector<std::int64_t> d{j[0] - i[0], j[1] - i[1], j[2] - i[2]};
    EXPECT_NEAR(dot(turned(q, i), turned(k, j)), dot(q, turned(k, d)),
                (3 * 6 * 1.5 + 2 * kDim) * 0x1p-53 * std::sqrt(dot(q, q) * dot(k, k)));
    // Axes commute: one after the other is all at once.
    const auto steps = turned(turned(turned(q, {i[0], 0, 0}), {0, i[1], 0}), {0, 0, i[2]});
    const auto once = turned(q, i);
    for (std::size_t n = 0; n < kDim; ++n) EXPECT_NEAR(steps[n], once[n], 4 * 6 * 2 * 0x1p-53);
  }
}

TEST(Axial, GradientsAgainstFiniteDifferences) {
  for_both_pairings([]<Pairing pairing> {
    Random random(253);
    constexpr Index kBatch = 2, kSeq = 3, kHeads = 2, kPlanes = 5, kDim = 11;
    const AxialPath path = AxialPath::interleaved({3, 2});
    const std::vector<double> theta = random.uniforms(kPlanes, -1, 1);
    const std::vector<double> grid = random.uniforms(2 * kBatch * kSeq, -5, 5);
    const std::vector<double> x = random.uniforms(kBatch * kSeq * kHeads * kDim, -1, 1);
    const std::vector<double> w = random.uniforms(kBatch * kSeq * kHeads * kDim, -1, 1);
    const auto view = [](auto& v) { return grape::blhd(v.data(), kBatch, kSeq, kHeads, kDim); };
    const auto loss = [&](const std::vector<double>& f, const std::vector<double>& n) {
      std::vector<double> y = x;
      const grape::AxialRoPE<double, pairing> rope(Spectrum(f), path);
      grape::apply_rotation(rope, Positions::real_axes(n, 2, kBatch, kSeq), view(y));
      double sum = 0;
      for (std::size_t i = 0; i < y.size(); ++i) sum += w[i] * y[i];
      return sum;
    };
    const grape::AxialRoPE<double, pairing> rope(Spectrum(theta), path);
    const auto action = rope.at(Positions::real_axes(grid, 2, kBatch, kSeq));
    std::vector<double> y = x, d_theta(kPlanes, 0.0), d_grid(grid.size(), 0.0);
    grape::apply_rotation(action, view(y));
    grape::apply_rotation_frequency_vjp(action, view(y), view(w), d_theta);
    grape::apply_rotation_phase_vjp(action, view(y), view(w), d_grid);
    // The loss is below 300, third derivatives below 5^3 of it.
    constexpr double kStep = 0x1p-16;
    constexpr double kTolerance = 300 * 0x1p-53 / kStep * 4 + kStep * kStep * 300 * 125 / 6;
    for (Index i = 0; i < kPlanes; ++i) {
      std::vector<double> up = theta, down = theta;
      up[at(i)] += kStep;
      down[at(i)] -= kStep;
      EXPECT_NEAR(d_theta[at(i)], (loss(up, grid) - loss(down, grid)) / (2 * kStep), kTolerance);
    }
    for (Index axis = 0; axis < 2; ++axis) {
      for (Index i = 0; i < kBatch * kSeq; ++i) {  // [batch, seq, axes] of [axes, batch, seq]
        std::vector<double> up = grid, down = grid;
        up[at(axis * kBatch * kSeq + i)] += kStep;
        down[at(axis * kBatch * kSeq + i)] -= kStep;
        EXPECT_NEAR(d_grid[at(i * 2 + axis)], (loss(theta, up) - loss(theta, down)) / (2 * kStep),
                    kTolerance);
      }
    }
  });
}

TEST(Axial, GoldenSections) {
  int cases = 0;
  for (const std::string& name : golden::families("mrope")) {
    SCOPED_TRACE(name);
    const golden::Case c = golden::load(name);
    const bool wide = name.rfind("more/", 0) == 0;
    const auto sections = c.config<std::vector<Index>>(wide ? "mrope_section" : "sections");
    const Index dim = c.config<Index>("head_dim");
    const grape::AxialRoPE<double, Pairing::half_split> rope(
        grape::spectrum::log_uniform(dim, c.config<double>(wide ? "theta" : "base")),
        AxialPath::sections(sections));
    const golden::Array positions = c.inputs("positions");
    std::vector<std::int64_t> grid;
    for (const double n : positions.data) grid.push_back(static_cast<std::int64_t>(n));
    const auto action =
        rope.at(Positions::axes(grid, positions.shape[0], positions.shape[1], positions.shape[2]));
    const auto view = [&](golden::Array& x) {  // [batch, heads, seq, dim] in the second set
      return wide ? grape::bhld(x.data.data(), x.shape[0], x.shape[1], x.shape[2], x.shape[3])
                  : grape::blhd(x.data.data(), x.shape[0], x.shape[1], x.shape[2], x.shape[3]);
    };
    const auto expect = [](const golden::Array& got, const golden::Array& want) {
      for (std::size_t i = 0; i < got.data.size(); ++i) {
        ASSERT_NEAR(got.data[i], want.data[i], 2e-12 * (1 + std::fabs(want.data[i]))) << i;
      }
    };
    for (const std::string& x :
         wide ? std::vector<std::string>{"q", "k"} : std::vector<std::string>{"x"}) {
      golden::Array data = c.inputs(x);
      grape::apply_rotation(action, view(data));
      expect(data, c.outputs(wide ? x + "_out" : "y"));
      if (!c.has_gradient(x)) continue;
      golden::Array d = c.inputs("w_" + x + "_out");
      grape::apply_rotation_vjp(action, view(d), view(d));
      expect(d, c.gradients(x));
    }
    ++cases;
  }
  EXPECT_EQ(cases, 3);
}

}  // namespace
