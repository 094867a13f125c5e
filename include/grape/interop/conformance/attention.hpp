// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>

#include "grape/core/scalar.hpp"
#include "grape/core/view.hpp"
#include "grape/interop/conformance/attention_case.hpp"
#include "grape/interop/conformance/attention_checks.hpp"
#include "grape/interop/conformance/report.hpp"

namespace grape::inline v0::conformance {

/// Checks an attention kernel of your own, `kernel(const AttentionCase<T>&, TensorView<T> out)`.
/// The checks:
///
///   golden     numbers by public reference code
///   formula    the formula in double, `decode` for the last 2 queries of 7 keys; in place of them
///              `scale` (no 1 / sqrt(dim), or one on the bias too), `causal`, `offset` (query 0
///              taken for key 0), `encoding` (none applied, or none in one head), `direction`,
///              `pairing`, or `precision` (the right convention, off by more than allowed)
///   weights    equal values come out as they are
///   causal     what comes later does not matter
///   relative   only offsets matter
///   stable     logits of hundreds neither overflow nor make NaN
///
/// The kernel may throw; what it throws passes through. Throws ArgumentError for options out of
/// their ranges.
template <Element T, class Kernel>
Report check_attention(Kernel&& kernel, const AttentionOptions& options = {}) {
  static_assert(
      std::invocable<Kernel&, const AttentionCase<T>&, TensorView<T>>,
      "grape: check_attention<T> takes a kernel that can be called as kernel(const "
      "grape::conformance::AttentionCase<T>& c, grape::TensorView<T> out) and writes out");
  if constexpr (std::invocable<Kernel&, const AttentionCase<T>&, TensorView<T>>) {
    return detail::AttentionChecks<T, Kernel>(kernel, options).run();
  } else {
    return {};
  }
}

}  // namespace grape::inline v0::conformance
