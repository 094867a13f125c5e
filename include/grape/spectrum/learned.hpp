// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "grape/spectrum/detail/check.hpp"
#include "grape/spectrum/spectrum.hpp"

namespace grape::inline v0 {
namespace spectrum {

/// Learned frequencies theta = exp(log_frequency / scale), [sets, planes] with `sets` sets: what
/// GRAPE-M trains (section 3 of the paper). A scale above 1 (the authors take 16) slows learning
/// down: a step in log_frequency moves theta by that much less. Throws ArgumentError unless scale
/// is finite and > 0 and every frequency comes out finite. The authors' sign is negated() of it.
inline Spectrum learned(std::span<const double> log_frequencies, double scale = 1.0,
                        Index sets = 1) {
  detail::check_positive("scale", scale);
  std::vector<double> theta;
  theta.reserve(log_frequencies.size());
  for (std::size_t i = 0; i < log_frequencies.size(); ++i) {
    if (!detail::is_finite(log_frequencies[i])) {
      detail::fail(detail::text("log_frequencies[", i, "]"), detail::text(log_frequencies[i]),
                   "a finite value");
    }
    theta.push_back(std::exp(log_frequencies[i] / scale));
  }
  return Spectrum::per_head(std::move(theta), sets);
}

/// What `learned` makes `spectrum`'s frequencies of: scale * log |theta|, the parameters to start
/// training from. Throws ArgumentError if a frequency is 0, or for a scale as above.
inline std::vector<double> log_frequencies(const Spectrum& spectrum, double scale = 1.0) {
  detail::check_positive("scale", scale);
  std::vector<double> out;
  out.reserve(spectrum.frequencies().size());
  for (std::size_t i = 0; i < spectrum.frequencies().size(); ++i) {
    const double theta = spectrum.frequencies()[i];
    if (theta == 0) detail::fail(detail::text("frequencies[", i, "]"), "0", "a frequency != 0");
    out.push_back(scale * std::log(std::fabs(theta)));
  }
  return out;
}

/// The gradient of `learned`: adds d theta * theta / scale to d_log_frequencies. It holds for
/// learned(..).negated() as well, given that spectrum and its d_frequencies. Throws ArgumentError
/// for other sizes than the spectrum's.
inline void learned_vjp(const Spectrum& spectrum, double scale,
                        std::span<const double> d_frequencies,
                        std::span<double> d_log_frequencies) {
  detail::check_positive("scale", scale);
  const std::size_t count = spectrum.frequencies().size();
  const auto check = [&](std::string_view argument, std::size_t got) {
    detail::check_entries(argument, got, static_cast<Index>(count),
                          "sets x planes of the spectrum");
  };
  check("d_frequencies", d_frequencies.size());
  check("d_log_frequencies", d_log_frequencies.size());
  for (std::size_t i = 0; i < count; ++i) {
    d_log_frequencies[i] += d_frequencies[i] * spectrum.frequencies()[i] / scale;
  }
}

}  // namespace spectrum
}  // namespace grape::inline v0
