// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <numbers>
#include <utility>
#include <vector>

#include "grape/spectrum/detail/check.hpp"
#include "grape/spectrum/log_uniform.hpp"

namespace grape::inline v0 {
namespace spectrum {

/// The fields of a checkpoint's scaling.
struct Llama3Options {
  /// s >= 1: 8 in Llama 3.1, 32 in Llama 3.2.
  double factor = 0;
  /// L, the context that the model was trained with, in tokens, >= 1: 8192 in Llama 3.
  Index original_max_position = 0;
  /// Planes that turn less than this often within L are divided by s; > 0.
  double low_freq_factor = 1;
  /// Planes that turn more than this often within L stay; >= low_freq_factor (equal: a step, as in
  /// Llama 4).
  double high_freq_factor = 4;
};

/// Llama 3's scaling (rope_type "llama3"). With t_m = base^(-2m / rotary_dim), which turns
/// r_m = L t_m / (2 pi) times within the trained context,
///   theta_m = t_m (w + (1 - w) / s), w = clamp((r_m - low) / (high - low), 0, 1):
/// the fast planes stay, the slow ones are interpolated, and w leads from one to the other in the
/// number of turns, without planes between where high = low (yarn leads in the index of the plane).
/// The attention factor is 1; factor 1 gives log_uniform.
///
/// Throws ArgumentError unless rotary_dim is even and >= 2, base is finite and > 0, and the options
/// are in the ranges named at them.
inline Spectrum llama3(Index rotary_dim, double base, const Llama3Options& options) {
  detail::check_scale_factor(options.factor);
  detail::check_length("original_max_position", options.original_max_position, 1);
  const double low = options.low_freq_factor;
  const double high = options.high_freq_factor;
  detail::check_positive("low_freq_factor", low);
  if (!detail::is_finite(high) || high < low) {
    detail::fail("high_freq_factor", detail::text(high),
                 detail::text("a finite value >= low_freq_factor = ", low));
  }
  const Spectrum plain = log_uniform(rotary_dim, base);
  const auto length = static_cast<double>(options.original_max_position);
  std::vector<double> theta;
  theta.reserve(plain.frequencies().size());
  for (const double t : plain.frequencies()) {
    const double turns = length * t / (2 * std::numbers::pi);
    if (turns >= high) {
      theta.push_back(t);
    } else if (turns <= low) {
      theta.push_back(t / options.factor);
    } else {
      const double w = (turns - low) / (high - low);
      theta.push_back(t * (w + (1 - w) / options.factor));
    }
  }
  return Spectrum(std::move(theta));
}

}  // namespace spectrum
}  // namespace grape::inline v0
