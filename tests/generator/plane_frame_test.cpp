// SPDX-License-Identifier: Apache-2.0
#include "grape/generator/plane_frame.hpp"

#include <gtest/gtest.h>

#include "grape/generator/canonical_planes.hpp"
#include "grape/generator/compact_planes.hpp"
#include "grape/generator/learned_planes.hpp"
#include "grape/generator/parameterized_planes.hpp"
#include "grape/generator/rank2.hpp"
#include "support/errors.hpp"
#include "support/matrices.hpp"
#include "support/random.hpp"

namespace {

using grape::CompactPlanes;
using grape::FrameMatrix;
using grape::Index;
using grape::LearnedPlanes;
using grape::OverlappingPlanes;
using grape::Spectrum;
using Frames = std::vector<FrameMatrix>;

constexpr double kEpsilon = std::numeric_limits<double>::epsilon();

static_assert(grape::FrameGenerator<LearnedPlanes<float>>);
static_assert(grape::FrameGenerator<CompactPlanes<Eigen::bfloat16>>);
static_assert(
    grape::FrameGenerator<grape::ParameterizedPlanes<Eigen::half, grape::HouseholderChart>>);
static_assert(grape::FrameGenerator<grape::Rank2Generator<double>>);
static_assert(grape::FrameGenerator<grape::Rank2Generator<float, 8>>);
static_assert(!grape::FrameGenerator<grape::CanonicalPlanes<float>>);

FrameMatrix dense(const OverlappingPlanes& p) {
  FrameMatrix out = FrameMatrix::Zero(p.a.rows(), p.a.rows());
  for (Index i = 0; i < p.a.cols(); ++i) {
    const FrameMatrix outer = p.a.col(i) * p.b.col(i).transpose();
    out += p.theta[i] * (outer - outer.transpose());
  }
  return out;
}

// The frame's generator is the sum of the planes, its columns are orthonormal and span all of them.
void expect_compresses(const OverlappingPlanes& p, const std::string& what) {
  SCOPED_TRACE(what);
  const CompactPlanes<double> compact(p);
  const auto& frame = compact.plane_frame();
  const Index d = p.a.rows(), m = p.a.cols();
  EXPECT_EQ(frame.columns(), std::min(2 * m, d));
  EXPECT_EQ(frame.spectrum().planes(), std::min(2 * m, d) / 2);
  const FrameMatrix& f = frame.frame(0);
  const double rounding = 32 * static_cast<double>(d + 2 * m) * kEpsilon;
  EXPECT_LE(grape::frame::orthonormality_error(f), rounding);
  double scale = 0;
  for (Index i = 0; i < m; ++i) {
    scale += std::fabs(p.theta[i]) * p.a.col(i).stableNorm() * p.b.col(i).stableNorm();
    for (const FrameMatrix* side : {&p.a, &p.b}) {
      const Eigen::VectorXd x = side->col(i);
      EXPECT_LE((x - f * (f.transpose() * x)).stableNorm(), rounding * x.stableNorm());
    }
  }
  EXPECT_LE((frame.matrix() - dense(p)).cwiseAbs().maxCoeff(), rounding * scale);
}

TEST(CompactPlanes, EqualTheSumOfTheirPlanes) {
  Random random(21);
  for (const auto& [d, m] : {std::pair<Index, Index>{2, 1},
                             {8, 1},
                             {8, 3},
                             {8, 4},
                             {7, 3},
                             {7, 4},
                             {5, 9},
                             {3, 2},
                             {32, 8}}) {
    expect_compresses(random_planes<OverlappingPlanes>(random, d, m), "d " + std::to_string(d));
  }
}

TEST(CompactPlanes, DegeneratePlanes) {
  Random random(22);
  OverlappingPlanes p = random_planes<OverlappingPlanes>(random, 9, 4);
  const OverlappingPlanes fresh = p;
  p.a.col(1) = p.a.col(0);
  p.b.col(1) = p.b.col(0);
  expect_compresses(p, "twice the same plane");
  p = fresh;
  p.a.col(2) = 3 * p.b.col(2);
  expect_compresses(p, "parallel vectors");
  p.a.setZero();
  expect_compresses(p, "only zeros in a");
  p = fresh;
  p.theta.setZero();
  expect_compresses(p, "speeds of zero");
  p = fresh;
  p.b.col(0).setZero();
  p.a.col(3).setZero();
  p.b.col(3).setZero();
  expect_compresses(p, "a plane of zeros");
  p = fresh;
  for (Index i = 0; i < 4; ++i) {  // orthogonal planes of one speed
    p.a.col(i) = Eigen::VectorXd::Unit(9, 2 * i);
    p.b.col(i) = Eigen::VectorXd::Unit(9, 2 * i + 1);
  }
  p.theta.setConstant(0.5);
  expect_compresses(p, "equal frequencies");
  p = fresh;
  p.a.col(0) *= 1e180;
  p.b.col(0) *= 1e-180;
  p.a.col(1) *= 1e-150;
  p.theta[1] *= 1e150;
  expect_compresses(p, "unbalanced vectors");
}

// What cancels to rounding stands still, so that far positions do not turn it.
TEST(CompactPlanes, RoundingDoesNotTurn) {
  Random random(23);
  OverlappingPlanes p = random_planes<OverlappingPlanes>(random, 8, 2);
  p.a.col(0) = 3 * p.b.col(0);
  p.theta[1] = 0;
  const CompactPlanes<double> compact(p);
  for (const double theta : compact.spectrum().frequencies()) EXPECT_EQ(theta, 0);
}

TEST(CompactPlanes, RefuseWhatTheyCannotUse) {
  Random random(24);
  const OverlappingPlanes good = random_planes<OverlappingPlanes>(random, 6, 2);
  const auto refused = [&](auto&& spoil, const char* field, const char* got, const char* wanted) {
    OverlappingPlanes p = good;
    spoil(p);
    EXPECT_TRUE(rejects([&] { CompactPlanes<double>({good, p}); }, field, got, wanted));
  };
  refused([](auto& p) { p.a.resize(1, 2); }, "planes[1].a", "1 x 2", "d >= 2");
  refused([](auto& p) { p.a.resize(6, 0); }, "planes[1].a", "6 x 0", "m >= 1");
  refused([](auto& p) { p.a = FrameMatrix::Zero(5, 2); }, "planes[1].a", "5 x 2", "6 x 2");
  refused([](auto& p) { p.b = FrameMatrix::Zero(6, 3); }, "planes[1].b", "6 x 3", "6 x 2");
  refused([](auto& p) { p.theta = Eigen::VectorXd::Zero(3); }, "planes[1].theta", "3", "each of");
  refused([](auto& p) { p.a(1, 0) = NAN; }, "planes[1].a[1]", "nan", "finite");
  refused([](auto& p) { p.b(0, 1) = INFINITY; }, "planes[1].b[6]", "inf", "finite");
  refused([](auto& p) { p.theta[1] = NAN; }, "planes[1].theta[1]", "nan", "finite");
  refused([](auto& p) { p.theta[0] = 1e300; }, "planes[1].theta[0]", "e+300", "2^62");
  EXPECT_TRUE(rejects([] { CompactPlanes<double>(std::vector<OverlappingPlanes>{}); }, "planes",
                      "empty", "one a set"));
  const CompactPlanes<double> compact(good);
  const std::vector<double> d_planes(24);
  EXPECT_TRUE(
      rejects([&] { compact.vjp(std::span(d_planes).first(23)); }, "d_planes", "23", "4 x 6"));
  EXPECT_TRUE(rejects([&] { compact.vjp(d_planes, 1); }, "set", "1", "[0, 1)"));
}

TEST(LearnedPlanes, SharedAndPerSetFramesAndFrequencies) {
  Random random(25);
  const FrameMatrix f = grape::frame::householder(random_matrix(random, 7, 4));
  const FrameMatrix g = grape::frame::householder(random_matrix(random, 7, 4));
  const Spectrum one(random.frequencies(2)), two = Spectrum::per_head(random.frequencies(4), 2);
  const LearnedPlanes<float> shared(f, one), frames(Frames{f, g}, one), frequencies(f, two),
      both(Frames{f, g}, two);
  EXPECT_EQ(shared.plane_frame().sets(), 1);
  for (const auto* planes : {&frames, &frequencies, &both}) {
    const auto& frame = planes->plane_frame();
    ASSERT_EQ(frame.sets(), 2);
    ASSERT_EQ(frame.spectrum().sets(), 2);
    ASSERT_EQ(frame.rows()->size(), 2u * 4 * 7);
    for (Index set = 0; set < 2; ++set) {
      const FrameMatrix& want = planes == &frequencies || set == 0 ? f : g;
      for (Index c = 0; c < 4; ++c) {
        for (Index i = 0; i < 7; ++i) {
          ASSERT_EQ((*frame.rows())[static_cast<std::size_t>((set * 4 + c) * 7 + i)],
                    static_cast<float>(want(i, c)));
        }
      }
      for (Index m = 0; m < 2; ++m) {
        EXPECT_EQ(frame.spectrum()(set, m),
                  (planes == &frames ? one : two)(planes == &frames ? 0 : set, m));
      }
    }
  }
}

TEST(LearnedPlanes, RefuseWhatIsNoFrame) {
  const Spectrum two({1.0, 0.5});
  FrameMatrix f = FrameMatrix::Identity(6, 4);
  EXPECT_TRUE(rejects([&] { LearnedPlanes<float>(FrameMatrix::Identity(6, 6), two); }, "frame",
                      "6 columns", "2 frequencies"));
  EXPECT_TRUE(rejects([&] { LearnedPlanes<float>(FrameMatrix::Identity(6, 2), two); }, "frame",
                      "2 columns", "2 frequencies"));
  EXPECT_TRUE(rejects([&] { LearnedPlanes<float>(FrameMatrix::Identity(3, 4), two); }, "frame",
                      "3 x 4", "k <= d"));
  EXPECT_TRUE(
      rejects([&] { LearnedPlanes<float>(Frames{}, two); }, "frames", "empty", "one a set"));
  EXPECT_TRUE(rejects(
      [&] {
        LearnedPlanes<float>(Frames{f, FrameMatrix::Identity(5, 4)}, two);
      },
      "frames[1]", "5 x 4", "6 x 4"));
  EXPECT_TRUE(rejects(
      [&] {
        LearnedPlanes<float>(Frames{f, f}, Spectrum::per_head({1, 2, 3, 4, 5, 6}, 3));
      },
      "frames", "2 frames", "3 sets"));
  f(0, 0) = 1 + 1e-5;
  EXPECT_TRUE(rejects([&] { LearnedPlanes<float>(f, two); }, "frame", "2.0", "orthonormal"));
  EXPECT_NO_THROW(LearnedPlanes<float>(f, two, 1e-4));
  f(0, 0) = NAN;
  EXPECT_TRUE(rejects([&] { LearnedPlanes<float>(f, two); }, "frame(0, 0)", "nan", "finite"));
}

TEST(ParameterizedPlanes, AreTheFramesOfTheirParameters) {
  Random random(27);
  const FrameMatrix p = random_matrix(random, 6, 4), q = random_matrix(random, 6, 4);
  const Spectrum two({1.0, 0.5}, 1.25);
  const grape::ParameterizedPlanes<double, grape::CayleyChart> planes(Frames{p, q}, two);
  EXPECT_EQ(planes.plane_frame().frame(1), grape::frame::cayley(q));
  EXPECT_EQ(planes.parameters(1), q);
  EXPECT_EQ(planes.spectrum().attention_factor(), 1.25);
  EXPECT_EQ(planes.unscaled().spectrum().attention_factor(), 1);
  EXPECT_EQ(planes.unscaled().plane_frame().frame(1), planes.plane_frame().frame(1));
  const std::vector<double> d_frame = random.uniforms(24, -1, 1);
  const Eigen::Map<const FrameMatrix> d(d_frame.data(), 6, 4);
  EXPECT_EQ(planes.vjp(d_frame, 1), grape::frame::cayley_vjp(q, d));
  EXPECT_TRUE(rejects([&] { planes.vjp(d_frame, 2); }, "set", "2", "[0, 2)"));
  EXPECT_TRUE(rejects([&] { planes.vjp(std::span(d_frame).first(20)); }, "d_frame", "20", "4 x 6"));
  using Householder = grape::ParameterizedPlanes<float, grape::HouseholderChart>;
  EXPECT_TRUE(
      rejects([&] { Householder(p.leftCols(2), two); }, "frame", "2 columns", "2 frequencies"));
  EXPECT_TRUE(
      rejects([&] { Householder(0 * p, two); }, "reflectors column 0", "zeros", "direction"));
  EXPECT_TRUE(rejects([&] { Householder(Frames{}, two); }, "frames", "empty", "one a set"));
}

// L(a, b), also where there is no plane.
TEST(Rank2PlaneFrame, IsTheGenerator) {
  Random random(26);
  using Vector = Eigen::VectorXd;
  const Vector a = random_matrix(random, 5, 1), b = random_matrix(random, 5, 1);
  const Vector zero = Vector::Zero(5);
  for (const auto& [x, y] : {std::pair<Vector, Vector>{a, b},
                             {b, a},
                             {a, 2 * a},
                             {a, zero},
                             {zero, b},
                             {zero, zero},
                             {Vector(1e100 * a), Vector(1e-100 * b)}}) {
    const grape::Rank2Generator<double> generator(x, y);
    const auto planes = generator.plane_frame();
    const double scale = x.norm() * y.norm();
    EXPECT_LE((planes.matrix() - generator.matrix()).cwiseAbs().maxCoeff(), 16 * kEpsilon * scale);
    EXPECT_LE(grape::frame::orthonormality_error(planes.frame(0)), 16 * kEpsilon);
    for (const Vector& v : {x, y}) {
      const FrameMatrix& f = planes.frame(0);
      EXPECT_LE((v - f * (f.transpose() * v)).norm(), 16 * kEpsilon * v.norm());
    }
  }
  const grape::Rank2Generator<double> huge(1e200 * a, 1e200 * b);
  EXPECT_TRUE(rejects([&] { huge.plane_frame(); }, "s", "radians", "2^63"));
}

}  // namespace
