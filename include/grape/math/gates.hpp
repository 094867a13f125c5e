// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include "grape/core/scalar.hpp"

namespace grape::inline v0 {

/// The gates of contextual paths, for any finite or infinite x, without overflow and without
/// cancellation: each is within a few ulp of its exact value, and a NaN propagates. What a path
/// takes (forget gates, phase increments, gated slopes) is learned through one of these.

/// 1 / (1 + e^-x), in [0, 1].
template <Accumulator A>
A sigmoid(A x) {
  const A e = std::exp(-std::fabs(x));  // in (0, 1]
  return (x < 0 ? e : A(1)) / (A(1) + e);
}

/// d sigmoid / dx = sigmoid(x) sigmoid(-x).
template <Accumulator A>
A sigmoid_derivative(A x) {
  const A e = std::exp(-std::fabs(x));
  return e / ((A(1) + e) * (A(1) + e));
}

/// log sigmoid(x) = -softplus(-x) <= 0: the log forget gate of a logit x (appendix C).
template <Accumulator A>
A log_sigmoid(A x) {
  return (x < 0 ? x : A(0)) - std::log1p(std::exp(-std::fabs(x)));
}

/// d log_sigmoid / dx = sigmoid(-x): a gate that is open gets no gradient.
template <Accumulator A>
A log_sigmoid_derivative(A x) {
  return sigmoid(-x);
}

/// log(1 + e^x) >= 0.
template <Accumulator A>
A softplus(A x) {
  return (x > 0 ? x : A(0)) + std::log1p(std::exp(-std::fabs(x)));
}

/// d softplus / dx = sigmoid(x).
template <Accumulator A>
A softplus_derivative(A x) {
  return sigmoid(x);
}

}  // namespace grape::inline v0
