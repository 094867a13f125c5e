// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "grape/core/error.hpp"
#include "grape/core/scalar.hpp"
#include "grape/core/view.hpp"

namespace grape::inline v0 {

/// The cumulative path, inclusive: the group parameter of token t is U_t = sum_{l <= t} log f_l of
/// log forget gates, so that s_i - s_j = sum_{l = j+1..i} log f_l (appendix C). It makes FoX of a
/// nilpotent generator. What it takes is a view [batch, seq, heads, 1] of any element type (`blh`).
struct CumulativePath {
  using Input = TensorView<const float>;
};

/// Which tokens of a sequence ask: `count` of them from `start` on, among the keys 0 .. seq - 1.
/// Decoding is {seq - 1, 1}, a chunk of a prefill {seq - chunk, chunk}.
struct QueryRange {
  Index start = 0;
  Index count = 0;
};

namespace detail {

inline void check_query_range(const QueryRange& range, Index seq) {
  if (range.start < 0 || range.start > seq) {
    fail("query range start", text(range.start), text("a token in [0, ", seq, "]"));
  }
  if (range.count < 0 || range.count > seq - range.start) {
    fail("query range count", text(range.count),
         text("at most the ", seq - range.start, " tokens from ", range.start, " on, and >= 0"));
  }
}

}  // namespace detail
}  // namespace grape::inline v0
