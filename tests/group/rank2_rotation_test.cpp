// SPDX-License-Identifier: Apache-2.0
#include "grape/group/rank2_rotation.hpp"

#include <gtest/gtest.h>

#include <Eigen/Dense>
#include <cmath>
#include <limits>
#include <unsupported/Eigen/AutoDiff>

#include "support/errors.hpp"
#include "support/golden.hpp"
#include "support/golden_rank2.hpp"
#include "support/random.hpp"

namespace {

using Vector = Eigen::VectorXd;
using Generator = grape::Rank2Generator<double>;
using Rotation = grape::Rank2Rotation<double>;
constexpr double kEps = std::numeric_limits<double>::epsilon();

Vector random_vector(Random& random, Eigen::Index d) {
  Vector x(d);
  for (Eigen::Index i = 0; i < d; ++i) x[i] = random.uniform(-1, 1);
  return x;
}
Generator random_generator(Random& random, Eigen::Index d) {
  return Generator(random_vector(random, d), random_vector(random, d));
}
// Without the squares of lengths like 1e200.
double length(const Vector& x) { return x.stableNorm(); }

// What rounding may do to a dot product of d terms and to an angle: d + a few epsilon, and a few
// epsilon of the angle.
double rounding(Eigen::Index d, double angle) {
  return (16 + static_cast<double>(d) + 8 * std::fabs(angle)) * kEps;
}

TEST(Rank2Rotation, GoldenValues) {
  int cases = 0;
  for (const auto& [name, g] : golden::rank2_cases()) {
    SCOPED_TRACE(name);
    const Generator l(g.a, g.b);
    const Rotation r = Rotation::exp(l, g.n * g.omega);
    const double bound = rounding(g.x.size(), r.angle()) * g.x.norm();
    EXPECT_LE((r * g.x - g.y).norm(), bound);
    EXPECT_LE((r.matrix() * g.x - g.y).norm(), bound);
    EXPECT_LE((r.inverse_times(g.y) - g.x).norm(), bound);
    ++cases;
  }
  EXPECT_GE(cases, 100);
}

TEST(Rank2Rotation, GoldenMatrices) {
  int cases = 0;
  for (const std::string& name : golden::families("rank2")) {
    const golden::Case file = golden::load(name);
    if (!file.has_output("G")) continue;
    SCOPED_TRACE(name);
    const Vector a = golden::vector_of(file.inputs("a").data),
                 b = golden::vector_of(file.inputs("b").data);
    const Rotation r = Rotation::exp(Generator(a, b),
                                     file.inputs("n").data.at(0) * file.inputs("omega").data.at(0));
    const std::vector<double> flat = file.outputs("G").data;
    const Eigen::Index d = a.size();
    const Eigen::MatrixXd want =
        Eigen::Map<const Eigen::Matrix<double, -1, -1, Eigen::RowMajor>>(flat.data(), d, d);
    EXPECT_LE((r.matrix() - want).cwiseAbs().maxCoeff(), rounding(0, r.angle()));
    ++cases;
  }
  EXPECT_GE(cases, 40);
}

// Each gradient in units of what it is made of: t |b| |w| |x| for a, and so on.
TEST(Rank2Rotation, GoldenGradients) {
  int cases = 0;
  for (const auto& [name, g] : golden::rank2_cases()) {
    if (!g.gradients) continue;
    SCOPED_TRACE(name);
    const Generator l(g.a, g.b);
    const double t = g.n * g.omega;
    const auto got = grape::rank2_rotation_vjp(l, t, g.x, g.w);
    const double k = 2 * rounding(g.x.size(), l.angle(t)) + g.reference;
    const double size = g.w.norm() * g.x.norm(), tt = std::fabs(t);
    const double na = length(g.a), nb = length(g.b);
    EXPECT_LE((got.x - g.dx).norm(), k * g.w.norm());
    EXPECT_LE(length(got.a - g.da), k * (tt * nb) * size);
    EXPECT_LE(length(got.b - g.db), k * (tt * na) * size);
    EXPECT_NEAR(g.n * got.t, g.domega, k * std::fabs(g.n) * l.s() * size);
    EXPECT_NEAR(g.omega * got.t, g.dn, k * std::fabs(g.omega) * l.s() * size);
    ++cases;
  }
  EXPECT_GE(cases, 100);
}

template <class S>
void check_group() {
  using G = grape::Rank2Generator<S>;
  using R = grape::Rank2Rotation<S>;
  using V = typename G::Vector;
  const double eps = std::numeric_limits<S>::epsilon();
  Random random(311);
  // Every decade of the angle, five shapes each.
  for (int decade = -30; decade < 5; ++decade) {
    for (int i = 0; i < 5; ++i) {
      const Eigen::Index d = random.integer(2, 40);
      const G l(random_vector(random, d).cast<S>(), random_vector(random, d).cast<S>());
      const double t = std::pow(10.0, decade + random.uniform(0, 1)) / l.s();
      const double q = random.uniform(-2, 2) / l.s();
      const V x = random_vector(random, d).cast<S>();
      const auto norm = static_cast<double>(x.norm());
      const R g = R::exp(l, t), h = R::exp(l, q);
      // Two rotations of d-term dot products; the angles are doubles.
      const double k = (32 + 2 * static_cast<double>(d)) * eps + 8 * kEps * std::fabs(t * l.s());
      const V gx = g * x;
      EXPECT_NEAR(gx.norm(), norm, k * norm);
      EXPECT_LE((g.inverse() * gx - x).norm(), k * norm);
      EXPECT_LE((g.inverse_times(gx) - x).norm(), k * norm);
      EXPECT_LE((h * gx - (h * g) * x).norm(), k * norm);
      EXPECT_LE((h * gx - R::exp(l, t + q) * x).norm(), k * norm);
      // Relative law: <G(t) x, G(q) x'> depends on q - t alone.
      const V other = random_vector(random, d).cast<S>();
      EXPECT_NEAR(gx.dot(h * other), x.dot(R::exp(l, q - t) * other),
                  k * norm * static_cast<double>(other.norm()));
      // What moves is the plane, by a chord of the angle; the change itself is right too.
      const double chord = 2 * std::fabs(std::sin(g.angle() / 2));
      const V moved = g * l.u() - l.u();
      EXPECT_NEAR(moved.norm(), chord, 8 * static_cast<double>(d) * eps);
    }
  }
}
TEST(Rank2Rotation, IsAGroupInEveryDecadeOfTheAngle) {
  check_group<float>();
  check_group<double>();
}

// The small change of a small rotation keeps its own digits.
TEST(Rank2Rotation, SmallAnglesKeepTheirDigits) {
  const Vector a = Vector::Unit(3, 0), b = Vector::Unit(3, 1);
  for (int decade = -300; decade < 0; ++decade) {
    const double t = 1.7 * std::pow(10.0, decade);
    const Vector y = Rotation::exp(Generator(a, b), t) * b;
    EXPECT_NEAR(y[0], std::sin(t), 2 * kEps * t);
    EXPECT_NEAR(y[1], std::cos(t), 2 * kEps);
  }
}

TEST(Rank2Rotation, TurnsTheSecondVectorTowardsTheFirst) {
  const double t = 0.3;
  const Rotation g = Rotation::exp(Generator(Vector::Unit(2, 0), Vector::Unit(2, 1)), t);
  Eigen::Matrix2d want;  // R2(-t)
  want << std::cos(t), std::sin(t), -std::sin(t), std::cos(t);
  EXPECT_LE((g.matrix() - want).norm(), 4 * kEps);
}

TEST(Rank2Rotation, MatrixIsSpecialOrthogonalWithItsSpectrum) {
  Random random(312);
  for (int i = 0; i < 60; ++i) {
    const Eigen::Index d = random.integer(2, 10);
    const Generator l = random_generator(random, d);
    const Rotation g = Rotation::exp(l, random.uniform(-6, 6));
    const Eigen::MatrixXd m = g.matrix();
    const double k = 16 * static_cast<double>(d) * kEps;
    EXPECT_LE((m.transpose() * m - Eigen::MatrixXd::Identity(d, d)).norm(), k);
    EXPECT_NEAR(m.determinant(), 1, k);
    EXPECT_NEAR(m.trace(), static_cast<double>(d) - 2 + 2 * std::cos(g.angle()), k);
    const Vector x = random_vector(random, d);
    EXPECT_LE((g * x - m * x).norm(), k * x.norm());
    EXPECT_EQ((Rotation::exp(l, 0.0) * x - x).norm(), 0);
  }
}

TEST(Rank2Rotation, ComposesAcrossBasesOfOnePlane) {
  Random random(313);
  for (int i = 0; i < 60; ++i) {
    const Eigen::Index d = random.integer(3, 9);
    const Vector a = random_vector(random, d), b = random_vector(random, d);
    const double k = 256 * kEps;
    const Generator l(a, b), turned(a + b, a - b), flipped(b, a);
    for (const Generator& m : {turned, flipped}) {
      const Rotation g = Rotation::exp(l, 0.4), h = Rotation::exp(m, 0.7);
      EXPECT_LE(((g * h).matrix() - g.matrix() * h.matrix()).norm(), k);
    }
    const Rotation none = Rotation::exp(Generator(a, Vector::Zero(d)), 3);
    const Rotation g = Rotation::exp(l, 0.4);
    EXPECT_EQ((none * g).angle(), g.angle());
    EXPECT_EQ((g * none).angle(), g.angle());
    const Rotation elsewhere = Rotation::exp(random_generator(random, d), 1);
    EXPECT_TRUE(rejects([&] { g* elsewhere; }, "other", "away", "same plane"));
  }
}

TEST(Rank2Rotation, LogIsTheInverseOfExp) {
  Random random(314);
  for (int i = 0; i < 100; ++i) {
    const Eigen::Index d = random.integer(2, 9);
    const Generator l = random_generator(random, d);
    // Within half a turn, both ends included, log gives the generator back.
    const double phi = i == 0 ? M_PI : i == 1 ? -M_PI : random.uniform(-3.1, 3.1);
    const double t = phi / l.s();
    const Rotation g = Rotation::exp(l, t);
    const double k = 64 * static_cast<double>(d) * kEps;
    if (i > 1) {
      EXPECT_LE((g.log().matrix() - t * l.matrix()).norm(), k);
    }
    EXPECT_LE((Rotation::exp(g.log(), 1).matrix() - g.matrix()).norm(), k);
    // From the dense matrix, and with whole turns dropped.
    const Rotation read = Rotation::from_matrix(g.matrix());
    EXPECT_LE((read.matrix() - g.matrix()).norm(), k);
    if (i > 1) {
      EXPECT_LE((read.log().matrix() - t * l.matrix()).norm(), k);
    }
    const Rotation more = Rotation::exp(l, t + 4 * M_PI / l.s());
    EXPECT_LE(more.log().s(), M_PI * (1 + kEps));
    EXPECT_LE((Rotation::exp(more.log(), 1).matrix() - g.matrix()).norm(), k);
  }
  for (int decade = -14; decade < 0; ++decade) {
    // A dense matrix knows a small angle to epsilon absolutely.
    const Generator l =
        Generator::gauge(random_vector(random, 5), random_vector(random, 5)).generator;
    const double phi = std::pow(10.0, decade);
    const Rotation read = Rotation::from_matrix(Rotation::exp(l, phi).matrix());
    EXPECT_NEAR(std::fabs(read.angle()), phi, 16 * kEps);
  }
  const Rotation none = Rotation::from_matrix(Eigen::MatrixXd::Identity(4, 4));
  EXPECT_EQ(none.angle(), 0);
  EXPECT_EQ(none.log().matrix().norm(), 0);
}

// The formula of section 2.3, where it has not lost its digits.
TEST(Rank2Rotation, AgreesWithTheFormulaOfThePaper) {
  Random random(315);
  for (int i = 0; i < 100; ++i) {
    const Eigen::Index d = random.integer(2, 20);
    const Vector a = random_vector(random, d), b = random_vector(random, d);
    const Vector x = random_vector(random, d);
    const double t = random.uniform(-2, 2);
    const double z = std::fabs(t) * a.norm() * b.norm();
    const Vector y = Rotation::exp(Generator(a, b), t) * x;
    EXPECT_LE((y - grape::rank2_exp_times(a, b, t, x)).norm(),
              rounding(d, z) * (1 + z * z) * x.norm());
  }
}

// The gradients of the formula by automatic differentiation; at a parallel b too (i = 0).
TEST(Rank2RotationVjp, AgreesWithAutoDiff) {
  using S = Eigen::AutoDiffScalar<Vector>;
  using V = Eigen::Matrix<S, Eigen::Dynamic, 1>;
  Random random(316);
  for (int i = 0; i < 40; ++i) {
    const auto d = static_cast<int>(random.integer(2, 8));
    const int n = 3 * d + 1;
    const Vector a = random_vector(random, d), x = random_vector(random, d);
    const Vector b = i == 0 ? Vector(2 * a) : random_vector(random, d);
    const Vector w = random_vector(random, d);
    const double t = i < 5 ? 0.01 * i : random.uniform(-2, 2);
    V sa(d), sb(d), sx(d);
    for (int j = 0; j < d; ++j) {
      sa[j] = S(a[j], n, j);
      sb[j] = S(b[j], n, d + j);
      sx[j] = S(x[j], n, 2 * d + j);
    }
    const V y = grape::rank2_exp_times<S, Eigen::Dynamic>(sa, sb, S(t, n, 3 * d), sx);
    Vector want = Vector::Zero(n);
    for (Eigen::Index j = 0; j < d; ++j) want += w[j] * y[j].derivatives();
    const auto got = grape::rank2_rotation_vjp(Generator(a, b), t, x, w);
    const double na = a.norm(), nb = b.norm(), z = 1 + std::fabs(t) * na * nb;
    // The formula itself loses up to z^2 of its digits, its derivative z^3.
    const double k = 4 * rounding(d, z) * z * z * z * w.norm() * x.norm();
    EXPECT_LE((got.a - want.head(d)).norm(), k * (1 + nb));
    EXPECT_LE((got.b - want.segment(d, d)).norm(), k * (1 + na));
    EXPECT_LE((got.x - want.segment(2 * d, d)).norm(), k / x.norm());
    EXPECT_NEAR(got.t, want[3 * d], k * na * nb);
  }
}

// Central differences of the rotation itself: error h^2 |f'''| / 6 + epsilon / h.
TEST(Rank2RotationVjp, AgreesWithFiniteDifferences) {
  Random random(317);
  const double h = std::cbrt(kEps);
  for (int i = 0; i < 30; ++i) {
    const Eigen::Index d = random.integer(2, 10);
    const Vector a = random_vector(random, d), b = random_vector(random, d);
    const Vector x = random_vector(random, d), w = random_vector(random, d);
    const double t = random.uniform(-2, 2);
    const auto loss = [&w](const Vector& p, const Vector& q, double r, const Vector& z) {
      return w.dot(Rotation::exp(Generator(p, q), r) * z);
    };
    const auto got = grape::rank2_rotation_vjp(Generator(a, b), t, x, w);
    const double rate = 2 + std::fabs(t) * (a.norm() + b.norm()) + a.norm() * b.norm();
    const double bound = (rate * rate * rate + rounding(d, 8) / kEps) * h * h * w.norm() * x.norm();
    const Vector da = random_vector(random, d).normalized(),
                 db = random_vector(random, d).normalized(),
                 dx = random_vector(random, d).normalized();
    EXPECT_NEAR((loss(a + h * da, b, t, x) - loss(a - h * da, b, t, x)) / (2 * h), got.a.dot(da),
                bound);
    EXPECT_NEAR((loss(a, b + h * db, t, x) - loss(a, b - h * db, t, x)) / (2 * h), got.b.dot(db),
                bound);
    EXPECT_NEAR((loss(a, b, t, x + h * dx) - loss(a, b, t, x - h * dx)) / (2 * h), got.x.dot(dx),
                bound);
    EXPECT_NEAR((loss(a, b, t + h, x) - loss(a, b, t - h, x)) / (2 * h), got.t, bound);
  }
}

// Float against double on the same numbers, over every decade of t.
TEST(Rank2RotationVjp, FloatAgreesWithDouble) {
  Random random(318);
  for (int decade = -12; decade < 5; ++decade) {
    const Eigen::Index d = 12;
    const Eigen::VectorXf a = random_vector(random, d).cast<float>(),
                          b = random_vector(random, d).cast<float>(),
                          x = random_vector(random, d).cast<float>(),
                          w = random_vector(random, d).cast<float>();
    const double t = 1.7 * std::pow(10.0, decade);
    const Generator l(a.cast<double>(), b.cast<double>());
    const auto want =
        grape::rank2_rotation_vjp<double, -1>(l, t, x.cast<double>(), w.cast<double>());
    const auto got = grape::rank2_rotation_vjp(grape::Rank2Generator<float>(a, b), t, x, w);
    const double k = 64 * std::numeric_limits<float>::epsilon();
    const double size = static_cast<double>(w.norm()) * static_cast<double>(x.norm());
    EXPECT_LE((got.x.cast<double>() - want.x).norm(), k * static_cast<double>(w.norm()));
    EXPECT_LE((got.a.cast<double>() - want.a).norm(), k * t * static_cast<double>(b.norm()) * size);
    EXPECT_LE((got.b.cast<double>() - want.b).norm(), k * t * static_cast<double>(a.norm()) * size);
    EXPECT_NEAR(got.t, want.t, k * l.s() * size);
  }
}

// a = 0 and b = 0 have gradients though nothing turns: d loss / da = t (w x^T - x w^T) b.
TEST(Rank2RotationVjp, IsRightWhereNothingTurns) {
  Random random(319);
  const Vector b = random_vector(random, 6), x = random_vector(random, 6),
               w = random_vector(random, 6), zero = Vector::Zero(6);
  const double t = 3, k = 16 * kEps * t * b.norm() * w.norm() * x.norm();
  const Vector want = t * (w * x.dot(b) - x * w.dot(b));
  const auto at_a = grape::rank2_rotation_vjp(Generator(zero, b), t, x, w);
  EXPECT_LE((at_a.a - want).norm(), k);
  EXPECT_EQ(at_a.b.norm(), 0);
  const auto at_b = grape::rank2_rotation_vjp(Generator(b, zero), t, x, w);
  EXPECT_LE((at_b.b + want).norm(), k);
  EXPECT_EQ(at_b.a.norm(), 0);
  const auto none = grape::rank2_rotation_vjp(Generator(zero, zero), t, x, w);
  EXPECT_EQ(none.a.norm() + none.b.norm() + std::fabs(none.t), 0);
  EXPECT_EQ((none.x - w).norm(), 0);
}

TEST(Rank2Rotation, WorksInFixedSize) {
  const Eigen::Vector4d a(1, 2, 3, 4), b(-1, 0, 1, 2), x(0, 1, 0, 1), w(1, 1, 0, 0);
  const grape::Rank2Generator<double, 4> l(a, b);
  const Vector y = Rotation::exp(Generator(a, b), 0.1) * Vector(x);
  EXPECT_LE((grape::Rank2Rotation<double, 4>::exp(l, 0.1) * x - y).norm(), 16 * kEps);
  EXPECT_LE((grape::rank2_rotation_vjp(l, 0.1, x, w).a -
             grape::rank2_rotation_vjp<double, -1>(Generator(a, b), 0.1, x, w).a)
                .norm(),
            64 * kEps);
}

TEST(Rank2Rotation, RejectsWhatItCannotTurn) {
  Random random(320);
  const Generator l = random_generator(random, 4);
  const Rotation g = Rotation::exp(l, 1);
  const Vector x = Vector::Ones(4), small = Vector::Ones(3);
  EXPECT_TRUE(rejects([&] { g* small; }, "x", "size 3", "d = 4"));
  EXPECT_TRUE(rejects([&] { g.inverse_times(small); }, "x", "size 3", "d = 4"));
  EXPECT_TRUE(rejects([&] { g* Rotation::exp(random_generator(random, 5), 1); }, "other", "size 5",
                      "d = 4"));
  EXPECT_TRUE(rejects([&] { grape::rank2_rotation_vjp(l, 1.0, small, x); }, "x", "size 3", "4"));
  EXPECT_TRUE(rejects([&] { grape::rank2_rotation_vjp(l, 1.0, x, small); }, "w", "size 3", "4"));
  EXPECT_TRUE(rejects([&] { grape::rank2_exp_times(x, small, 1.0, x); }, "b", "size 3", "4"));
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(rejects([&] { Rotation::exp(l, nan); }, "t", "nan", "finite"));
  const Generator huge(1e200 * l.a(), 1e100 * l.b());
  EXPECT_TRUE(rejects([&] { Rotation::exp(huge, 1e300); }, "t", "e+300", "angle"));
  EXPECT_TRUE(rejects([] { Rotation::from_matrix(Eigen::MatrixXd::Identity(3, 4)); }, "g", "3 x 4",
                      "d x d"));
  Eigen::MatrixXd two = Eigen::MatrixXd::Identity(4, 4) * -1;  // two planes, half a turn each
  EXPECT_TRUE(rejects([&] { Rotation::from_matrix(two); }, "g", "away", "one plane"));
}

}  // namespace
