// SPDX-License-Identifier: Apache-2.0
//
// A frame is learned. A hidden rotation turns vectors by their position, in planes of R^8 that are
// not coordinate planes; from pairs (x, y) and positions alone, gradient descent finds the planes.
// The frame is made of free parameters (Householder reflectors), so that no step leaves the
// orthonormal frames, and is folded into a projection at the end.

#include <algorithm>
#include <cmath>
#include <grape/grape.hpp>
#include <iostream>
#include <random>
#include <vector>

namespace {

using grape::FrameMatrix;
using grape::Index;
using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Planes = grape::LearnedPlanes<double>;
using Framed = grape::Encoder<Planes, grape::LinearPath>;

constexpr Index kDim = 8, kTokens = 64;
const std::vector<double> kSpeeds = {0.03, 0.01};  // radians a position, of two planes

FrameMatrix random_matrix(Index rows, Index cols, std::mt19937& engine) {
  std::normal_distribution<double> normal;
  return FrameMatrix::NullaryExpr(rows, cols, [&] { return normal(engine); });
}

/// x [tokens, dim], each turned by its position.
Matrix turned(const grape::RotationAction<double>& action, Matrix x) {
  grape::apply_rotation(action, grape::matrix_view(x, 1));
  return x;
}

grape::RotationAction<double> action_of(const FrameMatrix& frame) {
  const Framed encoder(Planes(frame, grape::Spectrum(kSpeeds)));
  return encoder.at(grape::Positions::range(0, kTokens));
}

/// Loss of the frame made of the reflectors, mean squares of y - G(n) x, and its gradient.
double loss_and_gradient(const FrameMatrix& reflectors, const Matrix& x, const Matrix& y,
                         FrameMatrix& d_reflectors) {
  const auto action = action_of(grape::frame::householder(reflectors));
  Matrix out = turned(action, x);
  Matrix d_out = 2.0 / static_cast<double>(kTokens) * (out - y);
  FrameMatrix d_frame = FrameMatrix::Zero(reflectors.rows(), reflectors.cols());
  grape::apply_rotation_frame_vjp(action, grape::matrix_view(out, 1), grape::matrix_view(d_out, 1),
                                  {d_frame.data(), static_cast<std::size_t>(d_frame.size())});
  d_reflectors = grape::frame::householder_vjp(reflectors, d_frame);
  return (out - y).squaredNorm() / static_cast<double>(kTokens);
}

}  // namespace

int main() {
  std::mt19937 engine(3);
  const Index columns = 2 * static_cast<Index>(kSpeeds.size());
  const FrameMatrix hidden = grape::frame::orthonormalized(random_matrix(kDim, columns, engine));
  const Matrix x = random_matrix(kTokens, kDim, engine);
  const Matrix y = turned(action_of(hidden), x);

  // Adam, from a random frame.
  constexpr int steps = 2000;
  FrameMatrix reflectors = random_matrix(kDim, columns, engine), gradient;
  FrameMatrix mean = FrameMatrix::Zero(kDim, columns), square = mean;
  double first = 0, loss = 0;
  for (int step = 1; step <= steps; ++step) {
    loss = loss_and_gradient(reflectors, x, y, gradient);
    if (step == 1) first = loss;
    if (step == 1 || step % (steps / 8) == 0) std::cout << "step " << step << ": " << loss << '\n';
    mean = 0.9 * mean + 0.1 * gradient;
    square = 0.99 * square + 0.01 * gradient.cwiseAbs2();
    const double rate = 0.05 * (1 - static_cast<double>(step) / steps);
    reflectors.array() -= rate * (mean.array() / (1 - std::pow(0.9, step))) /
                          ((square.array() / (1 - std::pow(0.99, step))).sqrt() + 1e-12);
  }
  const FrameMatrix frame = grape::frame::householder(reflectors);
  std::cout << "planes found, largest |sine| of an angle to the hidden ones:";
  for (Index m = 0; m < columns / 2; ++m) {
    const auto wanted = hidden.middleCols(2 * m, 2), got = frame.middleCols(2 * m, 2);
    const FrameMatrix off = got - wanted * (wanted.transpose() * got);
    std::cout << ' ' << off.norm();
  }

  // Inference: the frame goes into the projections (of two heads here), and plain RoPE remains.
  FrameMatrix w_q = FrameMatrix::Identity(kDim, kDim), w_k = w_q;
  const auto action = action_of(frame);
  const grape::RoPE<double> rope(
      grape::fold(Planes(frame, grape::Spectrum(kSpeeds)), grape::QkNorm::none, w_q, w_k));
  const auto plain = rope.at(grape::Positions::range(0, kTokens));
  const Matrix framed = turned(action, x) * turned(action, y).transpose();
  const Matrix folded =
      turned(plain, x * w_q.transpose()) * turned(plain, y * w_k.transpose()).transpose();
  const double difference = (framed - folded).cwiseAbs().maxCoeff();
  std::cout << "\nlogits after folding differ by " << difference << '\n';
  return loss < 1e-4 * first && difference < 1e-12 * static_cast<double>(kTokens) ? 0 : 1;
}
