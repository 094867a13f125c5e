// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <limits>
#include <vector>

#include "grape/apply/detail/convert.hpp"
#include "grape/apply/lift_options.hpp"
#include "grape/core/detail/late.hpp"
#include "grape/core/error.hpp"
#include "grape/core/scalar.hpp"
#include "grape/encoder/lift_source.hpp"

namespace grape::inline v0 {

namespace detail {

/// One further coordinate: a part of a query's factor against a part of a key's.
struct LiftColumn {
  std::size_t term;
  Index query_part, key_part;
};

template <class T>
constexpr double lift_most() {
  if constexpr (std::same_as<T, Eigen::half>) {
    return 65504;
  } else if constexpr (std::same_as<T, double>) {
    return (std::numeric_limits<double>::max)();
  } else {
    return 0x1.fep127;  // the largest bfloat16; a float holds it too
  }
}

/// Part number `part` of x: x rounded to T, then what is left rounded to T, and so on.
template <class T>
T lift_part(double x, Index part) {
  T out{};
  for (Index p = 0; p <= part; ++p) {
    out = narrow<T>(static_cast<accumulation_t<T>>(x));
    x -= static_cast<double>(widen(out));
  }
  return out;
}

/// The coordinates that a lift adds, and what factors are multiplied by.
///
/// A term's path factor is divided by the kernel's scale. In half precision it is also divided by
/// 2^8 and the other factor multiplied by it: half ends at 65504, which paths would pass.
template <class T>
struct LiftPlan {
  std::vector<LiftTerm> terms;
  std::vector<late_t<LiftColumn, T>> columns;
  double gain = 1;        ///< of queries
  double path_scale = 1;  ///< of path factors
  double rest_scale = 1;  ///< of the factors against them

  Index extra() const { return static_cast<Index>(columns.size()); }
  double scale(LiftSide side, std::size_t term) const {
    const LiftFactor f = side == LiftSide::query ? terms[term].query : terms[term].key;
    return f == LiftFactor::path ? path_scale : rest_scale;
  }

  static LiftPlan make(const LiftSource& source, Index heads, Index dim,
                       const LiftOptions& options) {
    if (options.parts < 1 || options.parts > 4) {
      fail("options.parts", text(options.parts), "1 to 4 coordinates a number");
    }
    const double scale =
        options.scale.value_or(1 / std::sqrt(static_cast<double>(std::max<Index>(dim, 1))));
    const double kernel = options.kernel_scale.value_or(scale);
    check_scale("options.scale", scale);
    check_scale("options.kernel_scale", kernel);
    LiftPlan plan;
    plan.terms = source.lift_terms();
    plan.gain = scale / kernel;
    if constexpr (std::same_as<T, Eigen::half>) plan.rest_scale = 0x1p8;
    plan.path_scale = 1 / (kernel * plan.rest_scale);
    for (std::size_t r = 0; r < plan.terms.size(); ++r) {
      const Index of_query =
          parts(source, heads, r, plan.terms[r].query, options.parts, plan.rest_scale);
      const Index of_key =
          parts(source, heads, r, plan.terms[r].key, options.parts, plan.rest_scale);
      for (Index a = 0; a < of_query; ++a) {
        // Products of later parts are below the error of those that are kept.
        for (Index b = 0; b < of_key && a + b < options.parts; ++b) {
          plan.columns.push_back({r, a, b});
        }
      }
    }
    return plan;
  }

 private:
  static void check_scale(const char* argument, double scale) {
    if (!is_finite(scale) || scale <= 0) fail(argument, text(scale), "a finite value > 0");
  }

  /// How many parts a factor is split into: as many as are allowed, but 1 for a 1 and no more than
  /// hold every head's number exactly.
  static Index parts(const LiftSource& source, Index heads, std::size_t term, LiftFactor factor,
                     Index most, double scale) {
    if (factor == LiftFactor::one) return 1;
    if (factor != LiftFactor::head) return most;
    Index needed = 1;
    for (Index h = 0; h < heads; ++h) {
      const double slope = source.lift_slope(static_cast<Index>(term), h) * scale;
      while (needed < most && widen(lift_part<T>(slope, needed)) != 0) ++needed;
    }
    return needed;
  }
};

}  // namespace detail
}  // namespace grape::inline v0
