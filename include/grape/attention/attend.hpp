// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <concepts>
#include <type_traits>

#include "grape/apply/rotation.hpp"
#include "grape/attention/detail/check.hpp"
#include "grape/attention/detail/forward.hpp"
#include "grape/attention/options.hpp"
#include "grape/core/detail/aligned.hpp"
#include "grape/core/error.hpp"
#include "grape/core/executor.hpp"
#include "grape/core/view.hpp"

namespace grape::inline v0 {
namespace detail {

/// A rotated copy [batch, seq, heads, dim] of a tensor, in the accumulation scalar.
template <class A>
class RotatedCopy {
 public:
  template <class T, Executor E>
  RotatedCopy(const RotationAction<A>& action, const TensorView<const T>& x, const E& executor)
      : memory_(static_cast<std::size_t>(x.size())),
        view_(blhd(memory_.data(), x.batch(), x.seq(), x.heads(), x.dim())) {
    constexpr Index kTokens = 128;  // of a task
    const Index tasks = (x.seq() + kTokens - 1) / kTokens;
    executor.run(x.batch() * tasks, [&](Index i) {
      const Index b = i / tasks, first = i % tasks * kTokens;
      for (Index t = first; t < std::min(x.seq(), first + kTokens); ++t) {
        for (Index h = 0; h < x.heads(); ++h) {
          load(&x(b, t, h, 0), x.stride(3), x.dim(), &view_(b, t, h, 0));
        }
      }
    });
    apply_rotation(action, view_, executor);
  }
  RotatedCopy(const RotatedCopy&) = delete;
  RotatedCopy& operator=(const RotatedCopy&) = delete;

  TensorView<const A> view() const { return view_; }
  TensorView<A> writable() const { return view_; }

 private:
  LineVector<A> memory_;
  TensorView<A> view_;
};

/// Calls use(view) with x, or with a rotated copy of it where there is an action.
template <class A, class T, Executor E, class Use>
void with_rotated(const RotationAction<A>* action, const TensorView<const T>& x, const E& executor,
                  Use&& use) {
  if (action == nullptr) return use(x);
  const RotatedCopy<A> rotated(*action, x, executor);
  use(rotated.view());
}

}  // namespace detail

/// Attention without its matrix of scores: with s = scale q_i . k_j + b(i, j),
///
///   out_i = sum_j softmax_j(s_ij) v_j
///
/// over the keys that the options let query i see; a query that sees none gets zeros. q and out are
/// [batch, q_len, heads, dim], k and v [batch, k_len, key heads, dim]; key heads divide heads
/// (query head h reads key head h * key heads / heads), and v and out may have another dim than q
/// and k. Views of any strides. half and bfloat16 compute in float and round once.
///
/// Rotations act on copies of q and k: the tensors are not written. Keys are visited a tile at a
/// time (online softmax), so that memory beside the tensors is O(batch * seq * heads * dim) and
/// logits of any finite size do not overflow. NaN and infinity propagate; those of padding are not
/// read. Results are the same bits on any executor.
///
/// Throws ArgumentError, before anything is written, for shapes and options that do not fit each
/// other, and where out shares an element with q, k or v.
template <Element Q, Element K, Element V, Element T, Executor E = Serial>
void attend(TensorView<Q> q, TensorView<K> k, TensorView<V> v, TensorView<T> out,
            const std::type_identity_t<AttendOptions<accumulation_t<T>>>& options = {},
            const E& executor = {}) {
  static_assert(!std::is_const_v<T>,
                "grape: attend writes to `out`: pass a view that is not const");
  static_assert(std::same_as<std::remove_const_t<Q>, T> &&
                    std::same_as<std::remove_const_t<K>, T> &&
                    std::same_as<std::remove_const_t<V>, T>,
                "grape: q, k, v and out must have one element type");
  using A = accumulation_t<T>;
  const TensorView<const T> queries(q), keys(k), values(v);
  detail::check_attention_shapes(queries, keys, values);
  detail::check_output_shape(out, queries, v.dim(), "out");
  const detail::AttentionPlan<A> plan =
      detail::plan_attention(queries, k.seq(), k.heads(), v.dim(), options);
  const detail::Rotations<A> rotations = detail::plan_rotations(queries, keys, options);
  if (detail::share_elements(q, out) || detail::share_elements(k, out) ||
      detail::share_elements(v, out)) {
    detail::fail("out", "a view that shares elements with q, k or v", "memory of its own");
  }
  if (q.batch() == 0 || q.seq() == 0 || q.heads() == 0) return;

  detail::with_rotated(rotations.keys, keys, executor, [&](const auto& turned_keys) {
    const detail::TensorTiles tiles(turned_keys, values, options.key_lengths);
    detail::with_rotated(rotations.queries, queries, executor, [&](const auto& turned_queries) {
      if (q.seq() <= 2 * detail::kQueries) {
        detail::attend_forward(turned_queries, tiles, out, plan, executor);
        return;
      }
      const detail::PackedTiles<A> packed(tiles, k.batch(), k.heads(), k.seq(), k.dim(),
                                          options.key_lengths, executor);
      detail::attend_forward(turned_queries, packed, out, plan, executor);
    });
  });
}

}  // namespace grape::inline v0
