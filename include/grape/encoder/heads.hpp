// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "grape/core/error.hpp"
#include "grape/core/scalar.hpp"

namespace grape::inline v0 {

/// The parameter set of head h among `heads` heads that share `sets` sets: h * sets / heads. With
/// grouped queries a query head and its key head get the same set, so that they share their
/// rotation.
constexpr Index parameter_set(Index head, Index heads, Index sets) {
  return sets == 1 ? 0 : head * sets / heads;
}

namespace detail {

inline void check_heads(std::string_view argument, Index heads, Index sets) {
  if (sets < 1) fail(text(argument, " parameter sets"), text(sets), "at least 1");
  if (heads % sets != 0) {
    fail(argument, text(heads, " heads"), text("a multiple of the ", sets, " parameter sets"));
  }
}

inline void check_index(std::string_view argument, Index got, Index count) {
  if (got < 0 || got >= count) fail(argument, text(got), text("an index in [0, ", count, ")"));
}

}  // namespace detail
}  // namespace grape::inline v0
