// SPDX-License-Identifier: Apache-2.0
// AdamW with gradient clipping, and the cosine schedule with warm-up.
#pragma once

#include <algorithm>
#include <cmath>
#include <numbers>

#include "parameters.hpp"

namespace lm {

/// Rises linearly to `peak` over the first tenth of the steps, then falls to a twentieth of it
/// along half a cosine. step counts from 0.
inline double scheduled_rate(double peak, Index step, Index steps) {
  constexpr double kWarmUp = 0.1, kFloor = 0.05;
  const double warm_up = std::max(1.0, kWarmUp * static_cast<double>(steps));
  const double now = static_cast<double>(step) + 1;
  if (now <= warm_up) return peak * now / warm_up;
  const double progress = (now - warm_up) / std::max(1.0, static_cast<double>(steps) - warm_up);
  return peak * (kFloor + (1 - kFloor) * (1 + std::cos(std::numbers::pi * progress)) / 2);
}

template <class Scalar>
class AdamW {
 public:
  explicit AdamW(const ParameterLayout& layout)
      : decay_(Vector<Scalar>::Zero(layout.size())),
        mean_(Vector<Scalar>::Zero(layout.size())),
        square_(Vector<Scalar>::Zero(layout.size())) {
    for (const auto& entry : layout.entries()) {
      if (entry.decay) entry.block.in(decay_).setConstant(static_cast<Scalar>(kWeightDecay));
    }
  }

  /// One step against the gradient, scaled down first where its norm exceeds 1.
  void step(Vector<Scalar>& parameters, const Vector<Scalar>& gradient, double rate) {
    ++steps_;
    const double norm = static_cast<double>(gradient.norm());
    const auto clip = static_cast<Scalar>(norm > kMaxNorm ? kMaxNorm / norm : 1.0);
    const double correction1 = 1 - std::pow(kBeta1, steps_);
    const double correction2 = 1 - std::pow(kBeta2, steps_);
    const auto beta1 = static_cast<Scalar>(kBeta1), beta2 = static_cast<Scalar>(kBeta2);
    const auto scale = static_cast<Scalar>(rate / correction1);
    const auto root = static_cast<Scalar>(1 / std::sqrt(correction2));
    mean_ = beta1 * mean_ + (1 - beta1) * clip * gradient;
    square_ = beta2 * square_ + (1 - beta2) * clip * clip * gradient.cwiseAbs2();
    parameters.array() -= static_cast<Scalar>(rate) * decay_.array() * parameters.array() +
                          scale * mean_.array() / (root * square_.array().sqrt() + kEpsilon);
  }

 private:
  static constexpr double kBeta1 = 0.9, kBeta2 = 0.98, kWeightDecay = 0.1, kMaxNorm = 1;
  static constexpr Scalar kEpsilon = static_cast<Scalar>(1e-8);
  Vector<Scalar> decay_, mean_, square_;
  int steps_ = 0;
};

}  // namespace lm
