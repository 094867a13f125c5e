// SPDX-License-Identifier: Apache-2.0
#include "grape/group/unipotent.hpp"

#include <gtest/gtest.h>

#include <Eigen/Dense>
#include <unsupported/Eigen/AutoDiff>

#include "support/errors.hpp"
#include "support/golden.hpp"
#include "support/random.hpp"

namespace {

using Group = grape::Unipotent<double>;
constexpr double kUnit = 0x1p-53;

Eigen::VectorXd lifted(Random& random, Eigen::Index d, double a, double b) {
  Eigen::VectorXd x(d + 2);
  for (Eigen::Index i = 0; i < d; ++i) x[i] = random.uniform(-1, 1);
  x[d] = a;
  x[d + 1] = b;
  return x;
}

TEST(Unipotent, LiftedProductContainsTheBias) {
  Random random(41);
  for (int i = 0; i < 100; ++i) {
    const Eigen::Index d = random.integer(0, 9);
    const double beta = random.uniform(-1, 1), si = random.uniform(-50, 50),
                 sj = random.uniform(-50, 50);
    const Eigen::VectorXd q = lifted(random, d, 1, 0), k = lifted(random, d, 0, 1);
    const double logit =
        (Group::exp(beta, si) * q).dot(Group::exp(beta, sj).inverse_transpose_times(k));
    EXPECT_NEAR(logit, q.head(d).dot(k.head(d)) + beta * (sj - si), 400 * kUnit);
  }
}

TEST(Unipotent, IsAGroupOfNilpotentGenerator) {
  Random random(42);
  for (int i = 0; i < 100; ++i) {
    const double beta = random.uniform(-1, 1), s = random.uniform(-9, 9), t = random.uniform(-9, 9);
    const Group g = Group::exp(beta, s);
    const Eigen::MatrixXd m = g.matrix(3), n = m - Eigen::MatrixXd::Identity(5, 5);
    EXPECT_EQ((n * n).cwiseAbs().maxCoeff(), 0);
    EXPECT_NEAR(m.determinant(), 1, 8 * kUnit);
    EXPECT_NEAR((g * Group::exp(beta, t)).entry(), Group::exp(beta, s + t).entry(), 40 * kUnit);
    EXPECT_EQ((g * g.inverse()).entry(), 0);
    EXPECT_LT((g.inverse().matrix(3) - m.inverse()).cwiseAbs().maxCoeff(), 40 * kUnit);
    const Eigen::VectorXd v = lifted(random, 3, 0.5, -2);
    EXPECT_LT((g * v - m * v).cwiseAbs().maxCoeff(), 40 * kUnit);
    EXPECT_LT((g.inverse_transpose_times(v) - m.inverse().transpose() * v).cwiseAbs().maxCoeff(),
              80 * kUnit);
  }
}

TEST(Unipotent, GoldenSingularValues) {
  // The entry c = -beta s; the golden H(s) = I + s e_5 e_4^T.
  const golden::Case file = golden::load("unipotent");
  ASSERT_GE(file.json().at("cases").size(), 4U);
  for (const auto& c : file.json().at("cases")) {
    const auto s = c.at("s").get<double>();
    const auto want = c.at("singular_values").get<std::vector<double>>();
    const Eigen::MatrixXd m = Group::exp(-1.0, s).matrix(3);
    const Eigen::VectorXd got = Eigen::JacobiSVD<Eigen::MatrixXd>(m).singularValues();
    ASSERT_EQ(got.size(), static_cast<Eigen::Index>(want.size()));
    for (Eigen::Index i = 0; i < got.size(); ++i) {
      EXPECT_NEAR(got[i], want[static_cast<std::size_t>(i)], 40 * kUnit * want[0]) << s;
    }
  }
  int cases = 0;
  for (const std::string& name : golden::families("unipotent")) {
    const golden::Case c = golden::load(name);
    if (name.find("canonical") == std::string::npos) continue;
    ++cases;
    const Eigen::MatrixXd m = Group::exp(-1.0, c.inputs("s").data.at(0)).matrix(2);
    const Eigen::VectorXd got = Eigen::JacobiSVD<Eigen::MatrixXd>(m).singularValues();
    const double largest = c.outputs("sigma_max").data.at(0);
    EXPECT_NEAR(got[0], largest, 40 * kUnit * largest) << name;
    EXPECT_NEAR(got[3], c.outputs("sigma_min").data.at(0), 40 * kUnit * largest) << name;
  }
  EXPECT_GE(cases, 4);
}

TEST(Unipotent, DifferentiatesThroughAutoDiff) {
  using S = Eigen::AutoDiffScalar<Eigen::VectorXd>;
  const S slope(0.25, 2, 0), s(3.0, 2, 1);
  const auto g = grape::Unipotent<S>::exp(slope, s);
  EXPECT_EQ(g.entry().value(), -0.75);
  EXPECT_EQ(g.entry().derivatives()[0], -3.0);
  EXPECT_EQ(g.entry().derivatives()[1], -0.25);
  const S back = g.inverse().entry();
  EXPECT_EQ(back.derivatives()[0], 3.0);
}

TEST(Unipotent, RejectsWhatIsNotLifted) {
  const Group g = Group::exp(1.0, 1.0);
  EXPECT_TRUE(rejects([&] { g* Eigen::VectorXd(1); }, "vector", "size 1", ">= 2"));
  EXPECT_TRUE(
      rejects([&] { g.inverse_transpose_times(Eigen::VectorXd(0)); }, "vector", "size 0", ">= 2"));
  EXPECT_TRUE(rejects([&] { g.matrix(-1); }, "d", "-1", ">= 0"));
}

}  // namespace
