// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>

namespace grape::inline v0 {

/// The link of an edge potential: g(x) and its derivative. A link of your own is a functor that
/// offers both; called with a float or a double, as the bias computes. It should be monotone and
/// 1-Lipschitz, as the paper has it (section 5.1), and must say `increasing` for bounds to be
/// known:
///   static constexpr bool increasing = true;
template <class L>
concept EdgeLink = std::copy_constructible<L> && requires(const L& link, double x) {
  { link(x) } -> std::convertible_to<double>;
  { link.derivative(x) } -> std::convertible_to<double>;
};

}  // namespace grape::inline v0
