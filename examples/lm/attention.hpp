// SPDX-License-Identifier: Apache-2.0
// Multi-head causal attention, forward, backward and with a key/value cache: grape::attend and
// grape::attend_vjp between the layers that project.
#pragma once

#include <grape/grape.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "layers.hpp"
#include "position_encoding.hpp"

namespace lm {

template <class Scalar>
class Attention {
 public:
  Attention(ParameterLayout& layout, const std::string& name, const ModelShape& shape,
            double out_gain)
      : shape_(shape),
        qkv_(layout, name + ".qkv", shape.dim, 3 * shape.dim),
        out_(layout, name + ".out", shape.dim, shape.dim, out_gain),
        encodings_(make_encodings<Scalar>(shape, name, layout)),
        cache_(1, shape.heads, shape.head_dim(), shape.head_dim()) {}

  /// x [batch * length, dim]: `batch` whole sequences.
  const Matrix<Scalar>& forward(const Vector<Scalar>& parameters, const Matrix<Scalar>& x,
                                Index batch) {
    const AttentionInput<Scalar> input = encode(parameters, x, batch, 0);
    log_sum_.resize(static_cast<std::size_t>(x.rows() * shape_.heads));
    const Bias bias = summed_bias();
    grape::attend(input.q, input.k, input.v, view(mixed_, batch), options(bias));
    return out_.forward(parameters, mixed_);
  }

  /// x [count, dim]: the next tokens of one sequence, at positions start ... Keys are encoded once,
  /// when they arrive, and stay in the cache; start = 0 begins a new sequence.
  const Matrix<Scalar>& decode(const Vector<Scalar>& parameters, const Matrix<Scalar>& x,
                               Index start) {
    const AttentionInput<Scalar> input = encode(parameters, x, 1, start);
    if (start == 0) cache_.clear();
    cache_.append(input.k, input.v);
    log_sum_.clear();
    Bias bias = summed_bias();
    if (bias && bias->keys() > cache_.size()) {  // the window has left the first keys behind
      bias = grape::slice(*bias, {.query = 0,
                                  .queries = bias->queries(),
                                  .key = bias->keys() - cache_.size(),
                                  .keys = cache_.size()});
    }
    grape::attend(input.q, cache_, view(mixed_, 1), options(bias));
    if (shape_.window) cache_.keep_last(*shape_.window);
    return out_.forward(parameters, mixed_);
  }

  /// After forward().
  const Matrix<Scalar>& backward(const Vector<Scalar>& parameters, const Matrix<Scalar>& x,
                                 Index batch, const Matrix<Scalar>& d_y, Vector<Scalar>& gradient) {
    const Matrix<Scalar>& d_mixed = out_.backward(parameters, mixed_, d_y, gradient);
    d_qkv_.resize(x.rows(), 3 * shape_.dim);
    d_x_.setZero(x.rows(), x.cols());
    const AttentionInput<Scalar> input = input_of(x, batch, 0);
    const AttentionGradient<Scalar> d{d_x_, view(d_qkv_, batch, 0), view(d_qkv_, batch, 1),
                                      view(d_qkv_, batch, 2)};
    std::vector<grape::BiasGradients> d_parts;
    for (auto& encoding : encodings_) {
      if (encoding->bias() != nullptr) d_parts.push_back(encoding->bias_gradients());
    }
    const auto bias = summed_bias();
    grape::attend_vjp({input.q, input.k, input.v, view(mixed_, batch)}, view(d_mixed, batch),
                      {.q = d.d_q, .k = d.d_k, .v = d.d_v, .bias = {.parts = d_parts}},
                      options(bias));
    for (auto it = encodings_.rbegin(); it != encodings_.rend(); ++it) {
      (*it)->encode_vjp(parameters, input, d, gradient);
    }
    d_x_ += qkv_.backward(parameters, x, d_qkv_, gradient);
    return d_x_;
  }

 private:
  using Bias = std::optional<grape::BiasAction<Scalar>>;

  /// Columns part * dim ... of a matrix of tokens, as grape sees them: [batch, count, heads,
  /// head_dim] with strides, no copy.
  template <class M>
  auto view(M& tokens, Index batch, Index part = 0) const {
    const Index count = tokens.rows() / batch, stride = tokens.cols();
    return grape::TensorView(tokens.data() + part * shape_.dim,
                             {batch, count, shape_.heads, shape_.head_dim()},
                             {count * stride, stride, shape_.head_dim(), 1});
  }

  AttentionInput<Scalar> input_of(const Matrix<Scalar>& x, Index batch, Index start) {
    Matrix<Scalar>& qkv = qkv_.output();
    return {batch,
            start,
            x.rows() / batch,
            x,
            view(qkv, batch, 0),
            view(qkv, batch, 1),
            view(qkv, batch, 2)};
  }

  /// Queries, keys and values of x, as the encodings rewrite them.
  AttentionInput<Scalar> encode(const Vector<Scalar>& parameters, const Matrix<Scalar>& x,
                                Index batch, Index start) {
    qkv_.forward(parameters, x);
    const AttentionInput<Scalar> input = input_of(x, batch, start);
    for (auto& encoding : encodings_) encoding->encode(parameters, input);
    mixed_.resize(x.rows(), shape_.dim);
    return input;
  }

  /// Of all encodings that have a bias, if any has.
  Bias summed_bias() const {
    std::vector<grape::BiasAction<Scalar>> parts;
    for (const auto& encoding : encodings_) {
      if (encoding->bias() != nullptr) parts.push_back(*encoding->bias());
    }
    if (parts.empty()) return {};
    return grape::sum(std::span<const grape::BiasAction<Scalar>>(parts));
  }

  grape::AttendOptions<Scalar> options(const Bias& bias) {
    return {.bias = bias ? &*bias : nullptr,
            .causal = true,
            .window = shape_.window,
            .log_sum = log_sum_};
  }

  ModelShape shape_;
  Linear<Scalar> qkv_, out_;
  PositionEncodings<Scalar> encodings_;
  Matrix<Scalar> mixed_, d_qkv_, d_x_;
  std::vector<Scalar> log_sum_;  // of the scores' exponentials, [batch, heads, length]
  grape::KeyValueCache<Scalar> cache_;
};

}  // namespace lm
