// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <numbers>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "grape/spectrum/detail/check.hpp"
#include "grape/spectrum/log_uniform.hpp"

namespace grape::inline v0 {
namespace spectrum {

/// The fields of a checkpoint's scaling.
struct YarnOptions {
  /// s >= 1.
  double factor = 0;
  /// L, the context that the model was trained with before YaRN, in tokens, >= 1.
  Index original_max_position = 0;
  /// Planes that turn more than this often within L stay; finite, >= beta_slow.
  double beta_fast = 32;
  /// Planes that turn less than this often within L are divided by s; finite, > 0.
  double beta_slow = 1;
  /// Widens the ramp between them to whole planes, as the paper's code and nearly every checkpoint;
  /// a checkpoint that says "truncate": false (gpt-oss) wants false.
  bool truncate = true;
  /// The final attention factor, finite and > 0. It replaces the computed one, mscale and all; it
  /// is no multiplier on top of it.
  std::optional<double> attention_factor{};
  /// The computed attention factor is
  ///   (0.1 mscale ln s + 1) / (0.1 mscale_all_dim ln s + 1),
  /// with the defaults YaRN's own 0.1 ln s + 1. Both finite and >= 0, and taken at their word, as
  /// in DeepSeek's code. (Hugging Face uses them only if both are given and not 0, and 0.1 ln s + 1
  /// otherwise: leave both at their defaults then.)
  double mscale = 1;
  double mscale_all_dim = 0;  ///< see mscale
};

}  // namespace spectrum

namespace detail {

/// YaRN's temperature 0.1 mscale ln(factor) + 1.
inline double yarn_mscale(double factor, double mscale) {
  return 0.1 * mscale * std::log(factor) + 1;
}

/// The (real) index of the plane that turns `turns` times within `length`.
inline double yarn_plane_of(double turns, double length, double dim, double base) {
  return dim * std::log(length / (turns * 2 * std::numbers::pi)) / (2 * std::log(base));
}

inline void check_mscale(std::string_view argument, double mscale) {
  if (!is_finite(mscale) || mscale < 0) fail(argument, text(mscale), "a finite value >= 0");
}

inline void check_yarn(double base, const spectrum::YarnOptions& options) {
  if (!is_finite(base) || base <= 1) fail("base", text(base), "a finite value > 1");
  check_scale_factor(options.factor);
  check_length("original_max_position", options.original_max_position, 1);
  check_positive("beta_slow", options.beta_slow);
  if (!is_finite(options.beta_fast) || options.beta_fast < options.beta_slow) {
    fail("beta_fast", text(options.beta_fast),
         text("a finite value >= beta_slow = ", options.beta_slow));
  }
  check_mscale("mscale", options.mscale);
  check_mscale("mscale_all_dim", options.mscale_all_dim);
  if (options.attention_factor) check_positive("attention_factor", *options.attention_factor);
}

}  // namespace detail

namespace spectrum {

/// YaRN (rope_type "yarn"). With t_m = base^(-2m / d), d = rotary_dim,
///   theta_m = t_m ((1 - ramp_m) + ramp_m / s), ramp_m = clamp((m - low) / (high - low), 0, 1),
/// where p(beta) = d ln(L / (2 pi beta)) / (2 ln base) is the index of the plane that turns beta
/// times within L, low = max(floor(p(beta_fast)), 0), high = min(ceil(p(beta_slow)), d - 1), and
/// high = low + 0.001 where both agree; without `truncate` floor and ceil are left out. The bound
/// d - 1, not d / 2 - 1, is that of the published code. The attention factor multiplies cos and
/// sin (once in the query, once in the key, so that the logits of the rotated coordinates carry
/// its square); factor 1 gives log_uniform.
///
/// Not to be confused with deepseek_softmax_scale_factor, which multiplies whole logits.
///
/// Throws ArgumentError unless rotary_dim is even and >= 2, base is finite and > 1, and the options
/// are in the ranges named at them; also if high < low, so that the ramp would run backwards (L
/// below 2 pi beta_slow by whole planes, or a base so small that all planes turn often).
inline Spectrum yarn(Index rotary_dim, double base, const YarnOptions& options) {
  detail::check_rotary_dim("rotary_dim", rotary_dim);
  detail::check_yarn(base, options);
  const double s = options.factor;
  const auto dim = static_cast<double>(rotary_dim);
  const auto length = static_cast<double>(options.original_max_position);
  double low = detail::yarn_plane_of(options.beta_fast, length, dim, base);
  double high = detail::yarn_plane_of(options.beta_slow, length, dim, base);
  if (options.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = (std::max)(low, 0.0);
  high = (std::min)(high, dim - 1);
  if (high < low) {
    detail::fail("original_max_position", detail::text(options.original_max_position),
                 detail::text("a length in which some plane of base ", base, " turns between ",
                              options.beta_slow, " and ", options.beta_fast, " times"));
  }
  // The published code's way around 0 / 0.
  if (high == low) high += 0.001;

  const Spectrum plain = log_uniform(rotary_dim, base);
  std::vector<double> theta;
  theta.reserve(plain.frequencies().size());
  for (Index m = 0; m < plain.planes(); ++m) {
    const double ramp = std::clamp((static_cast<double>(m) - low) / (high - low), 0.0, 1.0);
    theta.push_back(plain(0, m) * ((1 - ramp) + ramp / s));
  }
  const double attention_factor =
      options.attention_factor
          ? *options.attention_factor
          : detail::yarn_mscale(s, options.mscale) / detail::yarn_mscale(s, options.mscale_all_dim);
  return Spectrum(std::move(theta), attention_factor);
}

/// DeepSeek's softmax-scale factor (V2, V3, R1 and what descends from them),
///   (0.1 mscale_all_dim ln(factor) + 1)^2,
/// to be multiplied onto the softmax scale 1 / sqrt(q_head_dim), where it scales whole logits,
/// those of unrotated coordinates too. It is no part of a Spectrum and independent of its attention
/// factor: in DeepSeek-V3 (factor 40, both mscale 1) that one is 1 and this one 1.87. It is 1 for
/// mscale_all_dim = 0.
///
/// Throws ArgumentError unless factor is finite and >= 1, and mscale_all_dim is finite, >= 0 and
/// not so large that the result overflows.
inline double deepseek_softmax_scale_factor(double factor, double mscale_all_dim) {
  detail::check_scale_factor(factor);
  detail::check_mscale("mscale_all_dim", mscale_all_dim);
  const double mscale = detail::yarn_mscale(factor, mscale_all_dim);
  if (!detail::is_finite(mscale * mscale)) {
    detail::fail("mscale_all_dim", detail::text(mscale_all_dim),
                 "a value whose factor does not overflow");
  }
  return mscale * mscale;
}

}  // namespace spectrum
}  // namespace grape::inline v0
