// SPDX-License-Identifier: Apache-2.0
#include "grape/group/block_rotation.hpp"

#include <gtest/gtest.h>

#include <Eigen/Dense>
#include <unsupported/Eigen/AutoDiff>
#include <unsupported/Eigen/MatrixFunctions>

#include "support/errors.hpp"
#include "support/random.hpp"

namespace {

using grape::BlockRotation;
using grape::Index;
using grape::Pairing;
using Rotation = BlockRotation<double>;

constexpr double kUnit = 0x1p-53;

Eigen::VectorXd random_vector(Random& random, Index d) {
  Eigen::VectorXd x(d);
  for (Index i = 0; i < d; ++i) x[i] = random.uniform(-1, 1);
  return x;
}

template <Pairing pairing>
void expect_exponential_of_the_generator() {
  Random random(31);
  for (Index planes = 1; planes <= 5; ++planes) {
    const Index first = planes % 3, d = first + 2 * planes + 1;
    const std::vector<double> theta = random.uniforms(planes, -1, 1);
    Eigen::MatrixXd l = Eigen::MatrixXd::Zero(d, d);
    for (Index m = 0; m < planes; ++m) {
      // theta L(e_j, e_i) = theta (e_j e_i^T - e_i e_j^T) of the pair (i, j).
      const auto c = grape::plane_coordinates(pairing, m, planes);
      const double t = theta[static_cast<std::size_t>(m)];
      l(first + c.second, first + c.first) += t;
      l(first + c.first, first + c.second) -= t;
    }
    const grape::CanonicalPlanes<double, pairing> generator(grape::Spectrum(theta),
                                                            grape::RotarySlice{first});
    for (const std::int64_t n : {0, 1, -2, 5}) {
      const Rotation g = Rotation::exp(generator, n);
      const Eigen::MatrixXd want = (static_cast<double>(n) * l).exp();
      // Pade approximation with up to four squarings.
      EXPECT_LT((g.matrix(d) - want).cwiseAbs().maxCoeff(), 200 * kUnit) << planes << " " << n;
      const Eigen::VectorXd x = random_vector(random, d);
      EXPECT_LT((g * x - g.matrix(d) * x).cwiseAbs().maxCoeff(), 4 * kUnit);
    }
  }
}

TEST(BlockRotation, IsTheExponentialOfTheGenerator) {
  expect_exponential_of_the_generator<Pairing::interleaved>();
  expect_exponential_of_the_generator<Pairing::half_split>();
}

TEST(BlockRotation, TurnsTheFirstCoordinateOfAPairTowardsTheSecond) {
  const double angle[] = {0.25};
  const Rotation g = Rotation::from_angles(Pairing::interleaved, angle);
  Eigen::VectorXd x(2);
  x << 1, 0;
  const Eigen::VectorXd y = g * x;
  EXPECT_EQ(y[0], std::cos(0.25));
  EXPECT_EQ(y[1], std::sin(0.25));
}

TEST(BlockRotation, GroupLawsAndIsometry) {
  Random random(32);
  const grape::CanonicalPlanes<double> generator(grape::Spectrum(random.frequencies(6)));
  for (int i = 0; i < 200; ++i) {
    const std::int64_t n = random.integer(-1000000000, 1000000000);
    const std::int64_t m = random.integer(-1000000000, 1000000000);
    const Rotation a = Rotation::exp(generator, n), b = Rotation::exp(generator, m);
    const Rotation both = Rotation::exp(generator, n + m);
    const Eigen::VectorXd x = random_vector(random, 13);
    EXPECT_LT((a * b * x - both * x).cwiseAbs().maxCoeff(), 16 * kUnit);
    EXPECT_LT((a * (b * x) - both * x).cwiseAbs().maxCoeff(), 16 * kUnit);
    EXPECT_LT((a.inverse() * (a * x) - x).cwiseAbs().maxCoeff(), 8 * kUnit);
    EXPECT_NEAR((a * x).norm() / x.norm(), 1, 8 * kUnit);
    EXPECT_EQ((a * x)[12], x[12]);
    EXPECT_NEAR(a.matrix(13).determinant(), 1, 50 * kUnit);
  }
}

TEST(BlockRotation, SetsOfFrequencies) {
  const grape::CanonicalPlanes<float, Pairing::half_split> generator(
      grape::Spectrum::per_head({0.1, 0.2, 0.3, 0.4}, 2));
  const Rotation g = Rotation::exp(generator, 3, 1);
  EXPECT_NEAR(g.cos(0), std::cos(3 * 0.3), 4 * kUnit);
  EXPECT_NEAR(g.sin(1), std::sin(3 * 0.4), 4 * kUnit);
  EXPECT_EQ(g.pairing(), Pairing::half_split);
  EXPECT_EQ(g.planes(), 2);
}

TEST(BlockRotation, DifferentiatesThroughAutoDiff) {
  using S = Eigen::AutoDiffScalar<Eigen::VectorXd>;
  Random random(33);
  const std::vector<double> theta = random.uniforms(3, -1, 1);
  const double n = 7;
  std::vector<S> angles;
  for (int m = 0; m < 3; ++m) {
    angles.push_back(S(theta[static_cast<std::size_t>(m)], 3, m) * n);
  }
  const auto g = BlockRotation<S>::from_angles(Pairing::half_split, angles, 1);
  const Eigen::VectorXd x = random_vector(random, 8), w = random_vector(random, 8);
  BlockRotation<S>::Vector v(8);
  for (Index i = 0; i < 8; ++i) v[i] = S(x[i], Eigen::VectorXd::Zero(3));
  const BlockRotation<S>::Vector y = g * v;
  S loss(0, Eigen::VectorXd::Zero(3));
  for (Index i = 0; i < 8; ++i) loss += w[i] * y[i];
  for (Index m = 0; m < 3; ++m) {
    const double t = theta[static_cast<std::size_t>(m)];
    const double c = std::cos(n * t), s = std::sin(n * t), x0 = x[1 + m], x1 = x[4 + m];
    const double want = n * (w[1 + m] * (-x0 * s - x1 * c) + w[4 + m] * (x0 * c - x1 * s));
    EXPECT_NEAR(loss.derivatives()[m], want, 20 * n * kUnit);
  }
  const auto back = g.inverse() * y;
  for (Index i = 0; i < 8; ++i) EXPECT_LT(back[i].derivatives().cwiseAbs().sum(), 40 * n * kUnit);
}

TEST(BlockRotation, RejectsWhatDoesNotFit) {
  const double one[] = {0.1}, two[] = {0.1, 0.2};
  const Rotation a = Rotation::from_angles(Pairing::interleaved, one);
  const Rotation b = Rotation::from_angles(Pairing::interleaved, two);
  const Rotation c = Rotation::from_angles(Pairing::half_split, two);
  const Rotation d = Rotation::from_angles(Pairing::half_split, two, 3);
  EXPECT_TRUE(rejects([&] { a* b; }, "other", "2 interleaved planes", "1 interleaved planes"));
  EXPECT_TRUE(rejects([&] { b* c; }, "other", "2 half_split", "2 interleaved"));
  EXPECT_TRUE(rejects([&] { c* d; }, "other", "from coordinate 3", "coordinate 0"));
  const double lost[] = {0.1, std::nan("")};
  EXPECT_TRUE(rejects([&] { Rotation::from_angles(Pairing::interleaved, lost); }, "angles[1]",
                      "nan", "finite"));
  EXPECT_TRUE(rejects([&] { b* Eigen::VectorXd(3); }, "dimension", "3", ">= 4"));
  EXPECT_TRUE(rejects([&] { d.matrix(6); }, "dimension", "6", ">= 7"));
  EXPECT_NO_THROW(d.matrix(7));
  EXPECT_TRUE(rejects([&] { Rotation::from_angles(Pairing::interleaved, one, -1); },
                      "first_coordinate", "-1", ">= 0"));
  const grape::CanonicalPlanes<double> sets(grape::Spectrum::per_head({0.1, 0.2}, 2));
  EXPECT_TRUE(rejects([&] { Rotation::exp(sets, 1, 2); }, "set", "2", "[0, 2)"));
  EXPECT_TRUE(rejects([&] { Rotation::exp(sets, 1, -1); }, "set", "-1", "[0, 2)"));
}

}  // namespace
