// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "grape/core/error.hpp"
#include "grape/core/pairing.hpp"
#include "grape/core/scalar.hpp"
#include "grape/core/view.hpp"
#include "grape/math/gates.hpp"
#include "grape/path/edge_link.hpp"

namespace grape::inline v0 {

/// g(x) = log sigmoid(x) < 0, the paper's link.
struct LogSigmoidLink {
  static constexpr bool increasing = true;
  template <Accumulator A>
  A operator()(A x) const {
    return log_sigmoid(x);
  }
  template <Accumulator A>
  A derivative(A x) const {
    return log_sigmoid_derivative(x);
  }
};

/// Which probes an edge compares, rms(p) = p / sqrt(mean(p^2) + epsilon):
///   paper    <rms(p_t), R_l rms(p_l)>    equation 5.1
///   authors  <p_t, R_l^-1 rms(p_l)>      their training code: one side raw, and the other way
///   round
enum class ProbeConvention { paper, authors };

/// The path integral of edge potentials (section 5), which makes GRAPE-AP of a nilpotent generator:
///
///   psi_h(t, l) = alpha_h g(<p_t, R_l p_l> / d)     for l <= t,
///   s_t - s_j   = sum_{l = j+1..t} psi_h(t, l),
///
/// alpha the generator's slopes, p features of the tokens, d their width, and R_l = exp(l J) the
/// rotation of every pair of coordinates by l radians, l the token's index from 0 on. The potential
/// depends on the token that asks, so that the sum is no difference of prefix sums.
template <EdgeLink Link = LogSigmoidLink>
struct PathIntegralPath {
  using Input = TensorView<const float>;

  ProbeConvention convention = ProbeConvention::paper;
  /// Which coordinates make up a pair; the last one of an odd width is left alone.
  Pairing pairing = Pairing::interleaved;
  /// Keeps the root mean square of small features away from 0; the machine epsilon of the scalar
  /// that the bias computes in where it is not given, as PyTorch's rms_norm has it.
  std::optional<double> epsilon{};
  Link link{};

  /// As the authors' training code has it: pairs (m, m + d/2) and ProbeConvention::authors.
  static PathIntegralPath authors() {
    return {ProbeConvention::authors, Pairing::half_split, std::nullopt, Link{}};
  }
};

namespace detail {

template <class Link>
void check_path_integral(const PathIntegralPath<Link>& path) {
  const double epsilon = path.epsilon.value_or(0);
  if (!is_finite(epsilon) || epsilon < 0) {
    fail("path epsilon", text(epsilon), "a finite value >= 0");
  }
}

}  // namespace detail
}  // namespace grape::inline v0
