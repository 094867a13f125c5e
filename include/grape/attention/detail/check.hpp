// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <concepts>
#include <cstddef>
#include <string_view>
#include <type_traits>

#include "grape/apply/detail/rotate_tensor.hpp"
#include "grape/attention/detail/forward.hpp"
#include "grape/attention/options.hpp"
#include "grape/core/error.hpp"
#include "grape/core/view.hpp"
#include "grape/encoder/heads.hpp"

namespace grape::inline v0 {
namespace detail {

inline void check_equal(std::string_view argument, Index got, Index wanted, std::string_view what) {
  if (got != wanted) fail(argument, text(got), text("the ", wanted, " ", what));
}

template <class T>
void check_attention_shapes(const TensorView<const T>& q, const TensorView<const T>& k,
                            const TensorView<const T>& v) {
  check_equal("k batch", k.batch(), q.batch(), "batch entries of q");
  check_equal("v batch", v.batch(), q.batch(), "batch entries of q");
  check_equal("v seq", v.seq(), k.seq(), "keys of k");
  check_equal("v heads", v.heads(), k.heads(), "heads of k");
  check_equal("k dim", k.dim(), q.dim(), "coordinates of q");
  if (q.heads() != 0 && (k.heads() == 0 || q.heads() % k.heads() != 0)) {
    fail("k heads", text(k.heads()), text("a divisor of the ", q.heads(), " heads of q"));
  }
  if (q.dim() == 0) fail("q dim", "0", "a value >= 1");
}

template <class T, class U>
void check_output_shape(const TensorView<T>& out, const TensorView<const U>& q, Index value_dim,
                        std::string_view name) {
  check_equal(text(name, " batch"), out.batch(), q.batch(), "batch entries of q");
  check_equal(text(name, " seq"), out.seq(), q.seq(), "queries of q");
  check_equal(text(name, " heads"), out.heads(), q.heads(), "heads of q");
  check_equal(text(name, " dim"), out.dim(), value_dim, "coordinates of v");
}

/// Checks what AttendOptions says for queries q against `keys` keys and fills in the defaults.
template <class T, class A>
AttentionPlan<A> plan_attention(const TensorView<const T>& q, Index keys, Index key_heads,
                                Index value_dim, const AttendOptions<A>& options) {
  if (options.bias != nullptr) {
    const BiasAction<A>& bias = *options.bias;
    check_equal("bias queries", bias.queries(), q.seq(), "queries of q");
    check_equal("bias keys", bias.keys(), keys, "keys");
    if (bias.batch() != 1) {
      check_equal("bias batch", bias.batch(), q.batch(), "batch entries of q, or 1");
    }
    check_heads("q", q.heads(), bias.heads());
  }
  if (options.window && *options.window < 1) {
    fail("window", text(*options.window), "a value >= 1, or none");
  }
  const auto batch = static_cast<std::size_t>(q.batch());
  if (!options.key_lengths.empty() && options.key_lengths.size() != batch) {
    fail("key_lengths", text(options.key_lengths.size(), " entries"),
         text("one for each of the ", batch, " batch entries"));
  }
  for (std::size_t b = 0; b < options.key_lengths.size(); ++b) {
    const Index length = options.key_lengths[b];
    if (length < 0 || length > keys) {
      fail(text("key_lengths[", b, "]"), text(length), text("a value in [0, ", keys, "]"));
    }
  }
  const std::size_t offsets = options.query_offsets.size();
  if (offsets > 1 && offsets != batch) {
    fail("query_offsets", text(offsets, " entries"),
         text("none, one, or one for each of the ", batch, " batch entries"));
  }
  constexpr Index kFar = Index{1} << 61;  // sums of a few do not overflow
  for (std::size_t b = 0; b < offsets; ++b) {
    if (options.query_offsets[b] <= -kFar || options.query_offsets[b] >= kFar) {
      fail(text("query_offsets[", b, "]"), text(options.query_offsets[b]),
           "a value below 2^61 in magnitude");
    }
  }
  if (options.scale && !is_finite_as<A>(*options.scale)) {
    fail("scale", text(*options.scale), "a finite value");
  }
  if (!(options.skip_below >= 0 && options.skip_below < 1)) {
    fail("skip_below", text(options.skip_below), "a weight in [0, 1)");
  }
  if (!options.log_sum.empty()) {
    check_entries("log_sum", options.log_sum.size(), q.batch() * q.heads() * q.seq(),
                  "batch x heads x queries");
  }
  const double scale = options.scale.value_or(1 / std::sqrt(static_cast<double>(q.dim())));
  return {keys,
          key_heads,
          value_dim,
          options.causal,
          options.window ? (std::min)(*options.window, kFar) : 0,
          options.key_lengths,
          options.query_offsets,
          static_cast<A>(scale),
          options.bias,
          options.log_sum,
          options.skip_below};
}

/// Keys come with a rotation of their own only beside one of the queries.
template <class A>
void check_key_rotation(const AttendOptions<A>& options) {
  if (options.key_rotation == nullptr) return;
  if (options.keys_rotated) {
    fail("key_rotation", "a rotation beside keys_rotated", "one of the two");
  }
  if (options.rotation == nullptr) {
    fail("key_rotation", "a rotation without one of the queries", "a `rotation` beside it");
  }
}

/// The rotations of queries and keys, null where there is none.
template <class A>
struct Rotations {
  const RotationAction<A>* queries;
  const RotationAction<A>* keys;
};

template <class T, class A>
Rotations<A> plan_rotations(const TensorView<const T>& q, const TensorView<const T>& k,
                            const AttendOptions<A>& options) {
  check_key_rotation(options);
  Rotations<A> r{options.rotation, options.key_rotation};
  if (r.queries == nullptr) return r;
  check_rotation(*r.queries, q, "q");
  if (options.keys_rotated) return r;
  if (r.keys == nullptr) {
    if (k.seq() != q.seq()) {
      fail("key_rotation", text("none, for ", k.seq(), " keys and ", q.seq(), " queries"),
           "a rotation at the keys' positions, or keys_rotated");
    }
    r.keys = r.queries;
  }
  check_rotation(*r.keys, k, "k");
  return r;
}

}  // namespace detail
}  // namespace grape::inline v0
