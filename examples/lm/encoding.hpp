// SPDX-License-Identifier: Apache-2.0
// What a position encoding is to this model. It acts on a layer of attention in two ways: it may
// rewrite queries, keys and values, and it may have a bias for the scores. It may own parameters
// (constructor), read the layer's input for gates, and keep what its gradient or the next cached
// token needs in its members: each layer of each thread has its own object.
#pragma once

#include <grape/core/view.hpp>
#include <grape/encoder/bias_action.hpp>
#include <optional>
#include <string>

#include "parameters.hpp"

namespace lm {

struct ModelShape {
  Index dim = 96;
  Index layers = 3;
  Index heads = 4;
  std::string encoding = "rope";
  std::optional<Index> window{};  // of keys that a query sees; all before it if absent

  Index head_dim() const { return dim / heads; }
};

/// The tokens of a forward pass: at positions start .. start + count - 1 of `batch` sequences.
/// start is 0 but when decoding with a cache.
template <class Scalar>
struct AttentionInput {
  Index batch, start, count;
  const Matrix<Scalar>& x;  // [batch * count, dim], what queries, keys, values are made of
  grape::TensorView<Scalar> q, k, v;  // [batch, count, heads, head_dim]
};

/// The gradients that belong to it; d_x and the parameters' gradient are added to.
template <class Scalar>
struct AttentionGradient {
  Matrix<Scalar>& d_x;
  grape::TensorView<Scalar> d_q, d_k, d_v;
};

template <class Scalar>
class PositionEncoding {
 public:
  virtual ~PositionEncoding() = default;

  /// Before attention: rewrites queries, keys, values in place, and prepares the bias.
  virtual void encode(const Vector<Scalar>& /*parameters*/, const AttentionInput<Scalar>&) {}
  /// What encode() prepared to be added to the scores [batch, heads, count, start + count], if
  /// anything.
  virtual const grape::BiasAction<Scalar>* bias() const { return nullptr; }
  /// Where attention adds the gradients of that bias, for encode_vjp: all zero now.
  virtual grape::BiasGradients bias_gradients() { return {}; }
  /// Turns gradients with respect to the outcome of encode() into those of what it was given, and
  /// adds to those of x and of the parameters. q and k of the input are as encode() left them, and
  /// a part that rotated them turns them back, for the parts before it.
  virtual void encode_vjp(const Vector<Scalar>& /*parameters*/, const AttentionInput<Scalar>&,
                          const AttentionGradient<Scalar>&, Vector<Scalar>& /*gradient*/) {}
};

}  // namespace lm
