// SPDX-License-Identifier: Apache-2.0
#include "grape/apply/fold.hpp"

#include <gtest/gtest.h>

#include "grape/apply/rotation.hpp"
#include "grape/generator/compact_planes.hpp"
#include "grape/generator/learned_planes.hpp"
#include "grape/generator/rank2.hpp"
#include "grape/presets.hpp"
#include "support/errors.hpp"
#include "support/matrices.hpp"
#include "support/random.hpp"

namespace {

using grape::CompactPlanes;
using grape::Encoder;
using grape::FrameMatrix;
using grape::Index;
using grape::LearnedPlanes;
using grape::LinearPath;
using grape::OverlappingPlanes;
using grape::Pairing;
using grape::Positions;
using grape::QkNorm;
using grape::Spectrum;

template <class T>
using Matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

// Logits [heads, n, n] of tokens x [n, model] under the projections and the encoder.
template <class T, class E>
std::vector<double> logits(const E& encoder, const Matrix<T>& x, const Matrix<T>& w_q,
                           const Matrix<T>& w_k, Index d, bool normalise) {
  Matrix<T> q = x * w_q.transpose(), k = x * w_k.transpose();
  const Index n = x.rows(), heads = w_q.rows() / d, key_heads = w_k.rows() / d;
  if (normalise) {
    for (Matrix<T>* side : {&q, &k}) {
      for (Index i = 0; i < n; ++i) {
        for (Index c = 0; c < side->cols(); c += d) side->row(i).segment(c, d).normalize();
      }
    }
  }
  grape::apply_rotation(encoder, Positions::range(7, n), grape::matrix_view(q, heads),
                        grape::matrix_view(k, key_heads));
  std::vector<double> out;
  for (Index h = 0; h < heads; ++h) {
    const Index g = h * key_heads / heads;
    const Matrix<T> scores = q.middleCols(h * d, d) * k.middleCols(g * d, d).transpose();
    for (Index i = 0; i < n * n; ++i) out.push_back(static_cast<double>(scores.data()[i]));
  }
  return out;
}

template <Pairing pairing, class T, class G>
void expect_same_logits(const G& generator, Index heads, Index key_heads, QkNorm norm,
                        const std::string& name) {
  SCOPED_TRACE(name);
  Random random(61);
  const Index d = generator.plane_frame().dim(), model = 5, n = 9;
  const Matrix<T> x = random_matrix(random, n, model).cast<T>();
  Matrix<T> w_q = random_matrix(random, heads * d, model).cast<T>();
  Matrix<T> w_k = random_matrix(random, key_heads * d, model).cast<T>();
  const bool normalise = norm == QkNorm::rms;
  const auto want = logits(Encoder<G, LinearPath>(generator), x, w_q, w_k, d, normalise);
  const Matrix<T> before = w_q;
  const grape::RoPE<T, pairing> rope(grape::fold<pairing>(generator, norm, w_q, w_k));
  EXPECT_GT((w_q - before).norm(), 0.1);
  const auto got = logits(rope, x, w_q, w_k, d, normalise);
  // Vectors of length sqrt(d) model, products of d terms, each rounded a few times.
  const double bound = 64 * static_cast<double>(d * model * model) *
                       static_cast<double>(std::numeric_limits<T>::epsilon());
  double largest = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    ASSERT_NEAR(got[i], want[i], bound) << i;
    largest = std::max(largest, std::fabs(want[i]));
  }
  EXPECT_GT(largest, 0.3);
}

template <class T>
void expect_folds() {
  Random random(62);
  const auto frame = [&](Index d, Index k) {
    return grape::frame::householder(random_matrix(random, d, k));
  };
  const LearnedPlanes<T> learned(frame(8, 6), Spectrum(random.frequencies(3)));
  const LearnedPlanes<T> by_set(std::vector<FrameMatrix>{frame(6, 6), frame(6, 6)},
                                Spectrum::per_head(random.frequencies(6), 2, 1.2));
  const CompactPlanes<T> compact(random_planes<OverlappingPlanes>(random, 7, 2)),
      full(random_planes<OverlappingPlanes>(random, 5, 4));
  const auto both = [&]<Pairing pairing> {
    expect_same_logits<pairing, T>(learned, 2, 2, QkNorm::none, "learned");
    expect_same_logits<pairing, T>(learned, 2, 1, QkNorm::rms, "learned, RMS-normalised");
    expect_same_logits<pairing, T>(by_set, 4, 2, QkNorm::none, "a frame a set, attention factor");
    expect_same_logits<pairing, T>(compact, 3, 3, QkNorm::none, "compact");
    expect_same_logits<pairing, T>(full, 1, 1, QkNorm::none, "compact, odd whole space");
  };
  both.template operator()<Pairing::interleaved>();
  both.template operator()<Pairing::half_split>();
}

