// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "grape/core/error.hpp"
#include "grape/core/scalar.hpp"

/// Checks that spectra share. NaN is looked for first and in the bits, so that
/// -ffast-math cannot lose it.
namespace grape::inline v0 {
namespace detail {

/// The factor by which the context grows. Below 1 it is most often the inverse (ggml's freq_scale).
inline void check_scale_factor(double factor, std::string_view argument = "factor") {
  if (!is_finite(factor) || factor < 1) {
    fail(argument, text(factor), "a finite value >= 1 (new context / trained context)");
  }
}

/// Its square and the inverse of that must be floats.
inline void check_attention_factor(std::string_view argument, double factor) {
  if (!is_finite(factor) || factor < 1e-18 || factor > 1e18) {
    fail(argument, text(factor), "a finite value in [1e-18, 1e18]");
  }
}

inline void check_positive(std::string_view argument, double value) {
  if (!is_finite(value) || value <= 0) fail(argument, text(value), "a finite value > 0");
}

inline void check_length(std::string_view argument, Index tokens, Index least) {
  if (tokens < least) fail(argument, text(tokens), text("a number of tokens >= ", least));
}

}  // namespace detail
}  // namespace grape::inline v0
