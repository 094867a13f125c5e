// SPDX-License-Identifier: Apache-2.0
// One plane of any direction through the entry points of every rotation, against golden numbers.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "grape/apply/rotation.hpp"
#include "grape/presets.hpp"
#include "support/errors.hpp"
#include "support/golden_rank2.hpp"

namespace {

using grape::Index;
using Vector = Eigen::VectorXd;

Vector vector_of(const std::vector<double>& x) { return golden::vector_of(x); }

// Each gradient in units of what it is made of, as for Rank2Rotation: sums of d terms, and an angle
// of which a few epsilon are lost.
TEST(Rank2RoPE, GoldenValuesAndGradients) {
  int gradients = 0, beyond = 0;
  for (const auto& [name, g] : golden::rank2_cases()) {
    SCOPED_TRACE(name);
    const grape::Rank2Generator<double> l(g.a, g.b);
    const grape::Rank2RoPE<double> rope(l);
    const std::vector<double> t{g.n * g.omega};
    if (!(l.s() < 0x1p63)) {  // no frequency of a spectrum
      EXPECT_TRUE(rejects([&] { rope.at(grape::Positions::real(t)); }, "frequencies[0]", "e+",
                          "below 2^63"));
      ++beyond;
      continue;
    }
    const auto action = rope.at(grape::Positions::real(t));
    const Index d = g.x.size();
    std::vector<double> y(g.x.begin(), g.x.end());
    const auto out = grape::blhd(y.data(), 1, 1, 1, d);
    grape::apply_rotation(action, out);
    const double k = 2 * (16 + static_cast<double>(d) + 8 * std::fabs(l.angle(t[0]))) *
                     std::numeric_limits<double>::epsilon();
    EXPECT_LE((vector_of(y) - g.y).norm(), k * g.x.norm());
    if (!g.gradients) continue;

    std::vector<double> d_x(g.w.begin(), g.w.end()), d_planes(static_cast<std::size_t>(2 * d));
    std::vector<double> d_t(1);
    const auto d_out = grape::blhd(d_x.data(), 1, 1, 1, d);
    grape::apply_rotation_plane_vjp(action, out, d_out, d_planes);
    grape::apply_rotation_phase_vjp(action, out, d_out, d_t);
    grape::apply_rotation_vjp(action, d_out, d_out);
    const auto got = grape::rank2_plane_vjp(l, std::span<const double>(d_planes));
    const double kk = k + g.reference, size = g.w.norm() * g.x.norm();
    EXPECT_LE((vector_of(d_x) - g.dx).norm(), kk * g.w.norm());
    EXPECT_LE((got.a - g.da).stableNorm(), kk * std::fabs(t[0]) * g.b.stableNorm() * size);
    EXPECT_LE((got.b - g.db).stableNorm(), kk * std::fabs(t[0]) * g.a.stableNorm() * size);
    EXPECT_NEAR(g.n * d_t[0], g.domega, kk * std::fabs(g.n) * l.s() * size);
    EXPECT_NEAR(g.omega * d_t[0], g.dn, kk * std::fabs(g.omega) * l.s() * size);
    ++gradients;
  }
  EXPECT_GE(gradients, 90);
  EXPECT_LE(beyond, 10);
}

}  // namespace