TEST(Fold, SameLogitsInDouble) { expect_folds<double>(); }
TEST(Fold, SameLogitsInFloat) { expect_folds<float>(); }

TEST(Fold, OfOnePlane) {
  Random random(63);
  const Eigen::VectorXd a = random_matrix(random, 6, 1), b = random_matrix(random, 6, 1);
  expect_same_logits<Pairing::interleaved, double>(grape::Rank2Generator<double>(a, b), 2, 2,
                                                   QkNorm::none, "rank 2");
}

// Half precision weights are rounded once; a column is a bias.
TEST(Fold, HalfAndBiases) {
  Random random(64);
  const LearnedPlanes<Eigen::half> planes(grape::frame::householder(random_matrix(random, 4, 2)),
                                          Spectrum({0.3}));
  Matrix<Eigen::half> w = random_matrix(random, 8, 3).cast<Eigen::half>(), same = w;
  Eigen::Matrix<Eigen::half, Eigen::Dynamic, 1> bias =
      random_matrix(random, 8, 1).cast<Eigen::half>();
  const FrameMatrix exact = w.cast<double>(), bias_exact = bias.cast<double>();
  grape::fold(planes, QkNorm::none, w, same);
  grape::fold(planes, QkNorm::none, bias, Eigen::Matrix<Eigen::half, Eigen::Dynamic, 1>(bias));
  const FrameMatrix basis = grape::frame::completed(planes.plane_frame().frame(0));
  for (Index h = 0; h < 2; ++h) {
    const FrameMatrix want = basis.transpose() * exact.middleRows(4 * h, 4);
    const FrameMatrix want_bias = basis.transpose() * bias_exact.middleRows(4 * h, 4);
    EXPECT_LE((w.cast<double>().middleRows(4 * h, 4) - want).cwiseAbs().maxCoeff(), 4 * 0x1p-11);
    EXPECT_LE((bias.cast<double>().middleRows(4 * h, 4) - want_bias).cwiseAbs().maxCoeff(),
              4 * 0x1p-11);
  }
}

TEST(Fold, RefusesWhatItWouldGetWrong) {
  Random random(65);
  const LearnedPlanes<float> planes(
      std::vector<FrameMatrix>{FrameMatrix::Identity(4, 2), FrameMatrix::Identity(4, 2)},
      Spectrum({0.3}));
  Matrix<float> good = Matrix<float>::Ones(8, 3), odd = Matrix<float>::Ones(12, 3),
                ragged = Matrix<float>::Ones(9, 3);
  EXPECT_TRUE(rejects([&] { grape::fold(planes, QkNorm::per_channel_gain, good, good); }, "norm",
                      "per-channel gain", "turns the head's basis"));
  EXPECT_TRUE(rejects([&] { grape::fold(planes, QkNorm::none, good, ragged); }, "w_k rows", "9",
                      "heads x 4"));
  EXPECT_TRUE(rejects([&] { grape::fold(planes, QkNorm::none, odd, good); }, "w_q", "3 heads",
                      "2 parameter sets"));
  EXPECT_TRUE(
      rejects([&] { grape::fold(planes, QkNorm::none, good, good); }, "w_k", "w_q", "its own"));
  EXPECT_EQ(good, Matrix<float>::Ones(8, 3));
  // Parts of one fused projection share an address range, and no element.
  Matrix<float> fused = Matrix<float>::Ones(16, 3);
  EXPECT_NO_THROW(grape::fold(planes, QkNorm::none, fused.topRows(8), fused.bottomRows(8)));
  EXPECT_TRUE(
      rejects([&] { grape::fold(planes, QkNorm::none, fused.topRows(8), fused.middleRows(4, 8)); },
              "w_k", "w_q", "its own"));
}

}  // namespace
