// SPDX-License-Identifier: Apache-2.0
// A decoder-only language model over bytes: embedding, blocks of attention and SwiGLU on a residual
// stream with RMSNorm in front of each, and the embedding again as output layer.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "attention.hpp"
#include "layers.hpp"

namespace lm {

using Byte = std::uint8_t;
inline constexpr Index kBytes = 256;

/// x + attention(norm(x)), then the same with SwiGLU.
template <class Scalar>
class Block {
 public:
  Block(ParameterLayout& layout, const std::string& name, const ModelShape& shape)
      : norm1_(layout, name + ".norm1", shape.dim),
        attention_(layout, name + ".attention", shape, out_gain(shape)),
        norm2_(layout, name + ".norm2", shape.dim),
        mlp_(layout, name + ".mlp", shape.dim, hidden(shape.dim), out_gain(shape)) {}

  void forward(const Vector<Scalar>& parameters, Matrix<Scalar>& x, Index batch) {
    input1_ = &norm1_.forward(parameters, x);
    x += attention_.forward(parameters, *input1_, batch);
    feed_forward(parameters, x);
  }

  void decode(const Vector<Scalar>& parameters, Matrix<Scalar>& x, Index start) {
    x += attention_.decode(parameters, norm1_.forward(parameters, x), start);
    feed_forward(parameters, x);
  }

  /// d holds the gradient of the output and receives that of the input.
  void backward(const Vector<Scalar>& parameters, Matrix<Scalar>& d, Index batch,
                Vector<Scalar>& gradient) {
    d += norm2_.backward(parameters, mlp_.backward(parameters, *input2_, d, gradient), gradient);
    d += norm1_.backward(parameters, attention_.backward(parameters, *input1_, batch, d, gradient),
                         gradient);
  }

 private:
  void feed_forward(const Vector<Scalar>& parameters, Matrix<Scalar>& x) {
    input2_ = &norm2_.forward(parameters, x);
    x += mlp_.forward(parameters, *input2_);
  }
  /// 8/3 of dim, as three matrices take the place of two, up to a multiple of a vector register.
  static Index hidden(Index dim) { return (8 * dim / 3 + 15) / 16 * 16; }
  /// Keeps the residual stream's variance at the start independent of depth.
  static double out_gain(const ModelShape& shape) {
    return 1 / std::sqrt(2 * static_cast<double>(shape.layers));
  }

  RmsNorm<Scalar> norm1_;
  Attention<Scalar> attention_;
  RmsNorm<Scalar> norm2_;
  SwiGlu<Scalar> mlp_;
  const Matrix<Scalar>*input1_ = nullptr, *input2_ = nullptr;  // outputs that the norms keep
};

/// Holds activations and knows where its parameters lie; the parameters are the caller's. So each
/// thread has a Model, and all share one parameter vector.
template <class Scalar>
class Model {
 public:
  explicit Model(const ModelShape& shape)
      : embedding_(layout_.add("embedding", kBytes, shape.dim, {0, kEmbeddingDeviation}, true)),
        norm_(layout_, "norm", shape.dim) {
    blocks_.reserve(static_cast<std::size_t>(shape.layers));
    for (Index i = 0; i < shape.layers; ++i) {
      blocks_.emplace_back(layout_, "block" + std::to_string(i), shape);
    }
  }

  // Blocks point into themselves.
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  const ParameterLayout& layout() const { return layout_; }

  /// windows [batch, length + 1] bytes; returns -log p of the bytes 1 .. length of each window
  /// given those before, in nats, [batch * length].
  const Vector<Scalar>& losses(const Vector<Scalar>& parameters, std::span<const Byte> windows,
                               Index batch) {
    const Index length = static_cast<Index>(windows.size()) / batch - 1;
    batch_ = batch;
    inputs_.resize(static_cast<std::size_t>(batch * length));
    targets_.resize(inputs_.size());
    for (Index i = 0; i < batch * length; ++i) {
      const auto from = static_cast<std::size_t>(i + i / length);
      inputs_[static_cast<std::size_t>(i)] = windows[from];
      targets_[static_cast<std::size_t>(i)] = windows[from + 1];
    }
    embed(parameters, inputs_);
    for (auto& block : blocks_) block.forward(parameters, x_, batch);
    readout(parameters);
    losses_.resize(batch * length);
    for (Index i = 0; i < losses_.size(); ++i) {
      auto p = logits_.row(i).array();
      const Scalar target = p(targets_[static_cast<std::size_t>(i)]);
      const Scalar largest = p.maxCoeff();
      p = (p - largest).exp();
      const Scalar sum = p.sum();
      losses_(i) = std::log(sum) + largest - target;
      p *= 1 / sum;
    }
    return losses_;
  }

  /// After losses(): adds the gradient of weight * (their sum).
  void backward(const Vector<Scalar>& parameters, Scalar weight, Vector<Scalar>& gradient) {
    Matrix<Scalar>& d_logits = logits_;  // softmax - one-hot
    for (Index i = 0; i < d_logits.rows(); ++i) {
      d_logits(i, targets_[static_cast<std::size_t>(i)]) -= 1;
    }
    d_logits *= weight;
    auto d_embedding = embedding_.in(gradient);
    d_embedding.noalias() += d_logits.transpose() * *last_;
    d_.noalias() = d_logits * embedding_.in(parameters);
    d_ = norm_.backward(parameters, d_, gradient);
    for (auto it = blocks_.rbegin(); it != blocks_.rend(); ++it) {
      it->backward(parameters, d_, batch_, gradient);
    }
    for (Index i = 0; i < d_.rows(); ++i) {
      d_embedding.row(inputs_[static_cast<std::size_t>(i)]) += kEmbeddingScale * d_.row(i);
    }
  }

  /// The logits [count, 256] that follow each of the next bytes of a sequence. Keys and values of
  /// the bytes before come from the cache; start = 0 begins a new sequence.
  const Matrix<Scalar>& decode(const Vector<Scalar>& parameters, std::span<const Byte> next,
                               Index start) {
    embed(parameters, next);
    for (auto& block : blocks_) block.decode(parameters, x_, start);
    readout(parameters);
    return logits_;
  }

 private:
  void embed(const Vector<Scalar>& parameters, std::span<const Byte> bytes) {
    const auto embedding = embedding_.in(parameters);
    x_.resize(static_cast<Index>(bytes.size()), embedding.cols());
    for (Index i = 0; i < x_.rows(); ++i) {
      x_.row(i) = kEmbeddingScale * embedding.row(bytes[static_cast<std::size_t>(i)]);
    }
  }
  void readout(const Vector<Scalar>& parameters) {
    last_ = &norm_.forward(parameters, x_);
    logits_.noalias() = *last_ * embedding_.in(parameters).transpose();
  }

  /// Small as an output layer, so that the first predictions are nearly uniform; as an input it is
  /// scaled back to a standard deviation of 1.
  static constexpr double kEmbeddingDeviation = 0.02;
  static constexpr Scalar kEmbeddingScale = static_cast<Scalar>(50);

  ParameterLayout layout_;
  ParameterBlock embedding_;
  RmsNorm<Scalar> norm_;
  std::vector<Block<Scalar>> blocks_;
  Index batch_ = 0;
  std::vector<Byte> inputs_, targets_;
  Vector<Scalar> losses_;
  Matrix<Scalar> x_, logits_, d_;
  const Matrix<Scalar>* last_ = nullptr;
};

}  // namespace lm
