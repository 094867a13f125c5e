// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "grape/core/scalar.hpp"

namespace grape::inline v0 {
namespace detail {

/// A matrix whose columns are scaled by powers of two to a largest entry in [1/2, 1), so that their
/// products neither overflow nor underflow: column k is columns.col(k) 2^exponents[k].
template <class Wide>
struct ScaledColumns {
  Wide columns;
  std::vector<Index> exponents;

  template <class M>
  explicit ScaledColumns(const M& m)
      : columns(m.rows(), m.cols()), exponents(static_cast<std::size_t>(m.cols())) {
    for (Index k = 0; k < m.cols(); ++k) {
      double largest = 0;
      for (Index i = 0; i < m.rows(); ++i) {
        columns(i, k) = plain_value(m(i, k));
        largest = (std::max)(largest, std::fabs(columns(i, k)));
      }
      int exponent = 0;
      std::frexp(largest, &exponent);
      for (Index i = 0; i < m.rows(); ++i) columns(i, k) = std::ldexp(columns(i, k), -exponent);
      exponents[static_cast<std::size_t>(k)] = exponent;
    }
  }

  /// The gradient for the matrix from that for `columns`.
  void unscale_gradient(Wide& d) const {
    for (Index k = 0; k < d.cols(); ++k) {
      const auto exponent = static_cast<int>(exponents[static_cast<std::size_t>(k)]);
      for (Index i = 0; i < d.rows(); ++i) d(i, k) = std::ldexp(d(i, k), -exponent);
    }
  }
};

}  // namespace detail
}  // namespace grape::inline v0
