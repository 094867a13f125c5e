// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "grape/apply/bias.hpp"
#include "grape/apply/rotation.hpp"
#include "grape/attention/detail/backward.hpp"
#include "grape/attention/detail/check.hpp"
#include "grape/attention/detail/forward.hpp"
#include "grape/attention/detail/rotated_copy.hpp"
#include "grape/attention/options.hpp"
#include "grape/attention/workspace.hpp"
#include "grape/core/error.hpp"
#include "grape/core/executor.hpp"
#include "grape/core/view.hpp"
#include "grape/encoder/sum_bias.hpp"

namespace grape::inline v0 {
namespace detail {

/// Whether attention of Inputs can be written as T; a mistake is said here alone.
template <class T, class... Inputs>
consteval bool attends() {
  static_assert(!std::is_const_v<T>,
                "grape: attend writes to `out`: pass a view that is not const");
  static_assert((std::same_as<std::remove_const_t<Inputs>, std::remove_const_t<T>> && ...),
                "grape: q, k, v and out must have one element type");
  return !std::is_const_v<T> && (std::same_as<std::remove_const_t<Inputs>, T> && ...);
}

/// attend() of one element type.
template <class T, Executor E>
void attend_tensors(const TensorView<const T>& q, const TensorView<const T>& k,
                    const TensorView<const T>& v, const TensorView<T>& out,
                    const AttendOptions<accumulation_t<T>>& options, const E& executor) {
  using A = accumulation_t<T>;
  check_attention_shapes(q, k, v);
  check_output_shape(out, q, v.dim(), "out");
  const AttentionPlan<A> plan = plan_attention(q, k.seq(), k.heads(), v.dim(), options);
  const Rotations<A> rotations = plan_rotations(q, k, options);
  if (share_elements(q, out) || share_elements(k, out) || share_elements(v, out)) {
    fail("out", "a view that shares elements with q, k or v", "memory of its own");
  }
  if (q.batch() == 0 || q.seq() == 0 || q.heads() == 0) return;

  using Workspace = AttendWorkspace<A>;
  Workspace own;
  Workspace& space = options.workspace != nullptr ? *options.workspace : own;
  const auto run = [&](const auto& turned_queries, const auto& turned_keys) {
    const TensorTiles tiles(turned_keys, v, options.key_lengths);
    if (q.seq() <= 2 * kQueries) {
      attend_forward(turned_queries, tiles, out, plan, executor);
      return;
    }
    const PackedTiles<A> packed(tiles, k.batch(), k.heads(), k.seq(), k.dim(), options.key_lengths,
                                space, executor);
    attend_forward(turned_queries, packed, out, plan, executor);
  };
  with_rotated(rotations.keys, k, space, Workspace::keys, executor, [&](const auto& turned_keys) {
    with_rotated(rotations.queries, q, space, Workspace::queries, executor,
                 [&](const auto& turned_queries) { run(turned_queries, turned_keys); });
  });
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
/// read, but a value that is not finite spoils what its tile of keys adds to any query, be it
/// hidden from it: a weight of 0 times NaN is NaN. Results are the same bits on any executor.
///
/// Throws ArgumentError, before anything is written, for shapes and options that do not fit each
/// other, and where out shares an element with q, k or v.
template <Element Q, Element K, Element V, Element T, Executor E = Serial>
void attend(TensorView<Q> q, TensorView<K> k, TensorView<V> v, TensorView<T> out,
            const std::type_identity_t<AttendOptions<accumulation_t<T>>>& options = {},
            const E& executor = {}) {
  if constexpr (detail::attends<T, Q, K, V>()) {
    detail::attend_tensors<T>(q, k, v, out, options, executor);
  }
}

/// The tensors of a call of attend(), as attend_vjp takes them.
template <Element T>
struct AttendTensors {
  TensorView<const T> q;    ///< queries
  TensorView<const T> k;    ///< keys
  TensorView<const T> v;    ///< values
  TensorView<const T> out;  ///< what attend() wrote
};

/// Where attend_vjp writes. The gradients of q, k and v are overwritten; the others are added to,
/// in double, and an empty span is not wanted.
template <Element T>
struct AttendGradients {
  TensorView<T> q;  ///< of the queries
  TensorView<T> k;  ///< of the keys
  TensorView<T> v;  ///< of the values
  /// Of options.bias, see BiasGradients (without `path`).
  BiasGradients bias{};
  /// Of the frequencies of options.rotation, see apply_rotation_frequency_vjp; from the keys too
  /// where it rotates both.
  std::span<double> frequencies{};
  /// What options.rotation turns by at each token, see apply_rotation_phase_vjp.
  std::span<double> phases{};
  /// The frequencies of options.key_rotation.
  std::span<double> key_frequencies{};
  /// What options.key_rotation turns by.
  std::span<double> key_phases{};
  /// Of the frame of options.rotation, where it has one, see apply_rotation_frame_vjp.
  std::span<double> frame{};
  /// Of its generator, see apply_rotation_plane_vjp.
  std::span<double> planes{};
  /// Of the frame of options.key_rotation.
  std::span<double> key_frame{};
  /// Of its generator.
  std::span<double> key_planes{};
};

namespace detail {

template <class T>
void check_gradient_tensors(const AttendTensors<T>& forward, const TensorView<const T>& d_out,
                            const AttendGradients<T>& d) {
  check_same_shape(d_out, forward.out, "d_out");
  check_same_shape(d.q, forward.q, "gradients.q");
  check_same_shape(d.k, forward.k, "gradients.k");
  check_same_shape(d.v, forward.v, "gradients.v");
  const auto check_alone = [&](const TensorView<T>& x, std::string_view name) {
    for (const auto* other : {&forward.q, &forward.k, &forward.v, &forward.out, &d_out}) {
      if (share_elements(*other, x)) {
        fail(name, "a view that shares elements with an input", "memory of its own");
      }
    }
  };
  check_alone(d.q, "gradients.q");
  check_alone(d.k, "gradients.k");
  check_alone(d.v, "gradients.v");
  if (share_elements(d.q, d.k)) fail("gradients.k", "elements of gradients.q", "its own memory");
  if (share_elements(d.q, d.v) || share_elements(d.k, d.v)) {
    fail("gradients.v", "elements of another gradient", "its own memory");
  }
}

template <class T>
void set_zero(const TensorView<T>& x) {
  for (Index b = 0; b < x.batch(); ++b) {
    for (Index t = 0; t < x.seq(); ++t) {
      for (Index h = 0; h < x.heads(); ++h) {
        for (Index d = 0; d < x.dim(); ++d) x(b, t, h, d) = T(0);
      }
    }
  }
}

/// Whether any gradient of a bias is wanted.
inline bool is_wanted(const BiasGradients& d) {
  return !d.slopes.empty() || !d.log_forget.empty() || !d.query_gates.empty() ||
         !d.key_gates.empty() || !d.features.empty() || !d.parts.empty();
}

/// The biases whose gradients are wanted, all checked.
template <class A>
std::vector<BiasLeaf<A>> bias_leaves(const BiasAction<A>* bias, const BiasGradients& gradients) {
  std::vector<BiasLeaf<A>> leaves;
  if (bias == nullptr) {
    if (is_wanted(gradients)) fail("gradients.bias", "gradients without a bias", "empty spans");
    return leaves;
  }
  for_each_leaf(*bias, gradients, [&](const BiasAction<A>& leaf, const BiasGradients& d) {
    check_gradients(leaf, d);
    if (is_wanted(d)) leaves.push_back({&leaf, d});
  });
  return leaves;
}

}  // namespace detail

/// The gradients of attend(): from d_out, the gradient of its output, to those of q, k and v and of
/// whatever else `gradients` names.
///
///   attend_vjp({q, k, v, out}, d_out, {.q = d_q, .k = d_k, .v = d_v}, options);
///
/// `options` are those of the forward call, with the log_sum that it wrote. Scores are computed
/// again, a tile at a time: memory is O(batch * seq * heads * dim). Results are the same bits on
/// any executor; it gets a task for each batch entry and key head (a bias's gradients may join key
/// heads that share parameters).
///
/// Throws ArgumentError, before anything is written, for shapes and options that do not fit, where
/// log_sum is missing, where a gradient shares an element with another tensor, and where a gradient
/// is asked for that the bias or rotation has not.
template <Element D, Executor E = Serial>
void attend_vjp(const std::type_identity_t<AttendTensors<std::remove_const_t<D>>>& forward,
                TensorView<D> d_out,
                const std::type_identity_t<AttendGradients<std::remove_const_t<D>>>& gradients,
                const std::type_identity_t<AttendOptions<accumulation_t<D>>>& options,
                const E& executor = {}) {
  using T = std::remove_const_t<D>;
  using A = accumulation_t<T>;
  // Not a structured binding: lambdas of C++20 may capture those, clang 14 does not.
  const auto &q = forward.q, &k = forward.k, &v = forward.v, &out = forward.out;
  const TensorView<const T> d_output(d_out);
  detail::check_attention_shapes(q, k, v);
  detail::check_output_shape(out, q, v.dim(), "out");
  detail::check_gradient_tensors(forward, d_output, gradients);
  const detail::AttentionPlan<A> plan =
      detail::plan_attention(q, k.seq(), k.heads(), v.dim(), options);
  const detail::Rotations<A> rotations = detail::plan_rotations(q, k, options);
  if (plan.log_sum.empty() && q.batch() * q.heads() * q.seq() != 0) {
    detail::fail("log_sum", "none", "what attend() wrote: the logarithms of the rows' sums");
  }
  const std::vector<detail::BiasLeaf<A>> leaves = detail::bias_leaves(plan.bias, gradients.bias);
  const detail::RotationGradients of_queries{gradients.frequencies, gradients.phases,
                                             gradients.frame, gradients.planes};
  const detail::RotationGradients of_key_rotation{gradients.key_frequencies, gradients.key_phases,
                                                  gradients.key_frame, gradients.key_planes};
  detail::check_rotation_gradients("", of_queries, options.rotation);
  detail::check_rotation_gradients("key_", of_key_rotation, options.key_rotation);
  if (q.heads() == 0) {  // no query reads the keys
    detail::set_zero(gradients.k);
    detail::set_zero(gradients.v);
    return;
  }
  const detail::RotationGradients& of_keys =
      options.key_rotation != nullptr ? of_key_rotation : of_queries;
  AttendWorkspace<A> own;
  AttendWorkspace<A>& space = options.workspace != nullptr ? *options.workspace : own;
  const auto run = [&](const auto& queries, const auto& d_queries, const auto& keys,
                       const auto& d_keys) {
    detail::attend_backward(
        detail::BackwardTensors{queries, keys, v, out, d_output, d_queries, d_keys, gradients.v},
        plan, std::span<const detail::BiasLeaf<A>>(leaves), executor);
  };
  detail::with_rotated_vjp(rotations.keys, k, gradients.k, of_keys, space, false, executor,
                           [&](const auto& keys, const auto& d_keys) {
                             detail::with_rotated_vjp(
                                 rotations.queries, q, gradients.q, of_queries, space, true,
                                 executor, [&](const auto& queries, const auto& d_queries) {
                                   run(queries, d_queries, keys, d_keys);
                                 });
                           });
}

}  // namespace grape::inline v0
