// SPDX-License-Identifier: Apache-2.0
// The laws of every rotation, commuting or not, seen through apply_rotation: exponentials add,
// scores know offsets alone, norms stay, and eigenvalues are those of Lemma J.1 and J.2.

#include <gtest/gtest.h>

#include <Eigen/Eigenvalues>
#include <Eigen/LU>
#include <complex>
#include <limits>
#include <string>
#include <vector>

#include "grape/apply/rotation.hpp"
#include "grape/presets.hpp"
#include "support/matrices.hpp"
#include "support/pairings.hpp"
#include "support/random.hpp"
#include "support/reference.hpp"

namespace {

using grape::FrameMatrix;
using grape::Index;
using grape::Positions;
using grape::Spectrum;

constexpr double kEpsilon = std::numeric_limits<double>::epsilon();

// G(n) of each of `heads` heads: what apply_rotation makes of the basis vectors.
template <class E>
std::vector<FrameMatrix> elements(const E& encoder, Index heads, Index d, std::int64_t n) {
  const std::vector<std::int64_t> positions(static_cast<std::size_t>(d), n);
  std::vector<double> x(static_cast<std::size_t>(d * heads * d), 0.0);
  const auto view = grape::blhd(x.data(), 1, d, heads, d);
  for (Index i = 0; i < d; ++i) {
    for (Index h = 0; h < heads; ++h) view(0, i, h, i) = 1;
  }
  grape::apply_rotation(encoder, Positions::shared(positions), view);
  std::vector<FrameMatrix> out;
  for (Index h = 0; h < heads; ++h) {
    out.push_back(
        FrameMatrix::NullaryExpr(d, d, [&](Index i, Index j) { return view(0, j, h, i); }));
  }
  return out;
}

double off(const FrameMatrix& a, const FrameMatrix& b) { return (a - b).cwiseAbs().maxCoeff(); }

// The eigenvalues of G are those numbers, each as often as listed.
void expect_eigenvalues(const FrameMatrix& g, const std::vector<std::complex<double>>& wanted,
                        double bound) {
  const Eigen::VectorXcd got = g.eigenvalues();
  std::vector<std::complex<double>> left(got.begin(), got.end());
  ASSERT_EQ(left.size(), wanted.size());
  for (const auto& value : wanted) {
    const auto nearest = std::min_element(left.begin(), left.end(), [&](auto a, auto b) {
      return std::abs(a - value) < std::abs(b - value);
    });
    EXPECT_LE(std::abs(*nearest - value), bound);
    left.erase(nearest);
  }
}

template <class E>
void expect_laws(const E& encoder, const Spectrum& spectrum, Index d, const std::string& name) {
  SCOPED_TRACE(name);
  Random random(61);
  const Index heads = spectrum.sets();
  // A product of two elements, each of two sums of d products.
  const double bound = 32 * static_cast<double>(d) * kEpsilon;
  for (int trial = 0; trial < 6; ++trial) {
    const std::int64_t n = random.integer(-4000, 4000), m = random.integer(-4000, 4000);
    const auto gn = elements(encoder, heads, d, n), gm = elements(encoder, heads, d, m);
    const auto sum = elements(encoder, heads, d, n + m), back = elements(encoder, heads, d, -n);
    const auto offset = elements(encoder, heads, d, m - n);
    for (Index h = 0; h < heads; ++h) {
      const auto at = static_cast<std::size_t>(h);
      const FrameMatrix unit = FrameMatrix::Identity(d, d);
      EXPECT_LE(off(gn[at] * gm[at], sum[at]), bound);
      EXPECT_LE(off(gn[at].transpose() * gm[at], offset[at]), bound);  // the relative law
      EXPECT_LE(off(gn[at] * back[at], unit), bound);
      EXPECT_LE(off(gn[at].transpose() * gn[at], unit), bound);
      EXPECT_NEAR(gn[at].determinant(), 1, bound);
      std::vector<std::complex<double>> values;
      for (Index plane = 0; plane < spectrum.planes(); ++plane) {
        const reference::Rotation r = reference::turn(spectrum(h, plane), n);
        values.emplace_back(static_cast<double>(r.cos), static_cast<double>(r.sin));
        values.push_back(std::conj(values.back()));
      }
      values.resize(static_cast<std::size_t>(d), 1.0);
      expect_eigenvalues(gn[at], values, 4 * bound);
    }
  }
}

TEST(GroupLaw, OfCoordinatePlanes) {
  Random random(62);
  for_both_pairings([&]<grape::Pairing pairing>() {
    const Spectrum one(random.frequencies(3)), two = Spectrum::per_head(random.frequencies(8), 2);
    expect_laws(grape::RoPE<double, pairing>(one), one, 7, "shared, a rest");
    expect_laws(grape::RoPE<double, pairing>(two), two, 8, "by head");
  });
}

TEST(GroupLaw, OfLearnedFrames) {
  Random random(63);
  const auto matrix = [&](Index d, Index k) { return random_matrix(random, d, k); };
  const Spectrum one({0.7, 0.7, 0.01}), two = Spectrum::per_head(random.frequencies(4), 2);
  expect_laws(grape::FramedRoPE<double>(grape::frame::orthonormalized(matrix(8, 6)), one), one, 8,
              "two equal frequencies");
  expect_laws(grape::HouseholderRoPE<double>(std::vector{matrix(7, 4), matrix(7, 4)}, two), two, 7,
              "reflectors by head");
  expect_laws(grape::CayleyRoPE<double>(matrix(6, 6), one), one, 6, "the whole space");
}

TEST(GroupLaw, OfPlanesThatDoNotCommute) {
  Random random(64);
  using Planes = grape::OverlappingPlanes;
  for (const auto& [d, m] : {std::pair<Index, Index>{5, 1}, {8, 3}, {7, 5}, {2, 2}}) {
    const std::vector<Planes> sets{random_planes<Planes>(random, d, m),
                                   random_planes<Planes>(random, d, m)};
    const grape::CompactRoPE<double> compact(sets);
    expect_laws(compact, compact.generator().spectrum(), d, "d " + std::to_string(d));
  }
}

TEST(GroupLaw, OfOnePlane) {
  Random random(65);
  const Eigen::VectorXd a = random_matrix(random, 9, 1), b = random_matrix(random, 9, 1);
  const grape::Rank2RoPE<double> plane(a, b);
  expect_laws(plane, Spectrum({plane.generator().s()}), 9, "any two vectors");
  const grape::Rank2RoPE<double> parallel(a, Eigen::VectorXd(3 * a));
  expect_laws(parallel, Spectrum({0.0}), 9, "parallel vectors");
}

}  // namespace
