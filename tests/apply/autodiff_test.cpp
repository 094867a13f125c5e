// SPDX-License-Identifier: Apache-2.0
// Gradients of rotations in frames against Eigen's automatic differentiation of their definitions,
// on random shapes.

#include <gtest/gtest.h>

#include <Eigen/Core>
#include <unsupported/Eigen/AutoDiff>
#include <vector>

#include "grape/apply/rotation.hpp"
#include "grape/presets.hpp"
#include "support/matrices.hpp"
#include "support/random.hpp"

namespace {

using grape::FrameMatrix;
using grape::Index;
using Dual = Eigen::AutoDiffScalar<Eigen::VectorXd>;
using DualMatrix = Eigen::Matrix<Dual, Eigen::Dynamic, Eigen::Dynamic>;
using DualVector = Eigen::Matrix<Dual, Eigen::Dynamic, 1>;

// Parameters `first`, `first` + 1, .. of `count`.
DualMatrix variables(const FrameMatrix& x, Index first, Index count) {
  DualMatrix out(x.rows(), x.cols());
  for (Index i = 0; i < x.size(); ++i) {
    out.reshaped()[i] = Dual(x.reshaped()[i], Eigen::VectorXd::Unit(count, first + i));
  }
  return out;
}

struct Problem {
  Index batch, seq, heads, d;
  std::vector<double> positions, x, w;

  Problem(Random& random, Index dim)
      : batch(random.integer(1, 2)),
        seq(random.integer(1, 4)),
        heads(random.integer(1, 3)),
        d(dim),
        positions(random.uniforms(seq, -1.5, 1.5)),
        x(random.uniforms(batch * seq * heads * d, -1, 1)),
        w(random.uniforms(batch * seq * heads * d, -1, 1)) {}

  auto view(std::vector<double>& data) const {
    return grape::blhd(data.data(), batch, seq, heads, d);
  }
  // The gradient of sum(w * y) for y = turned(position, x) of each row.
  template <class Turned>
  Eigen::VectorXd gradient(Index count, const Turned& turned) const {
    Eigen::VectorXd out = Eigen::VectorXd::Zero(count);
    for (Index row = 0; row < batch * seq * heads; ++row) {
      const DualVector from =
          Eigen::Map<const Eigen::VectorXd>(x.data() + row * d, d).template cast<Dual>();
      const double position = positions[static_cast<std::size_t>(row / heads % seq)];
      const DualVector y = turned(position, from);
      for (Index i = 0; i < d; ++i) {
        if (y[i].derivatives().size() == 0) continue;
        out += w[static_cast<std::size_t>(row * d + i)] * y[i].derivatives();
      }
    }
    return out;
  }
  // The rotated x and its action.
  template <class E>
  auto rotated(const E& encoder, std::vector<double>& y) const {
    const auto action = encoder.at(grape::Positions::real(positions));
    y = x;
    grape::apply_rotation(action, view(y));
    return action;
  }
};

void expect_near(const std::vector<double>& got, const Eigen::VectorXd& want) {
  ASSERT_EQ(std::ssize(got), want.size());
  // Rows of at most 24 numbers, angles below 20, series of terms up to exp(9).
  const double bound = 1e-11 * (1 + want.cwiseAbs().maxCoeff());
  for (Index i = 0; i < want.size(); ++i) {
    ASSERT_NEAR(got[static_cast<std::size_t>(i)], want[i], bound) << i;
  }
}

void append(std::vector<double>& all, const FrameMatrix& x) {
  for (const double entry : x.reshaped()) all.push_back(entry);
}

// exp(n L) x by its series, L x = sum theta_i (a_i <b_i, x> - b_i <a_i, x>).
TEST(AutoDiff, OverlappingPlanes) {
  Random random(71);
  for (int trial = 0; trial < 12; ++trial) {
    const Index d = random.integer(2, 6), m = random.integer(1, 3), count = m * (2 * d + 1);
    const auto p = random_planes<grape::OverlappingPlanes>(random, d, m);
    Problem problem(random, d);
    const DualMatrix a = variables(p.a, 0, count), b = variables(p.b, d * m, count);
    const DualMatrix theta = variables(p.theta, 2 * d * m, count);
    const Eigen::VectorXd want = problem.gradient(count, [&](double n, const DualVector& x) {
      DualVector sum = x, term = x;
      for (int k = 1; k < 60; ++k) {
        DualVector next = DualVector::Constant(d, Dual(0.0));
        for (Index i = 0; i < m; ++i) {
          Dual on_a(0.0), on_b(0.0);
          for (Index e = 0; e < d; ++e) {
            on_a += a(e, i) * term[e];
            on_b += b(e, i) * term[e];
          }
          const Dual speed = theta(i, 0) * (n / k);
          for (Index e = 0; e < d; ++e) next[e] += speed * (a(e, i) * on_b - b(e, i) * on_a);
        }
        term = next;
        sum += term;
      }
      return sum;
    });
    const grape::CompactRoPE<double> encoder(p);
    std::vector<double> y, got;
    const auto action = problem.rotated(encoder, y);
    std::vector<double> d_planes(static_cast<std::size_t>(action.frame_columns() * d));
    grape::apply_rotation_plane_vjp(action, problem.view(y), problem.view(problem.w), d_planes);
    const auto gradient = encoder.generator().vjp(d_planes);
    append(got, gradient.a);
    append(got, gradient.b);
    append(got, gradient.theta);
    expect_near(got, want);
  }
}

// x + F (a R - I) F^T x, each entry of F and each frequency for itself.
TEST(AutoDiff, LearnedFrames) {
  Random random(72);
  for (int trial = 0; trial < 12; ++trial) {
    const Index m = random.integer(1, 3), d = 2 * m + random.integer(0, 3);
    const Index count = d * 2 * m + m;
    const double factor = trial % 2 == 0 ? 1 : 1.4;
    const FrameMatrix f = grape::frame::householder(random_matrix(random, d, 2 * m));
    const std::vector<double> theta = random.uniforms(m, -3, 3);
    Problem problem(random, d);
    const DualMatrix frame = variables(f, 0, count);
    const DualMatrix speed =
        variables(Eigen::Map<const FrameMatrix>(theta.data(), m, 1), d * 2 * m, count);
    const Eigen::VectorXd want = problem.gradient(count, [&](double n, const DualVector& x) {
      DualVector y = x;
      for (Index i = 0; i < m; ++i) {
        Dual u(0.0), v(0.0);
        for (Index e = 0; e < d; ++e) {
          u += frame(e, 2 * i) * x[e];
          v += frame(e, 2 * i + 1) * x[e];
        }
        const Dual angle = speed(i, 0) * n;
        const Dual c = cos(angle) * factor, s = sin(angle) * factor;
        const Dual du = u * c - v * s - u, dv = u * s + v * c - v;
        for (Index e = 0; e < d; ++e) y[e] += frame(e, 2 * i) * du + frame(e, 2 * i + 1) * dv;
      }
      return y;
    });
    const grape::FramedRoPE<double> encoder(f, grape::Spectrum(theta, factor));
    std::vector<double> y, got(static_cast<std::size_t>(d * 2 * m)), d_theta(theta.size());
    const auto action = problem.rotated(encoder, y);
    grape::apply_rotation_frame_vjp(action, problem.view(y), problem.view(problem.w), got);
    grape::apply_rotation_frequency_vjp(action, problem.view(y), problem.view(problem.w), d_theta);
    got.insert(got.end(), d_theta.begin(), d_theta.end());
    expect_near(got, want);
  }
}

}  // namespace
