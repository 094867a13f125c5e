// SPDX-License-Identifier: Apache-2.0
#include "grape/math/frame.hpp"

#include <gtest/gtest.h>

#include "support/errors.hpp"
#include "support/matrices.hpp"
#include "support/random.hpp"

namespace {

using grape::FrameMatrix;
using grape::Index;
using Make = FrameMatrix (*)(const FrameMatrix&);
using Vjp = FrameMatrix (*)(const FrameMatrix&, const FrameMatrix&);

constexpr double kEpsilon = std::numeric_limits<double>::epsilon();

struct Way {
  const char* name;
  Make make;
  Vjp vjp;
};
constexpr Way kWays[] = {
    {"householder", &grape::frame::householder, &grape::frame::householder_vjp},
    {"cayley", &grape::frame::cayley, &grape::frame::cayley_vjp},
    {"orthonormalized", &grape::frame::orthonormalized, &grape::frame::orthonormalized_vjp}};

// Every entry of F^T F is a sum of d products, each of k reflections.
double rounding(Index d, Index k) { return 8 * static_cast<double>(d + k) * kEpsilon; }

TEST(Frame, ColumnsAreOrthonormalWhateverTheParameters) {
  Random random(1);
  for (const Way& way : kWays) {
    SCOPED_TRACE(way.name);
    for (const auto& [d, k] : {std::pair<Index, Index>{1, 1}, {4, 2}, {7, 4}, {5, 5}, {33, 16}}) {
      for (const double size : {1e-8, 1.0, 1e3, 1e9}) {
        const FrameMatrix f = way.make(random_matrix(random, d, k, size));
        ASSERT_EQ(f.rows(), d);
        ASSERT_EQ(f.cols(), k);
        EXPECT_LE(grape::frame::orthonormality_error(f), rounding(d, k)) << d << " " << size;
      }
    }
  }
}

// Columns of any size make the frame of their directions: squares must not overflow or vanish.
TEST(Frame, ColumnsOfAnySizeMakeTheSameFrame) {
  Random random(3);
  const FrameMatrix at = random_matrix(random, 7, 3), w = random_matrix(random, 7, 3);
  const FrameMatrix f = grape::frame::orthonormalized(at);
  const FrameMatrix gradient = grape::frame::orthonormalized_vjp(at, w);
  for (const int e : {-1000, -560, 560, 1000}) {
    FrameMatrix scaled = at;
    scaled.col(1) *= std::ldexp(1.0, e);
    EXPECT_LE((grape::frame::orthonormalized(scaled) - f).norm(), 1e-14) << e;
    FrameMatrix d = grape::frame::orthonormalized_vjp(scaled, w);
    d.col(1) *= std::ldexp(1.0, e);
    EXPECT_LE((d - gradient).norm(), 1e-13 * gradient.norm()) << e;
  }
  FrameMatrix tiny(2, 1);
  tiny << 1e-170, 1e-170;
  EXPECT_NEAR(grape::frame::orthonormalized(tiny)(1, 0), std::sqrt(0.5), kEpsilon);
  EXPECT_LE((grape::frame::cayley(1e150 * at).topRows(3) + FrameMatrix::Identity(3, 3)).norm(),
            1e-14);
  EXPECT_TRUE(
      rejects([&] { grape::frame::cayley(1e160 * at); }, "parameters", "overflow", "10^150"));
}

// sum(w * F) along random directions. Differences of step h err by h^2 times a third derivative,
// which is of the order of 100 |w| here, and by rounding over h.
TEST(Frame, VjpsEqualDifferences) {
  Random random(2);
  for (const Way& way : kWays) {
    SCOPED_TRACE(way.name);
    for (const auto& [d, k] : {std::pair<Index, Index>{4, 2}, {7, 4}, {5, 5}, {9, 8}}) {
      FrameMatrix at = random_matrix(random, d, k);
      at.diagonal().array() += 1.5;  // clear of columns that nearly depend on each other
      const FrameMatrix w = random_matrix(random, d, k), gradient = way.vjp(at, w);
      for (int trial = 0; trial < 5; ++trial) {
        const FrameMatrix direction = random_matrix(random, d, k);
        constexpr double kStep = 1e-5;
        const auto loss = [&](double step) {
          return w.cwiseProduct(way.make(at + step * direction)).sum();
        };
        const double difference = (loss(kStep) - loss(-kStep)) / (2 * kStep);
        EXPECT_NEAR(gradient.cwiseProduct(direction).sum(), difference, 2e-8) << d << " " << k;
      }
    }
  }
}

TEST(Frame, StartsAtTheCoordinatePlanes) {
  const FrameMatrix e = FrameMatrix::Identity(6, 4);
  EXPECT_EQ(grape::frame::householder(e), -e);
  EXPECT_EQ(grape::frame::cayley(FrameMatrix::Zero(6, 4)), e);
  EXPECT_EQ(grape::frame::orthonormalized(e), e);
}

// F of Cayley's dense definition.
TEST(Frame, CayleyIsTheTransformOfTheWholeSkewMatrix) {
  Random random(3);
  for (const auto& [d, k] : {std::pair<Index, Index>{5, 2}, {6, 6}, {9, 4}}) {
    const FrameMatrix parameters = random_matrix(random, d, k, 2);
    FrameMatrix w = FrameMatrix::Zero(d, d);
    w.leftCols(k) = parameters.triangularView<Eigen::StrictlyLower>();
    w = (w - w.transpose()).eval();
    const FrameMatrix one = FrameMatrix::Identity(d, d);
    const FrameMatrix want = ((one - w / 2).inverse() * (one + w / 2)).leftCols(k);
    const FrameMatrix got = grape::frame::cayley(parameters);
    EXPECT_LE((got - want).cwiseAbs().maxCoeff(), 1e3 * kEpsilon);
    // The upper triangle is not read.
    FrameMatrix other = parameters;
    other(0, 0) = 7;
    other(0, 1) = -3;
    EXPECT_EQ(grape::frame::cayley(other), got);
  }
}

TEST(Frame, ReflectionsApplyWithoutTheFrame) {
  Random random(4);
  const FrameMatrix v = random_matrix(random, 11, 6), x = random_matrix(random, 6, 3);
  const FrameMatrix y = random_matrix(random, 11, 2), f = grape::frame::householder(v);
  EXPECT_LE((grape::frame::householder_times(v, x) - f * x).cwiseAbs().maxCoeff(), 64 * kEpsilon);
  EXPECT_LE(
      (grape::frame::householder_transposed_times(v, y) - f.transpose() * y).cwiseAbs().maxCoeff(),
      64 * kEpsilon);
  // Lengths of the vectors do not count, even where squares leave the range of double.
  FrameMatrix scaled = v;
  scaled.col(1) *= 1e250;
  scaled.col(2) *= 1e-250;
  EXPECT_LE((grape::frame::householder(scaled) - f).cwiseAbs().maxCoeff(), 64 * kEpsilon);
}

TEST(Frame, CompletesToABasis) {
  Random random(5);
  for (const Index k : {0, 1, 4, 9}) {
    const FrameMatrix f = grape::frame::householder(random_matrix(random, 9, k));
    const FrameMatrix basis = grape::frame::completed(f);
    ASSERT_EQ(basis.cols(), 9);
    EXPECT_EQ(basis.leftCols(k), f);
    EXPECT_LE(grape::frame::orthonormality_error(basis), rounding(9, k));
  }
}

TEST(Frame, RefusesWhatMakesNoFrame) {
  FrameMatrix v = FrameMatrix::Ones(3, 2);
  v(2, 1) = std::nan("");
  for (const Way& way : kWays) {
    SCOPED_TRACE(way.name);
    EXPECT_TRUE(rejects([&] { way.make(v); }, "(2, 1)", "nan", "finite"));
    EXPECT_TRUE(rejects([&] { way.make(FrameMatrix::Ones(2, 3)); }, "", "2 x 3", "k <= d"));
    EXPECT_TRUE(rejects([&] { way.vjp(FrameMatrix::Identity(3, 2), FrameMatrix::Ones(3, 1)); },
                        "d_frame", "3 x 1", "3 x 2"));
  }
  FrameMatrix zero = FrameMatrix::Identity(3, 2);
  zero.col(1).setZero();
  EXPECT_TRUE(
      rejects([&] { grape::frame::householder(zero); }, "column 1", "zeros", "a direction"));
  EXPECT_TRUE(rejects([&] { grape::frame::orthonormalized(FrameMatrix::Ones(3, 2)); },
                      "columns(.., 1)", "before it", "independent"));
  EXPECT_TRUE(rejects([&] { grape::frame::householder_times(FrameMatrix::Ones(3, 2), zero); }, "x",
                      "3 rows", "k = 2"));
  EXPECT_TRUE(
      rejects([&] { grape::frame::householder_transposed_times(FrameMatrix::Ones(4, 2), zero); },
              "x", "3 rows", "d = 4"));
}

}  // namespace
