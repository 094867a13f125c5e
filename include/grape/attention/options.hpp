// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <span>

#include "grape/attention/workspace.hpp"
#include "grape/core/scalar.hpp"
#include "grape/encoder/bias_action.hpp"
#include "grape/encoder/rotation_action.hpp"

namespace grape::inline v0 {

/// What attend() does beside softmax(scale q k^T) v. A is float for float, half and bfloat16
/// tensors, double for double. Everything is optional:
///
///   attend(q, k, v, out, {.rotation = &action, .bias = &decay, .causal = true});
///
/// Query i stands at key index i + offset, and sees the keys that every option given lets it see.
/// What the options refer to must live until attend() returns.
template <Accumulator A>
struct AttendOptions {
  /// Rotates queries and, unless one of the next two is given, keys, which then have the same seq.
  const RotationAction<A>* rotation = nullptr;
  /// Rotates the keys in place of `rotation`, where they stand at positions of their own.
  const RotationAction<A>* key_rotation = nullptr;
  /// The keys come rotated already (from a cache, say): leaves them as they are.
  bool keys_rotated = false;
  /// Added to the logits, after the scale.
  const BiasAction<A>* bias = nullptr;
  /// Hides keys after the query: j > i + offset.
  bool causal = false;
  /// Hides keys `window` or more away from the query: |i + offset - j| >= window; none if absent.
  std::optional<Index> window{};
  /// Keys of each batch entry [batch]: those from key_lengths[b] on are padding, which is not read.
  std::span<const Index> key_lengths{};
  /// The offset of each batch entry [batch], or of all [1]; if empty it is k_len - q_len, so that
  /// the last query stands at the last key. It may be negative.
  std::span<const Index> query_offsets{};
  /// What logits are multiplied by; 1 / sqrt(head_dim) if absent.
  std::optional<double> scale{};
  /// Leaves out keys that are too far away to matter: those before the first tile from which on
  /// some key may get a weight of skip_below or more (by the bias's upper_bound and the lengths of
  /// queries and keys). Each key left out would have got less than that, so out changes by less
  /// than 2 k_len skip_below max|v|. 0, the default, leaves out none; attend() heeds it for more
  /// than 128 queries, attend_vjp does not.
  double skip_below = 0;
  /// Gets the logarithm of each row's sum of exponentials [batch, heads, q_len], -infinity for a
  /// row that sees no key; if empty it is not wanted. attend_vjp needs it.
  std::span<A> log_sum{};
  /// Memory that the call works in and leaves to the next; its own if absent.
  AttendWorkspace<A>* workspace = nullptr;
};

}  // namespace grape::inline v0
