// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <string_view>

#include "grape/spectrum/detail/check.hpp"
#include "grape/spectrum/log_uniform.hpp"

namespace grape::inline v0 {
namespace detail {

/// log_uniform with the base grown so that the slowest plane slows down by `stretch` >= 1 and the
/// fastest stays.
inline Spectrum ntk_stretched(Index rotary_dim, double base, double stretch,
                              std::string_view blamed, double got) {
  if (rotary_dim < 4 || rotary_dim % 2 != 0) {
    // One plane alone is both the slowest and the fastest.
    fail("rotary_dim", text(rotary_dim), "an even number >= 4");
  }
  check_base(base);
  const auto dim = static_cast<double>(rotary_dim);
  const double grown = base * std::pow(stretch, dim / (dim - 2));
  if (!is_finite(grown)) {
    fail(blamed, text(got), "a value that keeps base * stretch^(dim / (dim - 2)) finite");
  }
  return spectrum::log_uniform(rotary_dim, grown);
}

}  // namespace detail

namespace spectrum {

/// NTK-aware scaling: RoPE with a larger base,
///   theta_m = b^(-2m / d), b = base factor^(d / (d - 2)), d = rotary_dim,
/// so that the fastest plane keeps its frequency and the slowest is divided by factor. The
/// attention factor is 1; factor 1 gives log_uniform.
///
/// Throws ArgumentError unless rotary_dim is even and >= 4, base is finite and > 0, and factor is
/// finite and >= 1.
inline Spectrum ntk(Index rotary_dim, double base, double factor) {
  detail::check_scale_factor(factor);
  return detail::ntk_stretched(rotary_dim, base, factor, "factor", factor);
}

/// The fields of a checkpoint's scaling.
struct DynamicNtkOptions {
  /// s >= 1. It does not bound the sequence length: that alone decides once it exceeds L.
  double factor = 0;
  /// L, the context that the model was trained with, in tokens, >= 1 (max_position_embeddings in
  /// Hugging Face's "dynamic").
  Index original_max_position = 0;
  /// n, the tokens that are in play now, >= 1.
  Index sequence_length = 0;
};

/// Dynamic NTK scaling (rope_type "dynamic"): the base grows with the sequence,
///   theta_m = b^(-2m / d), b = base (s n / L - (s - 1))^(d / (d - 2)) for n > L,
/// and is log_uniform for n <= L. The attention factor is 1.
///
/// The frequencies depend on n: keys that were rotated and cached under another n > L are not
/// compatible with it.
///
/// Throws ArgumentError unless rotary_dim is even and >= 4, base is finite and > 0, and the options
/// are in the ranges named at them.
inline Spectrum dynamic_ntk(Index rotary_dim, double base, const DynamicNtkOptions& options) {
  detail::check_scale_factor(options.factor);
  detail::check_length("original_max_position", options.original_max_position, 1);
  detail::check_length("sequence_length", options.sequence_length, 1);
  double stretch = 1;
  if (options.sequence_length > options.original_max_position) {
    // s n / L - (s - 1), written without cancellation.
    stretch += options.factor *
               (static_cast<double>(options.sequence_length - options.original_max_position) /
                static_cast<double>(options.original_max_position));
  }
  return detail::ntk_stretched(rotary_dim, base, stretch, "factor", options.factor);
}

}  // namespace spectrum
}  // namespace grape::inline v0
