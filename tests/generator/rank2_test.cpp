// SPDX-License-Identifier: Apache-2.0
#include "grape/generator/rank2.hpp"

#include <gtest/gtest.h>

#include <Eigen/Dense>
#include <cmath>
#include <complex>
#include <limits>

#include "support/errors.hpp"
#include "support/golden.hpp"
#include "support/random.hpp"

namespace {

using Generator = grape::Rank2Generator<double>;
using Vector = Eigen::VectorXd;
constexpr double kEps = std::numeric_limits<double>::epsilon();

static_assert(grape::Generator<grape::Rank2Generator<float>>);
static_assert(grape::Generator<grape::Rank2Generator<double, 4>>);

Vector random_vector(Random& random, Eigen::Index d) {
  Vector x(d);
  for (Eigen::Index i = 0; i < d; ++i) x[i] = random.uniform(-1, 1);
  return x;
}
Vector vector_of(const std::vector<double>& x) {
  return Eigen::Map<const Vector>(x.data(), static_cast<Eigen::Index>(x.size()));
}

// s to relative 8 epsilon, whatever the angle between a and b and their lengths; where s is
// subnormal, to its last bit.
TEST(Rank2Generator, GoldenSpeed) {
  int cases = 0;
  const auto check = [&cases](const Vector& a, const Vector& b, double want) {
    const double got = Generator(a, b).s();
    EXPECT_NEAR(got, want, 8 * kEps * want + std::numeric_limits<double>::denorm_min());
    EXPECT_NEAR(Generator(b, a).s(), want,
                8 * kEps * want + std::numeric_limits<double>::denorm_min());
    ++cases;
  };
  for (const std::string& name : golden::families("rank2")) {
    SCOPED_TRACE(name);
    const golden::Case file = golden::load(name);
    if (file.json().contains("cases")) {
      for (const auto& c : file.json().at("cases")) {
        SCOPED_TRACE(c.at("name").get<std::string>());
        check(vector_of(c.at("a").get<std::vector<double>>()),
              vector_of(c.at("b").get<std::vector<double>>()), c.at("s").get<double>());
      }
    } else {
      check(vector_of(file.inputs("a").data), vector_of(file.inputs("b").data),
            file.config<double>("s"));
    }
  }
  EXPECT_GE(cases, 100);
}

template <class S>
void check_basis() {
  using G = grape::Rank2Generator<S>;
  using V = typename G::Vector;
  const double eps = std::numeric_limits<S>::epsilon();
  Random random(301);
  for (int i = 0; i < 300; ++i) {
    const Eigen::Index d = random.integer(2, 40);
    const double k = (8 + static_cast<double>(d)) * eps;
    // b is nearly parallel to a, by any decade down to the last digits.
    const V a = random_vector(random, d).cast<S>();
    const V off = random_vector(random, d).cast<S>();
    const auto tilt = static_cast<S>(std::pow(10.0, random.uniform(-6, 1)));
    const V b = S(0.75) * a + tilt * off;
    const G l(a, b);
    EXPECT_NEAR(l.u().norm(), 1, k);
    EXPECT_NEAR(l.v().norm(), 1, k);
    EXPECT_NEAR(l.u().dot(l.v()), 0, k);
    EXPECT_GE(l.b_v(), 0);
    EXPECT_NEAR(l.s(), l.a_u() * l.b_v(), 4 * kEps * l.s());
    const V a_again = static_cast<S>(l.a_u()) * l.u();
    const V b_again = static_cast<S>(l.b_u()) * l.u() + static_cast<S>(l.b_v()) * l.v();
    EXPECT_LE((a_again - a).norm(), k * static_cast<double>(a.norm()));
    EXPECT_LE((b_again - b).norm(), k * static_cast<double>(b.norm()));
    EXPECT_NEAR(l.alpha(), a.squaredNorm(), k * l.alpha());
    EXPECT_NEAR(l.beta(), b.squaredNorm(), k * l.beta());
    EXPECT_NEAR(l.gamma(), a.dot(b), k * std::sqrt(l.alpha() * l.beta()));
  }
}
TEST(Rank2Generator, BasisIsOrthonormalAndSpansThePlane) {
  check_basis<float>();
  check_basis<double>();
}

TEST(Rank2Generator, BasisIsOrthonormalHoweverSmallTheAngle) {
  Random random(302);
  for (int e = 40; e <= 86; ++e) {
    const auto d = random.integer(3, 20);
    Eigen::VectorXd x = random_vector(random, d);
    for (double& entry : x) entry = std::round(entry * 0x1p20);  // so that 3 x and 5 x are exact
    Eigen::VectorXd a = 3 * x, b = 5 * x;
    a[0] = 0;
    b[0] = std::ldexp(b.norm(), -e);
    const grape::Rank2Generator<double> l(a, b);
    EXPECT_NEAR(l.u().dot(l.v()), 0, 1e-15) << e;
    EXPECT_NEAR(l.s(), a.norm() * b[0], 1e-14 * l.s()) << e;
    EXPECT_LE(grape::frame::orthonormality_error(l.plane_frame().frame(0)), 1e-14) << e;
  }
}

TEST(Rank2Generator, MatrixIsItsDefinitionAndSquaresToMinusSquaredSpeed) {
  Random random(302);
  for (int i = 0; i < 100; ++i) {
    const Eigen::Index d = random.integer(2, 12);
    const Vector a = random_vector(random, d), b = random_vector(random, d);
    const Vector x = random_vector(random, d);
    const Generator l(a, b);
    const Eigen::MatrixXd m = l.matrix();
    const double size = a.norm() * b.norm(), k = 32 * kEps;
    EXPECT_LE((m - (a * b.transpose() - b * a.transpose())).norm(), k * size);
    EXPECT_EQ((m + m.transpose()).norm(), 0);
    EXPECT_LE((l * x - m * x).norm(), k * size * x.norm());
    const Eigen::MatrixXd p = l.u() * l.u().transpose() + l.v() * l.v().transpose();
    EXPECT_LE((m * m + l.s() * l.s() * p).norm(), k * size * size);
    // Eigenvalues +- i s and zeros.
    Eigen::VectorXd imaginary = m.eigenvalues().imag();
    std::sort(imaginary.begin(), imaginary.end());
    const double bound = 8 * static_cast<double>(d) * kEps * size;
    EXPECT_NEAR(imaginary[0], -l.s(), bound);
    EXPECT_NEAR(imaginary[d - 1], l.s(), bound);
    for (Eigen::Index j = 1; j + 1 < d; ++j) EXPECT_NEAR(imaginary[j], 0, bound);
    EXPECT_LE(m.eigenvalues().real().cwiseAbs().maxCoeff(), bound);
  }
}

// [a b] M scales L by det M (section 2).
TEST(Rank2Generator, DependsOnTheOrientedPlaneAndSpeedAlone) {
  Random random(303);
  for (int i = 0; i < 100; ++i) {
    const Vector a = random_vector(random, 6), b = random_vector(random, 6);
    const double p = random.uniform(-1, 1), q = random.uniform(-1, 1), r = random.uniform(-1, 1),
                 t = random.uniform(-1, 1);
    const Generator l(a, b), m(p * a + r * b, q * a + t * b);
    EXPECT_LE((m.matrix() - (p * t - q * r) * l.matrix()).norm(),
              64 * kEps * (a.norm() + b.norm()) * (a.norm() + b.norm()));
  }
}

// Lengths that multiply to a speed in range, where squares of either are not.
TEST(Rank2Generator, ScalesNeitherOverflowNorUnderflow) {
  Random random(304);
  const Vector a = random_vector(random, 5), b = random_vector(random, 5);
  const double s = Generator(a, b).s();
  for (const int e : {-1000, -600, -200, 0, 200, 600, 1000}) {
    const Generator l(std::ldexp(1.0, e) * a, std::ldexp(1.0, -e) * b);
    EXPECT_EQ(l.s(), s) << e;
    EXPECT_EQ(l.angle(0.5), 0.5 * s) << e;
  }
  // A speed out of range still gives its angle.
  const Generator fast(std::ldexp(1.0, 900) * a, std::ldexp(1.0, 900) * b);
  EXPECT_TRUE(std::isinf(fast.s()));
  EXPECT_EQ(fast.angle(std::ldexp(1.0, -1000)), std::ldexp(s, 800));
  // Floats whose squares leave the range of float.
  const grape::Rank2Generator<float> wide(1e30f * a.cast<float>(), 1e-30f * b.cast<float>());
  EXPECT_NEAR(wide.s(), s, 16 * std::numeric_limits<float>::epsilon() * a.norm() * b.norm());
}

TEST(Rank2Generator, DegenerateVectorsHaveNoSpeed) {
  Random random(305);
  const Vector a = random_vector(random, 7), zero = Vector::Zero(7);
  for (const auto& [x, y] : {std::pair<Vector, Vector>{a, zero},
                             {zero, a},
                             {zero, zero},
                             {a, a},
                             {a, -2 * a},
                             {Vector(4 * a), a}}) {
    const Generator l(x, y);
    EXPECT_EQ(l.s(), 0);
    EXPECT_EQ(l.v().norm(), 0);
    EXPECT_EQ(l.matrix().norm(), 0);
  }
}

TEST(Rank2Generator, ConstraintTurnsByTheSquaredNorm) {
  Random random(306);
  for (const Eigen::Index d : {2, 4, 10}) {
    const Vector a = random_vector(random, d);
    const Generator l = Generator::with_constraint(a);
    EXPECT_NEAR(l.gamma(), 0, 4 * kEps * l.alpha());
    EXPECT_EQ(l.beta(), l.alpha());
    EXPECT_NEAR(l.s(), l.alpha(), 8 * kEps * l.alpha());
    EXPECT_EQ(l.b()[0], -a[1]);
    EXPECT_EQ(l.b()[1], a[0]);
  }
  Vector odd = random_vector(random, 5);
  EXPECT_TRUE(rejects([&] { Generator::with_constraint(odd); }, "a", "last entry", "even"));
  odd[4] = 0;
  EXPECT_NEAR(Generator::with_constraint(odd).s(), odd.squaredNorm(), 8 * kEps * odd.squaredNorm());
}

TEST(Rank2Generator, GaugeIsOrthonormalAndTheSameGenerator) {
  Random random(307);
  for (int i = 0; i < 50; ++i) {
    const Eigen::Index d = random.integer(2, 9);
    const Vector a = random_vector(random, d), b = random_vector(random, d);
    const auto [g, scale] = Generator::gauge(a, b);
    const double k = 16 * kEps;
    EXPECT_NEAR(g.s(), 1, k);
    EXPECT_NEAR(g.alpha(), 1, k);
    EXPECT_NEAR(g.beta(), 1, k);
    EXPECT_NEAR(g.gamma(), 0, k);
    EXPECT_LE((scale * g.matrix() - Generator(a, b).matrix()).norm(), k * a.norm() * b.norm());
  }
  const Vector a = random_vector(random, 3);
  EXPECT_TRUE(rejects([&] { Generator::gauge(a, 2 * a); }, "b", "parallel", "span a plane"));
}

TEST(Rank2Generator, RejectsWhatIsNoPlane) {
  const Vector a = Vector::Ones(4);
  Vector bad = a;
  bad[2] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(rejects([&] { Generator(a, Vector::Ones(3)); }, "b", "size 3", "4"));
  EXPECT_TRUE(
      rejects([] { Generator(Vector::Ones(1), Vector::Ones(1)); }, "a", "size 1", "d >= 2"));
  EXPECT_TRUE(rejects([] { Generator(Vector(0), Vector(0)); }, "a", "size 0", "d >= 2"));
  EXPECT_TRUE(rejects([&] { Generator(bad, a); }, "a[2]", "nan", "finite"));
  bad[2] = std::numeric_limits<double>::infinity();
  EXPECT_TRUE(rejects([&] { Generator(a, bad); }, "b[2]", "inf", "finite"));
  EXPECT_TRUE(rejects([&] { Generator(a, a) * Vector::Ones(5); }, "x", "size 5", "d = 4"));
}

}  // namespace
