// SPDX-License-Identifier: Apache-2.0
#include "grape/group/unipotent.hpp"

#include <gtest/gtest.h>

#include <Eigen/Dense>
#include <unsupported/Eigen/AutoDiff>

#include "support/errors.hpp"
#include "support/golden.hpp"
#include "support/matrices.hpp"
#include "support/random.hpp"

namespace {

using Eigen::MatrixXd;
using Eigen::VectorXd;
using grape::Index;
using Generator = grape::Nilpotent<double>;
using Group = grape::Unipotent<double>;
constexpr double kUnit = 0x1p-53;

VectorXd lifted(Random& random, Index d, double a, double b) {
  VectorXd x(d + 2);
  for (Index i = 0; i < d; ++i) x[i] = random.uniform(-1, 1);
  x[d] = a;
  x[d + 1] = b;
  return x;
}

Generator random_generator(Random& random, Index n, Index r) {
  return Generator::nearest(random_matrix(random, n, r), random_matrix(random, n, r));
}

TEST(Unipotent, LiftedProductContainsTheBias) {
  Random random(41);
  for (int i = 0; i < 100; ++i) {
    const Index d = random.integer(0, 9);
    const double beta = random.uniform(-1, 1), si = random.uniform(-50, 50),
                 sj = random.uniform(-50, 50);
    const Generator a = Generator::bias(d, beta);
    const VectorXd q = lifted(random, d, 1, 0), k = lifted(random, d, 0, 1);
    const double logit = (Group::exp(a, si) * q).dot(Group::exp(a, sj).inverse_transpose_times(k));
    EXPECT_NEAR(logit, q.head(d).dot(k.head(d)) + beta * (sj - si), 400 * kUnit);
  }
}

TEST(Unipotent, IsAGroup) {
  Random random(42);
  for (int i = 0; i < 100; ++i) {
    const Index n = random.integer(2, 9), r = random.integer(1, n / 2);
    const double s = random.uniform(-9, 9), t = random.uniform(-9, 9);
    const Generator a = random_generator(random, n, r);
    const Group g = Group::exp(a, s);
    const MatrixXd m = g.matrix(), one = MatrixXd::Identity(n, n);
    // |A| <= n r; s^2 A^2 is rounding of that size.
    const double size = std::pow(1 + 9 * a.u().norm() * a.v().norm(), 2);
    const double bound = 32 * static_cast<double>(n) * size * kUnit;
    EXPECT_LE(((m - one) * (m - one)).cwiseAbs().maxCoeff(), bound);
    EXPECT_LE((g.inverse().matrix() * m - one).cwiseAbs().maxCoeff(), bound);
    EXPECT_LE((g.inverse_transpose().matrix() * m.transpose() - one).cwiseAbs().maxCoeff(), bound);
    EXPECT_LE((g.transpose().matrix() - m.transpose()).cwiseAbs().maxCoeff(), bound);
    EXPECT_LE(
        ((g * Group::exp(a, t)).matrix() - m * Group::exp(a, t).matrix()).cwiseAbs().maxCoeff(),
        bound);
    EXPECT_LE((Group::exp(g.log(), 1.0).matrix() - m).cwiseAbs().maxCoeff(), bound);
    const VectorXd x = random_matrix(random, n, 1);
    EXPECT_LE((g * x - m * x).cwiseAbs().maxCoeff(), bound);
    EXPECT_LE(
        (g.inverse_transpose_times(x) - g.inverse().matrix().transpose() * x).cwiseAbs().maxCoeff(),
        bound);
    EXPECT_EQ((g * g.inverse()).parameter(), 0);
  }
}

TEST(Unipotent, DeterminantIsOne) {
  Random random(43);
  for (int i = 0; i < 50; ++i) {
    const Group g = Group::exp(random_generator(random, 6, 2), random.uniform(-1, 1));
    EXPECT_NEAR(g.matrix().determinant(), 1, 400 * g.condition_number() * kUnit);
  }
}

TEST(Unipotent, BiasesOfADictionaryCompose) {
  // Two heads' slopes on other rows of one space: A B = B A = 0.
  const VectorXd e0 = VectorXd::Unit(5, 0), e1 = VectorXd::Unit(5, 1), e3 = VectorXd::Unit(5, 3),
                 e4 = VectorXd::Unit(5, 4);
  const Generator a(0.5 * e4, e3), b(2.0 * e1, e0);
  const Group g = Group::exp(a, 3.0) * Group::exp(b, -1.0);
  EXPECT_EQ(g.matrix(), Group::exp(a, 3.0).matrix() * Group::exp(b, -1.0).matrix());
  EXPECT_EQ(g.generator().columns(), 2);
  EXPECT_TRUE(rejects([&] { g* Group::exp(a.transpose(), 1.0); }, "other", "cosine", "A^2 = 0"));
}

TEST(Unipotent, GoldenSingularValues) {
  const golden::Case file = golden::load("unipotent");
  ASSERT_GE(file.json().at("cases").size(), 4U);
  for (const auto& c : file.json().at("cases")) {
    const auto want = c.at("singular_values").get<std::vector<double>>();
    const Group g = Group::exp(Generator::bias(3, -1.0), c.at("s").get<double>());
    const std::vector<double> got = g.singular_values();
    ASSERT_EQ(got.size(), want.size());
    for (std::size_t i = 0; i < got.size(); ++i) {
      EXPECT_NEAR(got[i], want[i], 40 * kUnit * want[0]);  // numpy's are no better
    }
    const auto condition = c.at("condition").get<double>();
    EXPECT_NEAR(g.condition_number(), condition, 80 * kUnit * condition * want[0]);
  }
  int cases = 0;
  for (const std::string& name : golden::families("unipotent")) {
    if (name == "unipotent") continue;
    SCOPED_TRACE(name);
    const golden::Case c = golden::load(name);
    ++cases;
    const bool shift = c.has_input("u");
    Generator a = Generator::bias(2, -1.0);
    double s = 0;
    if (shift) {
      const std::vector<double> u = c.inputs("u").data;
      a = Generator::translation(
          Eigen::Map<const VectorXd>(u.data(), static_cast<Index>(u.size())));
      s = c.inputs("m").data.at(0) * c.inputs("omega").data.at(0);
    } else {
      s = c.inputs("s").data.at(0);
    }
    const Group g = Group::exp(a, s);
    const std::vector<double> got = g.singular_values();
    const double largest = c.outputs("sigma_max").data.at(0);
    const double smallest = c.outputs("sigma_min").data.at(0);
    const double condition = c.outputs("cond").data.at(0);
    EXPECT_NEAR(got.front(), largest, 6 * kUnit * largest);
    EXPECT_NEAR(got.back(), smallest, 8 * kUnit * smallest);
    EXPECT_NEAR(g.condition_number(), condition, 12 * kUnit * condition);
    if (!shift) {
      const double log_largest = c.outputs("log_sigma_max").data.at(0);
      EXPECT_NEAR(std::log(got.front()), log_largest, 8 * kUnit + 8 * kUnit * log_largest);
      continue;
    }
    const auto expect_matrix = [&](const MatrixXd& m, const golden::Array& want) {
      for (Index i = 0; i < m.rows(); ++i) {
        for (Index j = 0; j < m.cols(); ++j) {
          const double w = want.data.at(static_cast<std::size_t>(i * m.cols() + j));
          EXPECT_NEAR(m(i, j), w, 4 * kUnit * std::fabs(w));
        }
      }
    };
    expect_matrix(g.matrix(), c.outputs("G"));
    expect_matrix(g.inverse().matrix(), c.outputs("G_inv"));
    expect_matrix(g.inverse_transpose().matrix(), c.outputs("G_inv_transpose"));
  }
  EXPECT_GE(cases, 8);
}

TEST(Unipotent, SingularValuesAreThoseOfTheDenseMatrix) {
  Random random(44);
  for (int i = 0; i < 60; ++i) {
    const Index n = random.integer(2, 9), r = random.integer(1, n / 2);
    const Group g = Group::exp(random_generator(random, n, r), random.uniform(-4, 4));
    const std::vector<double> got = g.singular_values();
    const VectorXd want = Eigen::JacobiSVD<MatrixXd>(g.matrix()).singularValues();
    double product = 1;
    for (Index k = 0; k < n; ++k) {
      product *= got[static_cast<std::size_t>(k)];
      EXPECT_NEAR(got[static_cast<std::size_t>(k)], want[k],
                  64 * static_cast<double>(n) * kUnit * want[0]);
    }
    EXPECT_NEAR(product, 1, 8 * static_cast<double>(n) * kUnit);
  }
}

TEST(Unipotent, SingularValuesLoseNothingToTinyOrHugeParameters) {
  // sigma_+ = e^asinh(t / 2) in long double: sigma_+ - 1 for tiny t, sigma_- for huge t.
  for (int e = -300; e <= 150; ++e) {
    const double t = std::pow(10.0, e);
    const std::vector<double> got = Group::exp(Generator::bias(0, 1.0), t).singular_values();
    const long double want = std::exp(std::asinh(static_cast<long double>(t) / 2));
    // asinh of a long double is good to 2^-64 of itself, and exp turns that into a relative error.
    EXPECT_NEAR(got[0] / static_cast<double>(want), 1, 2 * kUnit) << e;
    EXPECT_NEAR(got[1] * static_cast<double>(want), 1, 4 * kUnit) << e;
  }
  EXPECT_EQ(Group::exp(Generator::bias(0, 1.0), 0.0).condition_number(), 1);
}

TEST(Unipotent, GradientsAreThoseOfAutoDiff) {
  Random random(45);
  using D = Eigen::AutoDiffScalar<VectorXd>;
  for (int i = 0; i < 20; ++i) {
    const Index n = random.integer(2, 6), r = random.integer(1, n / 2);
    const Generator a = random_generator(random, n, r);
    const double s = random.uniform(-3, 3);
    const VectorXd x = random_matrix(random, n, 1), w = random_matrix(random, n, 1);
    const auto got = grape::unipotent_vjp(a, s, x, w);
    // Parameters in a row: s, x, U, V.
    const Index count = 1 + n + 2 * n * r;
    Index next = 0;
    const auto variable = [&](double value) {
      return D(value, static_cast<int>(count), static_cast<int>(next++));
    };
    const D ds = variable(s);
    grape::Nilpotent<D>::Vector dx(n);
    for (Index k = 0; k < n; ++k) dx[k] = variable(x[k]);
    grape::Nilpotent<D>::Matrix du(n, r), dv(n, r);
    for (Index k = 0; k < r; ++k) {
      for (Index j = 0; j < n; ++j) du(j, k) = variable(a.u()(j, k));
    }
    for (Index k = 0; k < r; ++k) {
      for (Index j = 0; j < n; ++j) dv(j, k) = variable(a.v()(j, k));
    }
    const auto y = grape::Unipotent<D>::exp(grape::Nilpotent<D>(du, dv), ds) * dx;
    VectorXd want = VectorXd::Zero(count);
    for (Index k = 0; k < n; ++k) want += w[k] * y[k].derivatives();
    VectorXd mine(count);
    mine << got.s, got.x, got.u.reshaped(), got.v.reshaped();
    const double scale = 3 * static_cast<double>(n) * (1 + a.u().norm()) * (1 + a.v().norm());
    EXPECT_LE((mine - want).cwiseAbs().maxCoeff(), 64 * scale * static_cast<double>(n) * kUnit);
  }
}

TEST(Unipotent, RejectsWhatDoesNotFit) {
  const Group g = Group::exp(Generator::bias(1, 1.0), 1.0);
  EXPECT_TRUE(rejects([&] { g* VectorXd(1); }, "x", "size 1", "n = 3"));
  EXPECT_TRUE(rejects([&] { g.inverse_transpose_times(VectorXd(0)); }, "x", "size 0", "n = 3"));
  EXPECT_TRUE(
      rejects([&] { g* Group::exp(Generator::bias(2, 1.0), 1.0); }, "other", "size 4", "n = 3"));
  EXPECT_TRUE(
      rejects([&] { Group::exp(Generator::bias(1, 1.0), 0.0 / 0.0); }, "s", "nan", "finite"));
  EXPECT_TRUE(
      rejects([&] { grape::unipotent_vjp(Generator::bias(1, 1.0), 1.0, VectorXd(2), VectorXd(3)); },
              "x", "size 2", "n = 3"));
  EXPECT_TRUE(
      rejects([&] { grape::unipotent_vjp(Generator::bias(1, 1.0), 1.0, VectorXd(3), VectorXd(4)); },
              "w", "size 4", "n = 3"));
  EXPECT_TRUE(rejects(
      [&] {
        grape::unipotent_vjp(Generator::bias(1, 1.0), 0.0 / 0.0, VectorXd::Ones(3),
                             VectorXd::Ones(3));
      },
      "s", "nan", "finite"));
}

}  // namespace
