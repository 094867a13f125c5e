// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grape/grape.hpp>
#include <string>
#include <vector>

#include "encoding.hpp"
#include "parameters.hpp"

namespace lm {

/// Key/value shift: each key and value takes in a part of its predecessor's, by gates that the
/// token sets, sigmoid(w.x) for keys and for values of each head.
template <class Scalar>
class Shifting final : public PositionEncoding<Scalar> {
 public:
  Shifting(const ModelShape& shape, const std::string& name, ParameterLayout& layout)
      : heads_(shape.heads),
        keys_{layout.add(name + ".keys", shape.heads, shape.dim, {0, 0.02}, true)},
        values_{layout.add(name + ".values", shape.heads, shape.dim, {0, 0.02}, true)} {}

  void encode(const Vector<Scalar>& parameters, const AttentionInput<Scalar>& input) override {
    shift(parameters, input, input.k, keys_);
    shift(parameters, input, input.v, values_);
  }

  void encode_vjp(const Vector<Scalar>& parameters, const AttentionInput<Scalar>& input,
                  const AttentionGradient<Scalar>& d, Vector<Scalar>& gradient) override {
    shift_vjp(parameters, input, d.d_k, keys_, d.d_x, gradient);
    shift_vjp(parameters, input, d.d_v, values_, d.d_x, gradient);
  }

 private:
  struct Side {
    ParameterBlock weight;
    Matrix<Scalar> logits{}, gates{};        // [tokens, heads]
    std::vector<Scalar> before{};            // the shift, [tokens, heads, head_dim]
    grape::TokenShiftState<Scalar> state{};  // the last token of what is being decoded
  };
  using View = grape::TensorView<Scalar>;

  static View dense(std::vector<Scalar>& data, const View& shape) {
    data.resize(static_cast<std::size_t>(shape.size()));
    return grape::blhd(data.data(), shape.batch(), shape.seq(), shape.heads(), shape.dim());
  }
  auto gates(const Side& side, const AttentionInput<Scalar>& input) const {
    return grape::blh(side.gates.data(), input.batch, input.count, heads_);
  }

  void shift(const Vector<Scalar>& parameters, const AttentionInput<Scalar>& input, View x,
             Side& side) {
    side.logits.noalias() = input.x * side.weight.in(parameters).transpose();
    side.gates = side.logits.unaryExpr(&grape::sigmoid<Scalar>);
    const View before = dense(side.before, x);
    for (Index b = 0; b < x.batch(); ++b) {
      for (Index t = 0; t < x.seq(); ++t) {
        for (Index h = 0; h < x.heads(); ++h) {
          for (Index i = 0; i < x.dim(); ++i) before(b, t, h, i) = x(b, t, h, i);
        }
      }
    }
    if (input.start == 0) side.state.reset();
    grape::shift_tokens(gates(side, input), x, side.state);
  }

  void shift_vjp(const Vector<Scalar>& parameters, const AttentionInput<Scalar>& input, View d,
                 Side& side, Matrix<Scalar>& d_x, Vector<Scalar>& gradient) {
    d_gates_.assign(static_cast<std::size_t>(side.gates.size()), 0.0);
    grape::shift_tokens_vjp(gates(side, input), dense(side.before, d), d, d_gates_);
    d_logits_ = Eigen::Map<const Matrix<double>>(d_gates_.data(), side.gates.rows(), heads_)
                    .template cast<Scalar>()
                    .cwiseProduct(side.logits.unaryExpr(&grape::sigmoid_derivative<Scalar>));
    side.weight.in(gradient).noalias() += d_logits_.transpose() * input.x;
    d_x.noalias() += d_logits_ * side.weight.in(parameters);
  }

  Index heads_;
  Side keys_, values_;
  std::vector<double> d_gates_;
  Matrix<Scalar> d_logits_;
};

}  // namespace lm
