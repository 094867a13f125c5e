// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <vector>

#include "grape/spectrum/spectrum.hpp"

namespace grape::inline v0 {
namespace detail {

inline void check_rotary_dim(std::string_view argument, Index dim) {
  if (dim < 2 || dim % 2 != 0) fail(argument, text(dim), "an even number >= 2");
}

inline void check_base(double base) {
  if (!is_finite(base) || base <= 0) fail("base", text(base), "a finite value > 0");
}

}  // namespace detail

namespace spectrum {

/// RoPE's log-uniform frequencies theta_m = base^(-2m / rotary_dim), m < rotary_dim / 2 (RoFormer
/// eq. 15, section 3 of the paper). For partial rotary on the first coordinates of a wider head
/// pass the rotary_dim, which the exponent counts in, not the head_dim. Throws ArgumentError unless
/// rotary_dim is even and >= 2 and base is finite and > 0.
inline Spectrum log_uniform(Index rotary_dim, double base = 10000.0) {
  detail::check_rotary_dim("rotary_dim", rotary_dim);
  detail::check_base(base);
  std::vector<double> theta;
  theta.reserve(static_cast<std::size_t>(rotary_dim / 2));
  for (Index m = 0; m < rotary_dim / 2; ++m) {
    theta.push_back(std::pow(base, -static_cast<double>(2 * m) / static_cast<double>(rotary_dim)));
  }
  return Spectrum(std::move(theta));
}

/// Partial rotary by a tail of zero frequencies (rope_type "proportional" in Hugging Face): pairs
/// and exponents span the whole head, theta_m = base^(-2m / head_dim), and only the first
/// floor(fraction * head_dim / 2) planes turn. Throws ArgumentError unless head_dim is even and >=
/// 2, base is finite and > 0, and 0 <= fraction <= 1.
inline Spectrum proportional(Index head_dim, double base, double fraction) {
  if (!detail::is_finite(fraction) || fraction < 0 || fraction > 1) {
    detail::fail("fraction", detail::text(fraction), "a value in [0, 1]");
  }
  const Spectrum full = log_uniform(head_dim, base);
  const auto turning = static_cast<Index>(fraction * static_cast<double>(head_dim) / 2);
  std::vector<double> theta;
  theta.reserve(static_cast<std::size_t>(full.planes()));
  for (Index m = 0; m < full.planes(); ++m) theta.push_back(m < turning ? full(0, m) : 0.0);
  return Spectrum(std::move(theta));
}

}  // namespace spectrum
}  // namespace grape::inline v0
