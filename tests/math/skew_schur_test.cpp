// SPDX-License-Identifier: Apache-2.0
#include "grape/math/skew_schur.hpp"

#include <gtest/gtest.h>

#include "grape/math/frame.hpp"
#include "support/errors.hpp"
#include "support/matrices.hpp"
#include "support/random.hpp"

namespace {

using Eigen::MatrixXd;
using grape::Index;

constexpr double kEpsilon = std::numeric_limits<double>::epsilon();

MatrixXd blocks(const Eigen::VectorXd& theta, Index r) {
  MatrixXd out = MatrixXd::Zero(r, r);
  for (Index m = 0; m < theta.size(); ++m) {
    out(2 * m + 1, 2 * m) = theta[m];
    out(2 * m, 2 * m + 1) = -theta[m];
  }
  return out;
}

void expect_decomposes(const MatrixXd& s) {
  const auto schur = grape::skew_schur(s);
  const Index r = s.rows();
  const double rounding = 16 * static_cast<double>(r) * kEpsilon;
  ASSERT_EQ(schur.planes.rows(), r);
  ASSERT_EQ(schur.planes.cols(), r);
  ASSERT_EQ(schur.frequencies.size(), r / 2);
  EXPECT_LE(grape::frame::orthonormality_error(schur.planes), rounding);
  const MatrixXd made = schur.planes * blocks(schur.frequencies, r) * schur.planes.transpose();
  const double scale = r == 0 ? 0 : s.cwiseAbs().maxCoeff();
  EXPECT_LE((made - s).cwiseAbs().maxCoeff(), rounding * scale) << s;
  for (Index m = 0; m < r / 2; ++m) {
    EXPECT_GE(schur.frequencies[m], 0);
    if (m > 0) {
      EXPECT_LE(schur.frequencies[m], schur.frequencies[m - 1]);
    }
  }
}

TEST(SkewSchur, RandomMatricesOfEverySize) {
  Random random(11);
  for (Index r = 1; r <= 17; ++r) {
    for (const double size : {1.0, 1e-200, 1e200}) {
      const MatrixXd x = size * random_matrix(random, r, r);
      expect_decomposes(x - x.transpose());
    }
  }
  const MatrixXd x = random_matrix(random, 64, 64);
  expect_decomposes(x - x.transpose());
}

// Frequencies given, turned into any direction: repeated, zero, and seventeen decades apart.
TEST(SkewSchur, FindsTheFrequencies) {
  Random random(12);
  for (const std::vector<double>& list :
       {std::vector<double>{2, 2, 2, 2}, {3, 1, 1, 0}, {0, 0, 0, 0}, {1, 1e-17}, {5, 5, 0}}) {
    for (const Index odd : {0, 1}) {
      const auto count = static_cast<Index>(list.size());
      const Index r = 2 * count + odd;
      const Eigen::VectorXd theta = Eigen::Map<const Eigen::VectorXd>(list.data(), count);
      const MatrixXd t = grape::frame::householder(random_matrix(random, r, r));
      const MatrixXd s = t * blocks(theta, r) * t.transpose();
      const MatrixXd skew = (s - s.transpose()) / 2;
      expect_decomposes(skew);
      const auto schur = grape::skew_schur(skew);
      for (Index m = 0; m < count; ++m) {
        EXPECT_NEAR(schur.frequencies[m], theta[m],
                    16 * static_cast<double>(r) * kEpsilon * theta[0]);
      }
    }
  }
}

TEST(SkewSchur, ReadsTheLowerTriangle) {
  MatrixXd s(2, 2);
  s << 9, 9, 3, 9;
  const auto schur = grape::skew_schur(s);
  EXPECT_EQ(schur.frequencies[0], 3);
  EXPECT_EQ(schur.planes.col(1).dot(blocks(schur.frequencies, 2) * schur.planes.col(0)), 3);
}

TEST(SkewSchur, RefusesOtherMatrices) {
  EXPECT_TRUE(rejects([] { grape::skew_schur(MatrixXd::Zero(2, 3)); }, "s", "2 x 3", "square"));
  MatrixXd s = MatrixXd::Zero(3, 3);
  s(2, 1) = INFINITY;
  EXPECT_TRUE(rejects([&] { grape::skew_schur(s); }, "s(2, 1)", "inf", "finite"));
}

}  // namespace
