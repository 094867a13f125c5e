// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>
#include <vector>

#include "grape/spectrum/detail/check.hpp"
#include "grape/spectrum/log_uniform.hpp"

namespace grape::inline v0 {
namespace spectrum {

/// Position interpolation (rope_type "linear"): every frequency divided by one factor,
///   theta_m = base^(-2m / rotary_dim) / factor,
/// which is the same as positions divided by it. The attention factor is 1; factor 1 gives
/// log_uniform.
///
/// Throws ArgumentError unless rotary_dim is even and >= 2, base is finite and > 0, and factor is
/// finite and >= 1.
inline Spectrum linear(Index rotary_dim, double base, double factor) {
  detail::check_scale_factor(factor);
  const Spectrum plain = log_uniform(rotary_dim, base);
  std::vector<double> theta;
  theta.reserve(plain.frequencies().size());
  for (const double t : plain.frequencies()) theta.push_back(t / factor);
  return Spectrum(std::move(theta));
}

}  // namespace spectrum
}  // namespace grape::inline v0
