// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <grape/grape.hpp>
#include <string>
#include <vector>

#include "encoding.hpp"
#include "parameters.hpp"

namespace lm {

/// GRAPE-AP: between a query and a key lie edges, one for each token in between, and each costs by
/// how well features of the query and of that token match. The features, 8 a head as in the paper's
/// runs, are learned; the heads' slopes are ALiBi's.
template <class Scalar>
class PathIntegrated final : public PositionEncoding<Scalar> {
 public:
  PathIntegrated(const ModelShape& shape, const std::string& name, ParameterLayout& layout)
      : heads_(shape.heads),
        weight_(layout.add(name + ".weight", shape.heads * kWidth, shape.dim,
                           {0, 1 / std::sqrt(static_cast<double>(shape.dim))}, true)),
        path_(shape.heads) {}

  void encode(const Vector<Scalar>& parameters, const AttentionInput<Scalar>& input) override {
    features_.noalias() = input.x * weight_.in(parameters).transpose();
    const auto view = grape::blhd(features_.data(), input.batch, input.count, heads_, kWidth);
    // Earlier tokens' features stay in the action: an edge is between any two tokens.
    input.start == 0 ? path_.at(view, bias_) : path_.append(view, bias_);
  }

  const grape::BiasAction<Scalar>* bias() const override { return &bias_; }

  grape::BiasGradients bias_gradients() override {
    d_features_.assign(static_cast<std::size_t>(features_.size()), 0.0);
    return {.features = d_features_};
  }

  void encode_vjp(const Vector<Scalar>& parameters, const AttentionInput<Scalar>& input,
                  const AttentionGradient<Scalar>& d, Vector<Scalar>& gradient) override {
    features_ =
        Eigen::Map<const Matrix<double>>(d_features_.data(), features_.rows(), features_.cols())
            .template cast<Scalar>();
    weight_.in(gradient).noalias() += features_.transpose() * input.x;
    d.d_x.noalias() += features_ * weight_.in(parameters);
  }

 private:
  static constexpr Index kWidth = 8;
  Index heads_;
  ParameterBlock weight_;
  grape::PathIntegral<Scalar> path_;
  grape::BiasAction<Scalar> bias_;
  Matrix<Scalar> features_;  // [tokens, heads * kWidth], then their gradient
  std::vector<double> d_features_;
};

}  // namespace lm
