// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>

#include "grape/core/scalar.hpp"

namespace grape::inline v0 {

/// Marks generators X with X^T = -X: exp(s X) rotates queries and keys.
struct SkewGenerator {};

/// Marks generators A with A^2 = 0: exp(s A) = I + s A adds a bias to the logits.
struct NilpotentGenerator {};

/// Marks direct sums of one of each: exp does both.
struct JointGenerator {};

/// An element of a Lie algebra: a skew generator makes rotations, a nilpotent one makes biases.
template <class G>
concept Generator = requires {
  typename G::Scalar;
}
&&Element<typename G::Scalar> && (std::same_as<typename G::Kind, SkewGenerator> ||
                                  std::same_as<typename G::Kind, NilpotentGenerator> ||
                                  std::same_as<typename G::Kind, JointGenerator>);

}  // namespace grape::inline v0
