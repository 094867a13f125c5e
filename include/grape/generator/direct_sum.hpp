// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <utility>

#include "grape/core/error.hpp"
#include "grape/core/scalar.hpp"
#include "grape/generator/generator.hpp"

namespace grape::inline v0 {

/// The joint generator of appendix E, diag(L, A) in gl(d + 2): a skew generator L of so(d) that
/// rotates and a nilpotent one that biases. Its exponential is diag(exp(s L), I + t A), where each
/// block may run on a path of its own; the two blocks commute.
///
/// (The paper prints +Lambda e_{d+1} e_{d+2}^T for the second block, which gives a bias of 0; the
/// sign and place that give (j - i) Lambda are those of UnipotentGenerator and Nilpotent::bias.)
template <Generator Skew, Generator Nil>
class DirectSum {
  static_assert(
      std::same_as<typename Skew::Kind, SkewGenerator> &&
          std::same_as<typename Nil::Kind, NilpotentGenerator>,
      "grape: a direct sum is of a skew generator (RoPE's) and a nilpotent one (ALiBi's)");
  static_assert(
      std::same_as<accumulation_t<typename Skew::Scalar>, accumulation_t<typename Nil::Scalar>>,
      "grape: the two generators of a direct sum compute in one scalar");

 public:
  using Scalar = typename Skew::Scalar;
  using Kind = JointGenerator;

  /// The sum of a skew and a nilpotent generator.
  DirectSum(Skew rotation, Nil bias) : rotation_(std::move(rotation)), bias_(std::move(bias)) {}

  const Skew& rotation() const { return rotation_; }
  const Nil& bias() const { return bias_; }

  /// The dense matrix diag(L, A), for inspection, of generators that have one.
  auto matrix() const requires requires(const Skew& l, const Nil& a) {
    l.matrix();
    a.matrix();
  }
  {
    const auto l = rotation_.matrix();
    const auto a = bias_.matrix();
    typename Nil::Matrix out = Nil::Matrix::Zero(l.rows() + a.rows(), l.cols() + a.cols());
    out.topLeftCorner(l.rows(), l.cols()) = l;
    out.bottomRightCorner(a.rows(), a.cols()) = a;
    return out;
  }

 private:
  Skew rotation_;
  Nil bias_;
};

}  // namespace grape::inline v0
