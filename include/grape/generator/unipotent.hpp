// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "grape/core/error.hpp"
#include "grape/core/scalar.hpp"
#include "grape/generator/alibi_slopes.hpp"
#include "grape/generator/generator.hpp"
#include "grape/path/cumulative.hpp"
#include "grape/path/linear.hpp"
#include "grape/path/path_integral.hpp"

namespace grape::inline v0 {

/// The rank-1 nilpotent generator of GL(d + 2) with one slope a head (equation 4.7):
///
///   A_h = -beta_h e_{d+2} e_{d+1}^T,
///
/// which acts on the lifted query [q; 1; 0] and key [k; 0; 1] and adds (s_j - s_i) beta_h to the
/// logit of query i and key j, s being the path. Slopes come in P sets, one a parameter head. As a
/// value to look at, one head of it is Nilpotent::bias(d, slope).
template <Element Scalar_>
class UnipotentGenerator {
 public:
  using Scalar = Scalar_;
  using Kind = NilpotentGenerator;

  /// The given slopes. Throws ArgumentError unless there is at least one and each is finite
  /// in the accumulation scalar.
  explicit UnipotentGenerator(std::vector<double> slopes) : slopes_(std::move(slopes)) {
    if (slopes_.empty()) detail::fail("slopes", "an empty list", "one slope a head");
    for (std::size_t h = 0; h < slopes_.size(); ++h) {
      if (!detail::is_finite_as<accumulation_t<Scalar>>(slopes_[h])) {
        detail::fail(detail::text("slopes[", h, "]"), detail::text(slopes_[h]), "a finite slope");
      }
    }
  }
  /// The standard slopes of `heads` heads on a linear path: ALiBi's.
  UnipotentGenerator(Index heads, const LinearPath&) : UnipotentGenerator(alibi_slopes(heads)) {}
  /// Unit slopes of `heads` heads on a cumulative path: FoX's, whose gates carry the decay.
  UnipotentGenerator(Index heads, const CumulativePath&) : UnipotentGenerator(unit(heads)) {}

  /// The standard slopes of `heads` heads on a path integral: ALiBi's, as the authors have it.
  template <class Link>
  UnipotentGenerator(Index heads, const PathIntegralPath<Link>&)
      : UnipotentGenerator(alibi_slopes(heads)) {}

  /// P, the number of parameter heads.
  Index sets() const { return static_cast<Index>(slopes_.size()); }
  std::span<const double> slopes() const { return slopes_; }

 private:
  static std::vector<double> unit(Index heads) {
    if (heads < 1) detail::fail("heads", detail::text(heads), "a value >= 1");
    return std::vector<double>(static_cast<std::size_t>(heads), 1.0);
  }

  std::vector<double> slopes_;
};

}  // namespace grape::inline v0
