// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "grape/core/scalar.hpp"

namespace grape::inline v0::conformance {

/// What a bias kernel is asked to do: to add, for queries i and keys j <= i + first_query, to
/// scores [1, heads, queries, keys] (entries above that diagonal are not looked at)
///
///   ALiBi  (j - (i + first_query)) slopes[h]
///   FoX    the sum of log_forget[l, h] over l = j + 1 .. i + first_query
///
/// Query i is the token of key i + first_query, and key j stands at position first_position + j.
struct BiasCase {
  Index first_query = 0;
  std::int64_t first_position = 0;
  std::span<const double> slopes{};     ///< [heads], positive; empty for FoX
  std::span<const float> log_forget{};  ///< [keys, heads], at most 0; empty for ALiBi
};

/// Which bias the kernel computes.
enum class BiasFamily { alibi, fox };

/// What the kernel claims, and how exact it must be.
struct BiasOptions {
  BiasFamily family = BiasFamily::alibi;
  /// Whether the kernel takes fewer queries than keys (decoding).
  bool decode = true;
  /// What is allowed, in roundings of T (half an epsilon), > 0, times the greatest bias that the
  /// query may have in its head: slopes[h] (i + first_query), or all gates up to the query's.
  double roundings = 8;
  /// The same for FoX's long sums of gates, times the bias itself: prefix sums in T fail this.
  double long_roundings = 8;
};

namespace detail {

struct BiasShape {
  Index heads, queries, keys;
};

/// The plain statement of a bias, in double. Another first or last summand than the
/// right one tells wrong kernels apart.
inline std::vector<double> bias_of(const BiasCase& c, const BiasShape& shape, Index skip_first = 1,
                                   Index skip_last = 0) {
  std::vector<double> out(static_cast<std::size_t>(shape.heads * shape.queries * shape.keys));
  for (Index h = 0; h < shape.heads; ++h) {
    for (Index i = 0; i < shape.queries; ++i) {
      const Index at = i + c.first_query;
      for (Index j = 0; j <= (std::min)(at, shape.keys - 1); ++j) {
        double& b = out[static_cast<std::size_t>((h * shape.queries + i) * shape.keys + j)];
        if (!c.slopes.empty()) {
          b = static_cast<double>(j - at) * c.slopes[static_cast<std::size_t>(h)];
          continue;
        }
        for (Index l = (std::max<Index>)(0, j + skip_first); l <= at - skip_last; ++l) {
          b += static_cast<double>(c.log_forget[static_cast<std::size_t>(l * shape.heads + h)]);
        }
      }
    }
  }
  return out;
}

}  // namespace detail

}  // namespace grape::inline v0::conformance
