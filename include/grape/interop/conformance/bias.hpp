// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>

#include "grape/core/scalar.hpp"
#include "grape/core/view.hpp"
#include "grape/interop/conformance/bias_case.hpp"
#include "grape/interop/conformance/bias_checks.hpp"
#include "grape/interop/conformance/report.hpp"

namespace grape::inline v0::conformance {

/// Checks a bias kernel of your own, `kernel(const BiasCase&, ScoreView<T> scores)`. The checks:
///
///   golden        numbers by public reference code
///   formula       the formula in double; in place of it `direction` (the other sign), `offset` (a
///                 summand too many or too few, query 0 taken for key 0), `encoding` (adds
///                 nothing), `scale` (a factor) or `precision` (the right convention, off by more
///                 than allowed)
///   decode        the same for the last 2 queries of 11 keys
///   adds          what scores held before stays
///   diagonal, not_positive, composition, relative       the laws of an additive encoding
///   long_sums     FoX alone: weak gates after strong ones, 4096 of them for the last query, or 512
///                 for all where the kernel does not decode
///
/// The kernel may throw; what it throws passes through. Throws ArgumentError for options out of
/// their ranges.
template <Element T, class Kernel>
Report check_bias(Kernel&& kernel, const BiasOptions& options = {}) {
  static_assert(std::invocable<Kernel&, const BiasCase&, ScoreView<T>>,
                "grape: check_bias<T> takes a kernel that can be called as kernel(const "
                "grape::conformance::BiasCase& c, grape::ScoreView<T> scores) and adds to scores");
  if constexpr (std::invocable<Kernel&, const BiasCase&, ScoreView<T>>) {
    return detail::BiasChecks<T, Kernel>(kernel, options).run();
  } else {
    return {};
  }
}

}  // namespace grape::inline v0::conformance
