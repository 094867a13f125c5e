// SPDX-License-Identifier: Apache-2.0
// The layers that know nothing of positions. Each keeps what its backward pass needs, so an object
// serves one thread; parameters and gradients come from outside. A batch of sequences is a matrix
// [tokens, features]. backward() takes the gradient of the output, adds to the parameters' gradient
// and returns the gradient of the input.
#pragma once

#include <cmath>
#include <string>

#include "parameters.hpp"

namespace lm {

/// y = x W.
template <class Scalar>
class Linear {
 public:
  Linear(ParameterLayout& layout, const std::string& name, Index in, Index out, double gain = 1)
      : weight_(layout.add(name, in, out, {0, gain / std::sqrt(static_cast<double>(in))}, true)) {}

  const Matrix<Scalar>& forward(const Vector<Scalar>& parameters, const Matrix<Scalar>& x) {
    y_.noalias() = x * weight_.in(parameters);
    return y_;
  }

  const Matrix<Scalar>& backward(const Vector<Scalar>& parameters, const Matrix<Scalar>& x,
                                 const Matrix<Scalar>& d_y, Vector<Scalar>& gradient) {
    weight_.in(gradient).noalias() += x.transpose() * d_y;
    d_x_.noalias() = d_y * weight_.in(parameters).transpose();
    return d_x_;
  }

  /// The last output: attention rotates the queries and keys in it in place.
  Matrix<Scalar>& output() { return y_; }

 private:
  ParameterBlock weight_;
  Matrix<Scalar> y_, d_x_;
};

/// y = gain * x / rms(x), row by row.
template <class Scalar>
class RmsNorm {
 public:
  RmsNorm(ParameterLayout& layout, const std::string& name, Index dim)
      : gain_(layout.add(name, 1, dim, {1, 0}, false)) {}

  const Matrix<Scalar>& forward(const Vector<Scalar>& parameters, const Matrix<Scalar>& x) {
    const auto gain = gain_.in(parameters);
    unit_.resizeLike(x);
    y_.resizeLike(x);
    inverse_rms_.resize(x.rows());
    for (Index row = 0; row < x.rows(); ++row) {
      const Scalar mean_square = x.row(row).squaredNorm() / static_cast<Scalar>(x.cols());
      inverse_rms_(row) = 1 / std::sqrt(mean_square + kEpsilon);
      unit_.row(row) = x.row(row) * inverse_rms_(row);
      y_.row(row) = unit_.row(row).cwiseProduct(gain);
    }
    return y_;
  }

  const Matrix<Scalar>& backward(const Vector<Scalar>& parameters, const Matrix<Scalar>& d_y,
                                 Vector<Scalar>& gradient) {
    const auto gain = gain_.in(parameters);
    auto d_gain = gain_.in(gradient);
    d_x_.resizeLike(d_y);
    for (Index row = 0; row < d_y.rows(); ++row) {
      const auto unit = unit_.row(row);
      d_gain += d_y.row(row).cwiseProduct(unit);
      d_x_.row(row) = d_y.row(row).cwiseProduct(gain);
      const Scalar along = d_x_.row(row).dot(unit) / static_cast<Scalar>(d_y.cols());
      d_x_.row(row) = inverse_rms_(row) * (d_x_.row(row) - along * unit);
    }
    return d_x_;
  }

 private:
  static constexpr Scalar kEpsilon = static_cast<Scalar>(1e-6);
  ParameterBlock gain_;
  Vector<Scalar> inverse_rms_;
  Matrix<Scalar> unit_, y_, d_x_;
};

/// y = (silu(x W_gate) * (x W_up)) W_down, with silu(a) = a sigmoid(a).
template <class Scalar>
class SwiGlu {
 public:
  SwiGlu(ParameterLayout& layout, const std::string& name, Index dim, Index hidden, double out_gain)
      : gate_(layout, name + ".gate", dim, hidden),
        up_(layout, name + ".up", dim, hidden),
        down_(layout, name + ".down", hidden, dim, out_gain) {}

  const Matrix<Scalar>& forward(const Vector<Scalar>& parameters, const Matrix<Scalar>& x) {
    const auto a = gate_.forward(parameters, x).array();
    const auto up = up_.forward(parameters, x).array();
    sigmoid_ = (1 + (-a).exp()).inverse();
    product_ = a * sigmoid_.array() * up;
    return down_.forward(parameters, product_);
  }

  const Matrix<Scalar>& backward(const Vector<Scalar>& parameters, const Matrix<Scalar>& x,
                                 const Matrix<Scalar>& d_y, Vector<Scalar>& gradient) {
    const auto& d_product = down_.backward(parameters, product_, d_y, gradient);
    const auto a = gate_.output().array();
    const auto s = sigmoid_.array();
    d_up_ = d_product.array() * a * s;
    d_gate_ = d_product.array() * up_.output().array() * s * (1 + a * (1 - s));
    d_x_ = gate_.backward(parameters, x, d_gate_, gradient);
    d_x_ += up_.backward(parameters, x, d_up_, gradient);
    return d_x_;
  }

 private:
  Linear<Scalar> gate_, up_, down_;
  Matrix<Scalar> sigmoid_, product_, d_gate_, d_up_, d_x_;
};

}  // namespace lm
