// SPDX-License-Identifier: Apache-2.0
// Multi-head causal attention with a hand-written backward pass and a key/value cache.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>

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
        encodings_(make_encodings<Scalar>(shape, name, layout)) {}

  /// x [batch * length, dim]: `batch` whole sequences.
  const Matrix<Scalar>& forward(const Vector<Scalar>& parameters, const Matrix<Scalar>& x,
                                Index batch) {
    const Index length = x.rows() / batch;
    qkv_.forward(parameters, x);
    const AttentionInput<Scalar> input{batch,
                                       0,
                                       length,
                                       x,
                                       view(q_rows(length), batch),
                                       view(k_rows(length), batch),
                                       view(v_rows(length), batch)};
    for (auto& encoding : encodings_) encoding->encode(parameters, input);
    attend(batch, q_rows(length), k_rows(length), v_rows(length));
    return out_.forward(parameters, mixed_);
  }

  /// x [count, dim]: the next tokens of one sequence, at positions start ... Keys are encoded once,
  /// when they arrive, and stay in the cache; start = 0 begins a new sequence.
  const Matrix<Scalar>& decode(const Vector<Scalar>& parameters, const Matrix<Scalar>& x,
                               Index start) {
    const Index count = x.rows();
    const Index end = start + count;
    const Matrix<Scalar>& qkv = qkv_.forward(parameters, x);
    const AttentionInput<Scalar> input{
        1, start, count, x, view(q_rows(count), 1), view(k_rows(count), 1), view(v_rows(count), 1)};
    for (auto& encoding : encodings_) encoding->encode(parameters, input);
    if (cache_.rows() < end) {
      cache_.conservativeResize(std::max(end, 2 * cache_.rows()), 2 * shape_.dim);
    }
    cache_.middleRows(start, count) = qkv.rightCols(2 * shape_.dim);
    const Index stride = cache_.cols();
    attend(1, q_rows(count), Rows{cache_.data(), end, stride},
           Rows{cache_.data() + shape_.dim, end, stride});
    return out_.forward(parameters, mixed_);
  }

  /// After forward().
  const Matrix<Scalar>& backward(const Vector<Scalar>& parameters, const Matrix<Scalar>& x,
                                 Index batch, const Matrix<Scalar>& d_y, Vector<Scalar>& gradient) {
    const Index length = x.rows() / batch;
    const Matrix<Scalar>& d_mixed = out_.backward(parameters, mixed_, d_y, gradient);
    d_qkv_.setZero(x.rows(), 3 * shape_.dim);
    if (d_scores_.size() != scores_.size()) d_scores_.setZero(scores_.size());
    for (Index b = 0; b < batch; ++b) {
      for (Index h = 0; h < shape_.heads; ++h) softmax_vjp(b, h, length, d_mixed);
    }
    const auto d_scores = grape::bhqk(d_scores_.data(), batch, shape_.heads, length, length);
    for (auto& encoding : encodings_) encoding->add_bias_vjp(d_scores);
    for (Index b = 0; b < batch; ++b) {
      for (Index h = 0; h < shape_.heads; ++h) product_vjp(b, h, length);
    }
    Scalar* d = d_qkv_.data();
    const AttentionInput<Scalar> input{batch,
                                       0,
                                       length,
                                       x,
                                       view(q_rows(length), batch),
                                       view(k_rows(length), batch),
                                       view(v_rows(length), batch)};
    const Index stride = 3 * shape_.dim;
    d_x_.setZero(x.rows(), x.cols());
    const AttentionGradient<Scalar> d_input{d_x_, view({d, length, stride}, batch),
                                            view({d + shape_.dim, length, stride}, batch),
                                            view({d + 2 * shape_.dim, length, stride}, batch)};
    for (auto it = encodings_.rbegin(); it != encodings_.rend(); ++it) {
      (*it)->encode_vjp(parameters, input, d_input, gradient);
    }
    d_x_ += qkv_.backward(parameters, x, d_qkv_, gradient);
    return d_x_;
  }

 private:
  /// Rows of [heads, head_dim] numbers, `stride` apart; `count` of them belong to a sequence.
  struct Rows {
    Scalar* data;
    Index count;
    Index stride;
  };
  using Head = Eigen::Map<Matrix<Scalar>, Eigen::Unaligned, Eigen::OuterStride<>>;

  Rows q_rows(Index length) { return {qkv_.output().data(), length, 3 * shape_.dim}; }
  Rows k_rows(Index length) { return {q_rows(0).data + shape_.dim, length, 3 * shape_.dim}; }
  Rows v_rows(Index length) { return {q_rows(0).data + 2 * shape_.dim, length, 3 * shape_.dim}; }

  /// As grape sees them: [batch, length, heads, head_dim] with strides, no copy.
  grape::TensorView<Scalar> view(Rows rows, Index batch) const {
    return {rows.data,
            {batch, rows.count, shape_.heads, shape_.head_dim()},
            {rows.count * rows.stride, rows.stride, shape_.head_dim(), 1}};
  }

  /// As Eigen sees them: one head of one sequence, a matrix [count, head_dim].
  Head head(Rows rows, Index b, Index h) const {
    return Head(rows.data + b * rows.count * rows.stride + h * shape_.head_dim(), rows.count,
                shape_.head_dim(), Eigen::OuterStride<>(rows.stride));
  }
  Head mixed_head(Matrix<Scalar>& mixed, Index b, Index h, Index length) const {
    return head(Rows{mixed.data(), length, shape_.dim}, b, h);
  }
  MatrixMap<Scalar> tile(Vector<Scalar>& scores, Index b, Index h, Index q_len, Index k_len) {
    return {scores.data() + (b * shape_.heads + h) * q_len * k_len, q_len, k_len};
  }

  /// mixed = softmax(q k^T / sqrt(head_dim) + bias) v, query i seeing the keys 0 .. past + i.
  /// Blocks of queries stop at their last key, which saves half of a long sequence's work.
  void attend(Index batch, Rows q_rows, Rows k_rows, Rows v_rows) {
    const Index q_len = q_rows.count, k_len = k_rows.count, past = k_len - q_len;
    scores_.resize(batch * shape_.heads * q_len * k_len);
    mixed_.resize(batch * q_len, shape_.dim);
    for (Index b = 0; b < batch; ++b) {
      for (Index h = 0; h < shape_.heads; ++h) {
        const Head q = head(q_rows, b, h), k = head(k_rows, b, h);
        auto scores = tile(scores_, b, h, q_len, k_len);
        for (Index first = 0; first < q_len; first += kBlock) {
          const Index rows = std::min(kBlock, q_len - first), keys = past + first + rows;
          scores.block(first, 0, rows, keys).noalias() =
              scale() * q.middleRows(first, rows) * k.topRows(keys).transpose();
        }
      }
    }
    const auto all = grape::bhqk(scores_.data(), batch, shape_.heads, q_len, k_len);
    for (auto& encoding : encodings_) encoding->add_bias(all);
    for (Index b = 0; b < batch; ++b) {
      for (Index h = 0; h < shape_.heads; ++h) {
        const Head v = head(v_rows, b, h);
        Head mixed = mixed_head(mixed_, b, h, q_len);
        auto weights = tile(scores_, b, h, q_len, k_len);
        for (Index first = 0; first < q_len; first += kBlock) {
          const Index rows = std::min(kBlock, q_len - first), keys = past + first + rows;
          for (Index i = first; i < first + rows; ++i) {
            auto seen = weights.row(i).head(past + i + 1).array();
            seen = (seen - seen.maxCoeff()).exp();
            seen *= 1 / seen.sum();
            weights.row(i).segment(past + i + 1, keys - past - i - 1).setZero();
          }
          mixed.middleRows(first, rows).noalias() =
              weights.block(first, 0, rows, keys) * v.topRows(keys);
        }
      }
    }
  }

  /// From the gradient of mixed to those of the values and of the scores.
  void softmax_vjp(Index b, Index h, Index length, const Matrix<Scalar>& d_mixed_all) {
    const Head v = head(v_rows(length), b, h);
    Head d_v = d_head(2 * shape_.dim, b, h, length);
    const auto weights = tile(scores_, b, h, length, length);
    auto d_scores = tile(d_scores_, b, h, length, length);
    const auto d_mixed =
        d_mixed_all.block(b * length, h * shape_.head_dim(), length, shape_.head_dim());
    for (Index first = 0; first < length; first += kBlock) {
      const Index rows = std::min(kBlock, length - first), keys = first + rows;
      const auto w = weights.block(first, 0, rows, keys);
      auto d = d_scores.block(first, 0, rows, keys);
      d.noalias() = d_mixed.middleRows(first, rows) * v.topRows(keys).transpose();
      d_v.topRows(keys).noalias() += w.transpose() * d_mixed.middleRows(first, rows);
      for (Index i = 0; i < rows; ++i) {
        const Scalar mean = d.row(i).dot(w.row(i));
        d.row(i).array() = (d.row(i).array() - mean) * w.row(i).array();
      }
    }
  }

  /// From the gradient of the scores to those of queries and keys.
  void product_vjp(Index b, Index h, Index length) {
    const Head q = head(q_rows(length), b, h), k = head(k_rows(length), b, h);
    Head d_q = d_head(0, b, h, length), d_k = d_head(shape_.dim, b, h, length);
    const auto d_scores = tile(d_scores_, b, h, length, length);
    for (Index first = 0; first < length; first += kBlock) {
      const Index rows = std::min(kBlock, length - first), keys = first + rows;
      const auto d = d_scores.block(first, 0, rows, keys);
      d_q.middleRows(first, rows).noalias() += scale() * d * k.topRows(keys);
      d_k.topRows(keys).noalias() += scale() * d.transpose() * q.middleRows(first, rows);
    }
  }

  Head d_head(Index column, Index b, Index h, Index length) {
    return head(Rows{d_qkv_.data() + column, length, 3 * shape_.dim}, b, h);
  }
  Scalar scale() const { return 1 / std::sqrt(static_cast<Scalar>(shape_.head_dim())); }

  static constexpr Index kBlock = 64;
  ModelShape shape_;
  Linear<Scalar> qkv_, out_;
  PositionEncodings<Scalar> encodings_;
  Vector<Scalar> scores_, d_scores_;  // [batch, heads, q_len, k_len]; weights after the softmax
  Matrix<Scalar> mixed_, d_qkv_, d_x_;
  Matrix<Scalar> cache_;  // keys and values of the tokens so far, [tokens, 2 * dim]
};

}  // namespace lm
