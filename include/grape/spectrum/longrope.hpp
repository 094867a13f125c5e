// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "grape/spectrum/detail/check.hpp"
#include "grape/spectrum/log_uniform.hpp"

namespace grape::inline v0 {
namespace spectrum {

/// The fields of a checkpoint's scaling.
struct LongRopeOptions {
  /// rotary_dim / 2 divisors, one for each plane, each finite and > 0, for sequences of up to L...
  std::vector<double> short_factors{};
  /// ... and for longer ones.
  std::vector<double> long_factors{};
  /// L, the context that the model was trained with before it was extended, in tokens, >= 2
  /// (original_max_position_embeddings).
  Index original_max_position = 0;
  /// n, the tokens that are in play now, >= 1: it chooses the list and nothing else.
  Index sequence_length = 0;
  /// s >= 1, the extended context over L (131072 / 4096 = 32 in Phi-3-mini-128k): it enters the
  /// attention factor alone.
  double factor = 0;
  /// The final attention factor, finite and > 0. It replaces the computed one; models with
  /// short_mscale and long_mscale pass the one of the list in use.
  std::optional<double> attention_factor{};
};

}  // namespace spectrum

namespace detail {

inline void check_longrope_factors(std::string_view argument, const std::vector<double>& factors,
                                   Index planes) {
  if (static_cast<Index>(factors.size()) != planes) {
    fail(argument, text(factors.size(), " factors"), text(planes, ", one for each plane"));
  }
  for (std::size_t m = 0; m < factors.size(); ++m) {
    if (!is_finite(factors[m]) || factors[m] <= 0) {
      fail(text(argument, "[", m, "]"), text(factors[m]), "a finite value > 0");
    }
  }
}

}  // namespace detail

namespace spectrum {

/// LongRoPE (rope_type "longrope", of old "su"): each plane has a divisor of its own,
///   theta_m = base^(-2m / rotary_dim) / lambda_m,
/// lambda = short_factors for n <= L and long_factors for n > L, and the attention factor is
///   sqrt(1 + ln(s) / ln(L)),
/// or the explicit one, for both lists alike. Lists of ones give log_uniform's frequencies, and
/// s = 1 the attention factor 1.
///
/// The frequencies change where n passes L: keys that were rotated and cached before have to be
/// computed anew.
///
/// Throws ArgumentError unless rotary_dim is even and >= 2, base is finite and > 0, and the options
/// are in the ranges named at them; both lists are checked, whichever is used.
inline Spectrum longrope(Index rotary_dim, double base, const LongRopeOptions& options) {
  const Spectrum plain = log_uniform(rotary_dim, base);
  detail::check_longrope_factors("short_factors", options.short_factors, plain.planes());
  detail::check_longrope_factors("long_factors", options.long_factors, plain.planes());
  detail::check_length("original_max_position", options.original_max_position, 2);
  detail::check_length("sequence_length", options.sequence_length, 1);
  detail::check_scale_factor(options.factor);
  if (options.attention_factor) {
    detail::check_positive("attention_factor", *options.attention_factor);
  }
  const std::vector<double>& lambda = options.sequence_length > options.original_max_position
                                          ? options.long_factors
                                          : options.short_factors;
  std::vector<double> theta;
  theta.reserve(lambda.size());
  for (std::size_t m = 0; m < lambda.size(); ++m) {
    theta.push_back(plain.frequencies()[m] / lambda[m]);
  }
  const double attention_factor =
      options.attention_factor
          ? *options.attention_factor
          : std::sqrt(1 + std::log(options.factor) /
                              std::log(static_cast<double>(options.original_max_position)));
  return Spectrum(std::move(theta), attention_factor);
}

}  // namespace spectrum
}  // namespace grape::inline v0
