// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "grape/core/error.hpp"
#include "grape/core/scalar.hpp"
#include "grape/spectrum/detail/check.hpp"

namespace grape::inline v0 {

/// The frequencies theta_m, in radians per position, of M rotation planes, in one set shared by all
/// heads or in P sets (a view of H heads uses set h * P / H), and the attention factor that
/// multiplies every cosine and sine (1 but for YaRN and LongRoPE). Equation (3.1) of the paper.
///
/// A spectrum of M frequencies rotates 2 M coordinates (rotary_dim). A frequency may be 0 (the
/// plane stands still) or negative (it turns the other way, as in the GRAPE authors' training
/// code).
class Spectrum {
 public:
  /// One set. Throws ArgumentError unless every frequency is finite with |theta| < 2^63 and the
  /// attention factor is in [1e-18, 1e18].
  explicit Spectrum(std::vector<double> frequencies, double attention_factor = 1.0)
      : Spectrum(std::move(frequencies), 1, attention_factor) {}

  /// `sets` sets of frequencies.size() / sets each, one set after the other.
  static Spectrum per_head(std::vector<double> frequencies, Index sets,
                           double attention_factor = 1.0) {
    return Spectrum(std::move(frequencies), sets, attention_factor);
  }

  /// M, the number of planes of one set.
  Index planes() const { return planes_; }
  /// P, the number of sets.
  Index sets() const { return sets_; }
  /// 2 M.
  Index rotary_dim() const { return 2 * planes_; }
  double attention_factor() const { return attention_factor_; }
  /// All frequencies [sets, planes].
  std::span<const double> frequencies() const { return frequencies_; }
  double operator()(Index set, Index plane) const {
    return frequencies_[static_cast<std::size_t>(set * planes_ + plane)];
  }

  /// The same planes turning the other way: exp(-n L), what the GRAPE authors' training code
  /// applies.
  Spectrum negated() const {
    Spectrum out = *this;
    for (double& theta : out.frequencies_) theta = -theta;
    return out;
  }

  /// The same frequencies with another attention factor. Throws ArgumentError unless it is in
  /// [1e-18, 1e18].
  Spectrum with_attention_factor(double attention_factor) const {
    return Spectrum(frequencies_, sets_, attention_factor);
  }

 private:
  Spectrum(std::vector<double> frequencies, Index sets, double attention_factor)
      : frequencies_(std::move(frequencies)), sets_(sets), attention_factor_(attention_factor) {
    const auto count = static_cast<Index>(frequencies_.size());
    if (sets < 1 || count % sets != 0) {
      detail::fail("sets", detail::text(sets),
                   detail::text("a divisor >= 1 of the ", count, " frequencies"));
    }
    planes_ = count / sets;
    for (std::size_t i = 0; i < frequencies_.size(); ++i) {
      const double theta = frequencies_[i];
      if (!detail::is_finite(theta) || theta >= 0x1p63 || theta <= -0x1p63) {
        detail::fail(detail::text("frequencies[", i, "]"), detail::text(theta),
                     "a finite frequency below 2^63 in magnitude");
      }
    }
    detail::check_attention_factor("attention_factor", attention_factor);
  }

  std::vector<double> frequencies_;
  Index sets_;
  Index planes_ = 0;
  double attention_factor_;
};

}  // namespace grape::inline v0
