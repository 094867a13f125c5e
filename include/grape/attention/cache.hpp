// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <type_traits>
#include <vector>

#include "grape/attention/attend.hpp"
#include "grape/attention/detail/cache_chunk.hpp"
#include "grape/attention/detail/check.hpp"
#include "grape/attention/detail/forward.hpp"
#include "grape/attention/detail/rotated_copy.hpp"
#include "grape/attention/key_value_cache.hpp"
#include "grape/attention/options.hpp"
#include "grape/attention/workspace.hpp"
#include "grape/core/error.hpp"
#include "grape/core/executor.hpp"
#include "grape/core/view.hpp"

namespace grape::inline v0 {

namespace detail {

/// Raw keys and their queries are turned both or neither.
template <class T, class A>
void check_raw_rotations(const KeyValueCache<T, CachedKeys::raw>& cache,
                         const AttendOptions<A>& options) {
  if (options.key_rotation == nullptr) {
    if (options.rotation == nullptr || options.keys_rotated) return;
    fail("key_rotation", "none beside a rotation of the queries",
         "the rotation of the raw keys, or keys_rotated");
  }
  check_key_rotation(options);
  const RotationAction<A>& action = *options.key_rotation;
  check_equal("key_rotation seq", action.seq(), cache.size(), "tokens of the cache");
  if (action.batch() != 1) {
    check_equal("key_rotation batch", action.batch(), cache.batch(), "batch entries, or 1");
  }
  if (action.has_frame()) {
    check_equal("key_rotation dim", action.frame_dim(), cache.dim(), "coordinates of the keys");
  }
  if (action.required_dim() > cache.dim()) {
    fail("key_rotation dim", text(action.required_dim()),
         text("at most the ", cache.dim(), " coordinates of the keys"));
  }
  check_heads("key_rotation", cache.key_heads(), action.sets());
}

/// attend() of queries of the cache's element type.
template <class T, CachedKeys kind, Executor E>
void attend_cache(const TensorView<const T>& q, const KeyValueCache<T, kind>& cache,
                  const TensorView<T>& out, const AttendOptions<accumulation_t<T>>& options,
                  const E& executor) {
  using A = accumulation_t<T>;
  check_equal("q batch", q.batch(), cache.batch(), "batch entries of the cache");
  check_equal("q dim", q.dim(), cache.dim(), "coordinates of the cache's keys");
  if (q.heads() % cache.key_heads() != 0) {
    fail("q heads", text(q.heads()), text("a multiple of the ", cache.key_heads(), " key heads"));
  }
  check_output_shape(out, q, cache.value_dim(), "out");
  if (!options.key_lengths.empty()) {
    fail("key_lengths", "lengths", "none: the cache knows them");
  }
  if (!options.query_offsets.empty()) {
    fail("query_offsets", "offsets", "none: queries are the cache's last tokens");
  }
  std::vector<Index> lengths, offsets;
  for (Index b = 0; b < cache.batch(); ++b) {
    if (q.seq() > cache.size(b) && !cache.whole(b)) {
      fail("q seq", text(q.seq()),
           text("at most the ", cache.size(b), " tokens that batch entry ", b,
                " still holds: attend first, then let go of tokens"));
    }
    lengths.push_back(cache.size(b));
    offsets.push_back(cache.size(b) - q.seq());
  }
  AttendOptions<A> own = options;
  own.causal = true;
  own.key_lengths = lengths;
  own.query_offsets = offsets;
  const auto plan = plan_attention(q, cache.size(), cache.key_heads(), cache.value_dim(), own);
  if (options.rotation != nullptr) check_rotation(*options.rotation, q, "q");
  if constexpr (kind == CachedKeys::rotated) {
    if (options.key_rotation != nullptr) {
      fail("key_rotation", "a rotation", "none: the cache's keys are rotated already");
    }
    check_frequencies(cache.frequencies(), cache.size(), options.rotation, "rotation");
    if (cache.shift_pending()) {
      fail("cache", "keys that wait to be moved", "a call of apply_shifts() before");
    }
  } else {
    check_raw_rotations(cache, options);
  }
  if (share_elements(q, out)) {
    fail("out", "a view that shares elements with q", "memory of its own");
  }
  if (q.seq() == 0 || q.heads() == 0) return;
  AttendWorkspace<A> own_space;
  AttendWorkspace<A>& space = options.workspace != nullptr ? *options.workspace : own_space;
  const auto run = [&](const auto& turned) {
    if constexpr (kind == CachedKeys::raw) {
      if (options.key_rotation != nullptr) {
        const TurnedKeys<A, KeyValueCache<T, kind>> keys(cache, *options.key_rotation, space,
                                                         executor);
        attend_forward(turned, keys, out, plan, executor);
        return;
      }
    }
    attend_forward(turned, cache, out, plan, executor);
  };
  with_rotated(options.rotation, q, space, space.queries, executor, run);
}

}  // namespace detail

/// Attention of new queries [batch, q_len, heads, dim] to all that the cache holds, the queries'
/// own tokens, which were appended before, among it: query i of batch entry b stands at the token
/// size(b) - q_len + i, and sees none after it (causal, whatever the options say). A window and a
/// bias work as in attend(); the bias has cache.size() keys. options.rotation turns the queries;
/// keys are as they were appended, or, if raw, turned by options.key_rotation, which has
/// cache.size() tokens. Where a batch entry holds less than q_len tokens its first queries, which
/// stand before its first token, see none and get zeros (a prompt that was padded on the left).
///
/// Throws ArgumentError, before anything is written, like attend(), if key_lengths or query_offsets
/// are given, which the cache knows, for a rotation by other frequencies than the keys', for raw
/// keys of which only one side is turned, and for more queries than an entry holds tokens where
/// some of its tokens have been let go of.
template <Element Q, Element T, CachedKeys kind, Executor E = Serial>
void attend(TensorView<Q> q, const KeyValueCache<T, kind>& cache, TensorView<T> out,
            const std::type_identity_t<AttendOptions<accumulation_t<T>>>& options = {},
            const E& executor = {}) {
  if constexpr (detail::attends<T, Q>()) {
    detail::attend_cache<T>(q, cache, out, options, executor);
  }
}

}  // namespace grape::inline v0
