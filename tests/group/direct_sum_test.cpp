// SPDX-License-Identifier: Apache-2.0
#include "grape/group/direct_sum.hpp"

#include <gtest/gtest.h>

#include <Eigen/Dense>
#include <unsupported/Eigen/MatrixFunctions>

#include "grape/generator/direct_sum.hpp"
#include "grape/group/block_rotation.hpp"
#include "grape/group/rank2_rotation.hpp"
#include "support/errors.hpp"
#include "support/random.hpp"

namespace {

using Eigen::MatrixXd;
using Eigen::VectorXd;
using grape::Index;
using Nil = grape::Nilpotent<double>;
using Plane = grape::Rank2Generator<double>;
using Sum = grape::DirectSum<Plane, Nil>;
using Rotation = grape::Rank2Rotation<double>;
using Element = grape::DirectSumElement<Rotation>;
constexpr double kUnit = 0x1p-53;

static_assert(grape::Generator<Sum>);

VectorXd random_vector(Random& random, Index d) {
  VectorXd out(d);
  for (Index i = 0; i < d; ++i) out[i] = random.uniform(-1, 1);
  return out;
}

struct Problem {
  Index d;
  double beta;
  Sum sum;

  explicit Problem(Random& random)
      : d(random.integer(2, 9)),
        beta(random.uniform(-1, 1)),
        sum(Plane(random_vector(random, d), random_vector(random, d)), Nil::bias(0, beta)) {}
  Element at(double s) const {
    return Element(d, Rotation::exp(sum.rotation(), s),
                   grape::Unipotent<double>::exp(sum.bias(), s));
  }
};

TEST(DirectSum, ElementsAreTheExponentialOfTheBlockMatrix) {
  Random random(801);
  for (int n = 0; n < 40; ++n) {
    const Problem p(random);
    const double s = random.uniform(-2, 2);
    const MatrixXd want = (s * p.sum.matrix()).exp();
    // Eigen's exponential is good to some units of e^|sL|, |L| <= d.
    EXPECT_LE((p.at(s).matrix() - want).cwiseAbs().maxCoeff(),
              64 * static_cast<double>(p.d) * kUnit * std::exp(2.0 * 9));
  }
}

TEST(DirectSum, IsAOneParameterGroup) {
  Random random(802);
  for (int n = 0; n < 100; ++n) {
    const Problem p(random);
    const double s = random.uniform(-9, 9), t = random.uniform(-9, 9);
    const Element g = p.at(s), h = p.at(t);
    const MatrixXd one = MatrixXd::Identity(g.dim(), g.dim());
    const double bound = 256 * static_cast<double>(p.d) * kUnit * 18;
    EXPECT_LE(((g * h).matrix() - g.matrix() * h.matrix()).cwiseAbs().maxCoeff(), bound);
    EXPECT_LE(((g * h).matrix() - p.at(s + t).matrix()).cwiseAbs().maxCoeff(), bound);
    EXPECT_LE((g.inverse().matrix() * g.matrix() - one).cwiseAbs().maxCoeff(), bound);
    EXPECT_LE((g.inverse_transpose().matrix() * g.matrix().transpose() - one).cwiseAbs().maxCoeff(),
              bound);
    const VectorXd x = random_vector(random, g.dim());
    EXPECT_LE((g * x - g.matrix() * x).cwiseAbs().maxCoeff(), bound);
  }
}

TEST(DirectSum, ScoresAreRotationAndBias) {
  Random random(803);
  for (int n = 0; n < 100; ++n) {
    const Problem p(random);
    const double si = random.uniform(-9, 9), sj = random.uniform(-9, 9);
    const VectorXd q = random_vector(random, p.d), k = random_vector(random, p.d);
    VectorXd q_hat(p.d + 2), k_hat(p.d + 2);
    q_hat << q, 1, 0;
    k_hat << k, 0, 1;
    const double got = (p.at(si) * q_hat).dot(p.at(sj).inverse_transpose() * k_hat);
    const double want = q.dot(Rotation::exp(p.sum.rotation(), sj - si) * k) + (sj - si) * p.beta;
    EXPECT_NEAR(got, want, 256 * static_cast<double>(p.d) * kUnit * 18);
  }
}

TEST(DirectSum, TakesAnyRotation) {
  const double angles[] = {0.5, -1.0};
  const auto rotation = grape::BlockRotation<double>::from_angles(grape::Pairing::interleaved,
                                                                  std::span<const double>(angles));
  const grape::DirectSumElement<grape::BlockRotation<double>> g(
      5, rotation, grape::Unipotent<double>::exp(Nil::bias(0, 0.25), 4.0));
  const MatrixXd m = g.matrix();
  EXPECT_EQ(m.topLeftCorner(5, 5), rotation.matrix(5));
  EXPECT_EQ(m(6, 5), -1);
  EXPECT_EQ((g * g.inverse()).matrix()(6, 5), 0);
  EXPECT_EQ(m.topRightCorner(5, 2).norm() + m.bottomLeftCorner(2, 5).norm(), 0);
  EXPECT_TRUE(rejects([&] { g* VectorXd(6); }, "x", "size 6", "n = 7"));
  const grape::DirectSumElement<grape::BlockRotation<double>> wider(6, rotation, g.unipotent());
  EXPECT_TRUE(rejects([&] { g* wider; }, "other", "d = 6", "5"));
  EXPECT_TRUE(rejects(
      [&] { grape::DirectSumElement<grape::BlockRotation<double>>(-1, rotation, g.unipotent()); },
      "d", "-1", ">= 0"));
  using Turn = grape::Rank2Rotation<double>;
  const Turn turn = Turn::exp({VectorXd::Unit(3, 0), VectorXd::Unit(3, 1)}, 0.5);
  EXPECT_TRUE(rejects([&] { grape::DirectSumElement<Turn>(40, turn, g.unipotent()); }, "d", "40",
                      "the rotation, 3"));
}

}  // namespace
