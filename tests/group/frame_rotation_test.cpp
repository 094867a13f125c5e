// SPDX-License-Identifier: Apache-2.0
#include "grape/group/frame_rotation.hpp"

#include <gtest/gtest.h>

#include <Eigen/Eigenvalues>

#include <unsupported/Eigen/MatrixFunctions>

#include "grape/generator/compact_planes.hpp"
#include "grape/generator/learned_planes.hpp"
#include "grape/generator/rank2.hpp"
#include "support/errors.hpp"
#include "support/golden.hpp"
#include "support/matrices.hpp"
#include "support/random.hpp"

namespace {

using Eigen::VectorXd;
using grape::CompactPlanes;
using grape::FrameMatrix;
using grape::FrameRotation;
using grape::Index;
using grape::LearnedPlanes;
using grape::OverlappingPlanes;

constexpr double kEpsilon = std::numeric_limits<double>::epsilon();

CompactPlanes<double> random_compact(Random& random, Index d, Index m) {
  return CompactPlanes<double>(OverlappingPlanes{
      random_matrix(random, d, m), random_matrix(random, d, m), random_matrix(random, m, 1)});
}

double distance(const FrameMatrix& a, const FrameMatrix& b) {
  return (a - b).cwiseAbs().maxCoeff();
}

// The laws of section 1 for planes that commute and for planes that do not; an error of the angle
// (n theta to a few epsilon of it in the reference) or of a product of d terms.
template <class G>
void expect_laws(const G& generator, const std::string& name) {
  SCOPED_TRACE(name);
  const auto& planes = generator.plane_frame();
  const Index d = planes.dim();
  const double rounding = 32 * static_cast<double>(d) * kEpsilon;
  const FrameMatrix one = FrameMatrix::Identity(d, d);
  const auto at = [&](std::int64_t n) { return FrameRotation::exp(generator, n); };
  for (const std::int64_t n : {0, 1, -3, 100003}) {
    const FrameMatrix g = at(n).matrix();
    EXPECT_LE(distance(g.transpose() * g, one), rounding);
    EXPECT_NEAR(g.determinant(), 1, rounding);
    EXPECT_LE(distance(at(-n).matrix(), g.transpose()), rounding);
    EXPECT_LE(distance(at(n).inverse().matrix(), g.transpose()), rounding);
    for (const std::int64_t l : {2, -7}) {
      EXPECT_LE(distance(g * at(l).matrix(), at(n + l).matrix()), rounding);
      EXPECT_LE(distance((at(n) * at(l)).matrix(), at(n + l).matrix()), rounding);
      EXPECT_LE(distance(g.transpose() * at(l).matrix(), at(l - n).matrix()), rounding);
    }
    Random random(31);
    const VectorXd x = random_matrix(random, d, 1);
    EXPECT_LE(distance(at(n) * x, g * x), rounding);
    EXPECT_LE(distance(at(n).inverse_times(x), g.transpose() * x), rounding);
    EXPECT_NEAR((at(n) * x).norm(), x.norm(), rounding);
  }
  const FrameMatrix l = planes.matrix();
  for (const double x : {0.0, 1.0, -2.25, 3.0}) {
    const FrameMatrix want = (x * l).exp();
    EXPECT_LE(distance(FrameRotation::exp_real(generator, x).matrix(), want),
              rounding * (1 + std::fabs(x) * l.norm()));
  }
}

TEST(FrameRotation, LawsHoldForEveryGenerator) {
  Random random(32);
  expect_laws(LearnedPlanes<double>(grape::frame::householder(random_matrix(random, 9, 6)),
                                    grape::Spectrum(random.frequencies(3))),
              "learned");
  expect_laws(LearnedPlanes<double>(grape::frame::cayley(random_matrix(random, 8, 8)),
                                    grape::Spectrum({0.3, 0.3, 0, 0.1})),
              "learned, whole space, equal frequencies");
  expect_laws(random_compact(random, 8, 3), "compact");
  expect_laws(random_compact(random, 5, 4), "compact, more planes than directions");
  expect_laws(grape::Rank2Generator<double>(VectorXd(random_matrix(random, 6, 1)),
                                            VectorXd(random_matrix(random, 6, 1))),
              "rank 2");
}

// exp(n L) has the eigenvalues e^{+-i n theta} and 1 (appendix J.1, J.2).
TEST(FrameRotation, Spectrum) {
  Random random(33);
  for (const Index n : {1, 5}) {
    const auto compact = random_compact(random, 9, 3);
    const Eigen::VectorXcd got = FrameRotation::exp(compact, n).matrix().eigenvalues();
    std::vector<double> angles{0, 0, 0}, found;
    for (const double theta : compact.spectrum().frequencies()) {
      const double angle = std::remainder(static_cast<double>(n) * theta, 2 * M_PI);
      angles.push_back(angle);
      angles.push_back(-angle);
    }
    for (const auto& z : got) {
      EXPECT_NEAR(std::abs(z), 1, 1e-12);
      found.push_back(std::arg(z));
    }
    std::sort(angles.begin(), angles.end());
    std::sort(found.begin(), found.end());
    for (std::size_t i = 0; i < angles.size(); ++i) EXPECT_NEAR(found[i], angles[i], 1e-12);
  }
}

TEST(FrameRotation, CoordinatePlanesTurnAsRoPE) {
  VectorXd angles(1);
  angles << 0.5;
  const auto g = FrameRotation::from_angles(FrameMatrix::Identity(3, 2), angles);
  FrameMatrix want(3, 3);
  want << std::cos(0.5), -std::sin(0.5), 0, std::sin(0.5), std::cos(0.5), 0, 0, 0, 1;
  EXPECT_LE(distance(g.matrix(), want), 2 * kEpsilon);
}

// y and, where given, the whole G, of the mixtures in both golden sets.
TEST(FrameRotation, GoldenMixtures) {
  const auto file = golden::load("compact_planes");
  int count = 0;
  for (const auto& c : file.json().at("cases")) {
    const Index d = c.at("d"), m = c.at("m");
    const auto matrix = [&](const char* key, Index rows, Index cols) {
      const auto data = c.at(key).get<std::vector<double>>();
      return FrameMatrix(Eigen::Map<const FrameMatrix>(data.data(), rows, cols));
    };
    const CompactPlanes<double> compact(
        OverlappingPlanes{matrix("a", d, m), matrix("b", d, m), matrix("theta", m, 1)});
    const double n = c.at("n");
    const FrameMatrix got = FrameRotation::exp_real(compact, n) * VectorXd(matrix("x", d, 1));
    const double turns = 1 + std::fabs(n) * compact.plane_frame().matrix().norm();
    EXPECT_LE(distance(got, matrix("y", d, 1)), 64 * kEpsilon * turns * matrix("x", d, 1).norm());
    ++count;
  }
  EXPECT_EQ(count, 16);
  for (const std::string& name : golden::families("noncommuting")) {
    SCOPED_TRACE(name);
    const auto c = golden::load(name);
    const Index d = c.config<Index>("d"), m = c.config<Index>("planes");
    const auto matrix = [](const golden::Array& array, Index rows, Index cols) {
      return FrameMatrix(Eigen::Map<const FrameMatrix>(array.data.data(), rows, cols));
    };
    const CompactPlanes<double> compact(OverlappingPlanes{
        matrix(c.inputs("a"), d, m), matrix(c.inputs("b"), d, m), matrix(c.inputs("theta"), m, 1)});
    const double n = c.inputs("n").data[0];
    const double turns = 1 + std::fabs(n) * compact.plane_frame().matrix().norm();
    const auto g = FrameRotation::exp_real(compact, n);
    EXPECT_LE(distance(g.matrix(), matrix(c.outputs("G"), d, d).transpose()),
              64 * kEpsilon * turns);
    const VectorXd x = matrix(c.inputs("x"), d, 1);
    EXPECT_LE(distance(g * x, matrix(c.outputs("y"), d, 1)), 64 * kEpsilon * turns * x.norm());
  }
}

TEST(FrameRotation, RefusesWhatDoesNotFit) {
  const FrameMatrix f = FrameMatrix::Identity(4, 2);
  const auto g = FrameRotation::from_angles(f, VectorXd::Ones(1));
  EXPECT_TRUE(rejects([&] { FrameRotation::from_angles(2 * f, VectorXd::Ones(1)); }, "frame", "3",
                      "orthonormal"));
  EXPECT_TRUE(rejects([&] { FrameRotation::from_angles(f, VectorXd::Ones(2)); }, "angles", "2",
                      "2 columns"));
  EXPECT_TRUE(rejects([&] { FrameRotation::from_angles(f, VectorXd::Constant(1, NAN)); },
                      "angles[0]", "nan", "finite"));
  EXPECT_TRUE(rejects([&] { g* VectorXd::Ones(3); }, "x", "3", "d = 4"));
  EXPECT_TRUE(rejects([&] { g.inverse_times(VectorXd::Ones(5)); }, "x", "5", "d = 4"));
  const auto h = FrameRotation::from_angles(FrameMatrix::Identity(4, 4), VectorXd::Ones(2));
  EXPECT_TRUE(rejects([&] { g* h; }, "other", "another frame", "same frame"));
  const LearnedPlanes<double> planes(f, grape::Spectrum({1.0}));
  EXPECT_TRUE(rejects([&] { FrameRotation::exp(planes, 1, 1); }, "set", "1", "[0, 1)"));
  EXPECT_TRUE(rejects([&] { FrameRotation::exp_real(planes, NAN); }, "x", "nan", "2^63"));
}

}  // namespace
