// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>

#include "grape/core/scalar.hpp"
#include "grape/core/view.hpp"
#include "grape/interop/conformance/report.hpp"
#include "grape/interop/conformance/rotation_case.hpp"
#include "grape/interop/conformance/rotation_checks.hpp"

namespace grape::inline v0::conformance {

/// Checks a rotation kernel of your own, `kernel(const RotationCase&, TensorView<T> x)`, against
/// the formula, golden numbers and the laws of section 1 of the paper. The checks, by name:
///
///   golden            rotated vectors by public reference code
///   formula           the formula in double at odd sizes; where the kernel makes one of the usual
///                     mistakes the failure is called after that instead: `pairing`, `direction`
///                     (turns the other way), `offset` (wrong by one position, or blind to them),
///                     `encoding` (turns nothing), `scale` (a factor), `precision` (the right
///                     convention, but off by more than allowed: where, and whether angles in
///                     float32 explain it)
///   rest              coordinates that are not rotated keep their bits
///   identity, norm, composition, inverse, relative      the laws
///   large_positions   cos and sin up to position 2^31 - 1, where angles in float are wrong
///
/// A kernel whose angles are products of floats is checked with RotationOptions::angle_error 2^-22
/// and the greatest position that it serves. The kernel may throw; what it throws passes through.
/// Throws ArgumentError for options out of their ranges.
template <Element T, class Kernel>
Report check_rotation(Kernel&& kernel, const RotationOptions& options = {}) {
  static_assert(
      std::invocable<Kernel&, const RotationCase&, TensorView<T>>,
      "grape: check_rotation<T> takes a kernel that can be called as kernel(const "
      "grape::conformance::RotationCase& c, grape::TensorView<T> x) and turns x in place");
  if constexpr (std::invocable<Kernel&, const RotationCase&, TensorView<T>>) {
    return detail::RotationChecks<T, Kernel>(kernel, options).run();
  } else {
    return {};
  }
}

}  // namespace grape::inline v0::conformance
