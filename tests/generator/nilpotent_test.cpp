// SPDX-License-Identifier: Apache-2.0
#include "grape/generator/nilpotent.hpp"

#include <gtest/gtest.h>

#include <Eigen/Dense>
#include <limits>

#include "support/errors.hpp"
#include "support/matrices.hpp"
#include "support/random.hpp"

namespace {

using Eigen::MatrixXd;
using Eigen::VectorXd;
using grape::Index;
using Generator = grape::Nilpotent<double>;
constexpr double kEps = std::numeric_limits<double>::epsilon();

static_assert(grape::Generator<Generator>);
static_assert(std::same_as<Generator::Kind, grape::NilpotentGenerator>);

TEST(Nilpotent, SquaresToZeroAtAnyScale) {
  Random random(501);
  for (int i = 0; i < 60; ++i) {
    const Index n = random.integer(2, 11), r = random.integer(1, n / 2);
    const MatrixXd u = random_matrix(random, n, r), v = random_matrix(random, n, r);
    const Generator a = Generator::nearest(u, v);
    const MatrixXd dense = a.matrix();
    EXPECT_LE((dense * dense).norm(), 8 * static_cast<double>(n) * kEps * dense.squaredNorm());
    const VectorXd x = random_matrix(random, n, 1);
    EXPECT_LE((a * x - dense * x).norm(),
              8 * static_cast<double>(n) * kEps * u.norm() * v.norm() * x.norm());
    // Scaled apart by 1e150 both ways: still accepted, and still the same cosines when spoiled.
    const Generator far(a.u() * 1e150, a.v() * 1e-150);
    EXPECT_LE((far.matrix() - dense).norm(), 8 * kEps * dense.norm());
    MatrixXd spoiled = a.u() * 1e150;
    spoiled.col(0) += 1e-9 * spoiled.col(0).norm() * a.v().col(0).normalized();
    EXPECT_TRUE(rejects([&] { Generator(spoiled, a.v() * 1e-150); }, "v (V^T U)(0, 0)",
                        "a cosine of", "A^2 = 0"));
  }
}

TEST(Nilpotent, NearestTakesAwayTheSpanOfVAlone) {
  Random random(502);
  const MatrixXd v = random_matrix(random, 7, 2), u = random_matrix(random, 7, 2);
  const Generator a = Generator::nearest(u, v);
  EXPECT_EQ((a.v() - v).norm(), 0);
  // The difference lies in the span of V, and an orthogonal U is left alone.
  const MatrixXd rest = u - a.u();
  const MatrixXd coefficients = (v.transpose() * v).inverse() * v.transpose() * rest;
  EXPECT_LE((v * coefficients - rest).norm(), 64 * kEps * u.norm());
  EXPECT_LE((Generator::nearest(a.u(), v).u() - a.u()).norm(), 16 * kEps * u.norm());
  // V of dependent columns.
  MatrixXd twice(7, 2);
  twice << v.col(0), 3 * v.col(0);
  EXPECT_NEAR(Generator::nearest(u, twice).u().col(1).dot(v.col(0)), 0, 64 * kEps * u.norm());
}

TEST(Nilpotent, SingularValuesAreThoseOfTheDenseMatrix) {
  Random random(503);
  for (int i = 0; i < 60; ++i) {
    const Index n = random.integer(2, 12), r = random.integer(1, n / 2);
    const Generator a =
        Generator::nearest(random_matrix(random, n, r), random_matrix(random, n, r));
    const VectorXd want = Eigen::JacobiSVD<MatrixXd>(a.matrix()).singularValues();
    const std::vector<double> got = a.singular_values();
    ASSERT_EQ(static_cast<Index>(got.size()), r);
    const double scale = static_cast<double>(n) * kEps * a.u().norm() * a.v().norm();
    for (Index k = 0; k < r; ++k) {
      EXPECT_NEAR(got[static_cast<std::size_t>(k)], want[k], 16 * scale);
    }
  }
}

TEST(Nilpotent, SingularValuesDoNotOverflowOnTheWay) {
  MatrixXd u = MatrixXd::Zero(6, 2), v = u;
  u(0, 0) = 1e300, v(3, 0) = 1e-300;  // columns of all lengths: the products are 1 and 4
  u(1, 1) = 4e-200, v(4, 1) = 1e200;
  const std::vector<double> two = Generator(u, v).singular_values();
  EXPECT_NEAR(two[0], 4, 16 * kEps);
  EXPECT_NEAR(two[1], 1, 16 * kEps);
  EXPECT_NEAR(Generator(u.col(0), v.col(0)).singular_values()[0], 1, 4 * kEps);
  // More columns than half of the space: the rank is 1 all the same.
  MatrixXd wide_u = MatrixXd::Zero(2, 3), wide_v = wide_u;
  wide_u.row(0) << 1, 2, 2;
  wide_v.row(1) << 2, 1, 2;
  const std::vector<double> wide = Generator(wide_u, wide_v).singular_values();
  EXPECT_NEAR(wide[0], 8, 32 * kEps);
  EXPECT_NEAR(wide[1], 0, 32 * kEps);
}

TEST(Nilpotent, NamedGeneratorsAreThePapers) {
  const Generator bias = Generator::bias(3, 0.25);
  MatrixXd want = MatrixXd::Zero(5, 5);
  want(4, 3) = -0.25;
  EXPECT_EQ(bias.matrix(), want);
  const Generator shift = Generator::translation(VectorXd::Constant(2, 7.0));
  MatrixXd shifted = MatrixXd::Zero(3, 3);
  shifted(0, 2) = shifted(1, 2) = 7;
  EXPECT_EQ(shift.matrix(), shifted);
  EXPECT_EQ((bias * 2.0).matrix(), 2 * want);
  EXPECT_EQ(bias.transpose().matrix(), want.transpose());
}

TEST(Nilpotent, SumsNeedGeneratorsThatAnnihilateEachOther) {
  const Generator a = Generator::bias(3, 0.25);
  EXPECT_EQ((a + Generator::bias(3, 0.5)).matrix(), Generator::bias(3, 0.75).matrix());
  const Generator back = a.transpose();  // A A^T is not 0
  EXPECT_TRUE(rejects([&] { a + back; }, "other (V^T U)", "a cosine of", "A^2 = 0"));
  EXPECT_TRUE(rejects([&] { a + Generator::bias(4, 1.0); }, "other", "size 6", "n = 5"));
}

TEST(Nilpotent, RejectsWhatIsNoGenerator) {
  const VectorXd e0 = VectorXd::Unit(3, 0), e1 = VectorXd::Unit(3, 1);
  EXPECT_TRUE(rejects([&] { Generator(e0, e0); }, "v (V^T U)(0, 0)", "a cosine of 1", "A^2 = 0"));
  EXPECT_TRUE(rejects([&] { Generator(e0, VectorXd::Unit(4, 1)); }, "v", "4 x 1", "3 x 1"));
  EXPECT_TRUE(rejects([&] { Generator(VectorXd::Unit(1, 0), VectorXd::Zero(1)); }, "u", "1 rows",
                      "n >= 2"));
  EXPECT_TRUE(
      rejects([&] { Generator(MatrixXd(3, 0), MatrixXd(3, 0)); }, "u", "no columns", "one column"));
  for (const double bad :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    EXPECT_TRUE(rejects([&] { Generator(e0, e1 * bad); }, "v(", "n", "finite"));
    EXPECT_TRUE(
        rejects([&] { Generator::bias(3, bad); }, "u(4, 0)", grape::detail::text(-bad), "finite"));
  }
  EXPECT_TRUE(rejects([&] { Generator::bias(-1, 1.0); }, "d", "-1", ">= 0"));
  EXPECT_TRUE(rejects([&] { Generator(e0, e1) * VectorXd(2); }, "x", "size 2", "n = 3"));
  EXPECT_TRUE(rejects([&] { Generator::translation(VectorXd(0)); }, "u", "1 rows", "n >= 2"));
}

}  // namespace
