// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstddef>
#include <span>
#include <string_view>
#include <type_traits>

#include "grape/apply/detail/plane_gradient.hpp"
#include "grape/apply/detail/rotate_tensor.hpp"
#include "grape/core/error.hpp"
#include "grape/core/executor.hpp"
#include "grape/core/view.hpp"
#include "grape/encoder/encoder.hpp"
#include "grape/encoder/rotation_action.hpp"

namespace grape::inline v0 {

namespace detail {

template <class T>
void as_tensor_view(const TensorView<T>&);
template <class X>
concept SomeTensorView = requires(const X& x) {
  as_tensor_view(x);
};

/// Says what to pass instead of an X, which is no view.
template <class X>
consteval void wants_view() {
  static_assert(sizeof(X) == 0,
                "grape: a rotation turns views of tensors: blhd(pointer, batch, seq, heads, dim), "
                "or matrix_view(matrix, heads) of a row-major Eigen matrix [seq, heads * dim]");
}

template <Accumulator A, class T, class U>
void check_frame_gradient(const RotationAction<A>& action, const TensorView<T>& out,
                          const TensorView<U>& d_out, std::string_view argument, std::size_t got) {
  if (!action.has_frame()) {
    fail("action", "planes on pairs of coordinates", "planes in a frame");
  }
  check_same_shape(d_out, out, "d_out");
  check_entries(argument, got,
                action.frequency_sets() * action.frame_columns() * action.frame_dim(),
                "sets x columns x dim of the action's frame");
  if (!out.empty()) check_rotation(action, out, "out");
}

template <Turning turning, class A, class T, class U, class E>
void turn_gradient(const RotationAction<A>& action, const TensorView<U>& d_out,
                   const TensorView<T>& d_in, const E& executor) {
  check_same_shape(d_in, d_out, "d_in");
  if (d_in.empty()) return;
  check_rotation(action, d_in, "d_in");
  check_alias(d_out, d_in, "d_in");
  rotate<turning, T>(action, d_out, d_in, executor);
}

/// A rotation that is no exp(n L) has no gradient of L.
template <Accumulator A>
void check_generator_gradient(const RotationAction<A>& action, std::string_view argument) {
  if (action.attention_factor() != 1) {
    fail(argument, text("an attention factor of ", action.attention_factor()),
         "a rotation exp(n L), with a factor of 1");
  }
  for (Index m = 1; m < action.planes(); ++m) {
    if (action.channel(0, m) != action.channel(0, 0)) {
      fail(argument, "planes on different axes", "planes that turn by one position");
    }
  }
}

}  // namespace detail

/// Rotates x in place by the action: x_t <- exp(s_t L) x_t for every token t and head (sections 2.5
/// and 3 of the paper). x is [batch, seq, heads, dim] of any strides with seq = action.seq();
/// coordinates outside of the rotated ones are not touched. half and bfloat16 compute in float and
/// round once. NaN and infinity propagate. An empty view is left alone.
///
/// Throws ArgumentError, before anything is written, if the batch, seq, heads or dim of the view do
/// not fit the action.
template <Accumulator A, Element T, Executor E = Serial>
void apply_rotation(const RotationAction<A>& action, const TensorView<T>& x,
                    const E& executor = {}) {
  if (x.empty()) return;
  detail::check_rotation(action, x, "x");
  detail::rotate<detail::Turning::forward>(action, x, executor);
}

/// Rotates queries and keys in place by one action; their head counts may differ (grouped queries).
/// Throws as above, also if the two views share an element.
template <Accumulator A, Element T, Executor E = Serial>
void apply_rotation(const RotationAction<A>& action, const TensorView<T>& q, const TensorView<T>& k,
                    const E& executor = {}) {
  if (!q.empty()) detail::check_rotation(action, q, "q");
  if (!k.empty()) detail::check_rotation(action, k, "k");
  if (detail::share_elements(q, k)) {
    detail::fail("k", "a view that shares elements with q", "views that do not overlap");
  }
  if (!q.empty()) detail::rotate<detail::Turning::forward>(action, q, executor);
  if (!k.empty()) detail::rotate<detail::Turning::forward>(action, k, executor);
}

/// Prepares the action and applies it: apply_rotation(rope, Positions::range(0, seq), q, k).
template <Generator G, Path P, Element T, Executor E = Serial>
void apply_rotation(const Encoder<G, P>& encoder, const Positions& positions,
                    const TensorView<T>& q, const TensorView<T>& k, const E& executor = {}) {
  apply_rotation(encoder.at(positions), q, k, executor);
}

/// The same of one tensor.
template <Generator G, Path P, Element T, Executor E = Serial>
void apply_rotation(const Encoder<G, P>& encoder, const Positions& positions,
                    const TensorView<T>& x, const E& executor = {}) {
  apply_rotation(encoder.at(positions), x, executor);
}

/// Says what is missing where tensors come without a view.
template <Accumulator A, class X, class... Rest>
requires(!detail::SomeTensorView<X>) void apply_rotation(const RotationAction<A>&, const X&,
                                                         const Rest&...) {
  detail::wants_view<X>();
}
/// The same after positions.
template <Generator G, Path P, class X, class... Rest>
requires(!detail::SomeTensorView<X>) void apply_rotation(const Encoder<G, P>&, const Positions&,
                                                         const X&, const Rest&...) {
  detail::wants_view<X>();
}
/// Says what is missing where an encoder comes without positions.
template <Generator G, Path P, class X, class... Rest>
requires(!std::convertible_to<const X&, const Positions&>) void apply_rotation(const Encoder<G, P>&,
                                                                               const X&,
                                                                               const Rest&...) {
  static_assert(sizeof(X) == 0,
                "grape: an encoder rotates at Positions: apply_rotation(rope, "
                "Positions::range(start, seq), q), or by an action that was made of them: "
                "apply_rotation(action, q)");
}

/// Undoes apply_rotation in place: x_t <- exp(-s_t L) x_t, divided by the attention factor where
/// there is one. Throws like apply_rotation. Where a parameter's gradient is wanted, too, rotate by
/// negated positions instead, which is the same without an attention factor.
template <Accumulator A, Element T, Executor E = Serial>
void apply_inverse_rotation(const RotationAction<A>& action, const TensorView<T>& x,
                            const E& executor = {}) {
  if (x.empty()) return;
  detail::check_rotation(action, x, "x");
  detail::rotate<detail::Turning::inverse>(action, x, executor);
}

/// The gradient of apply_rotation with respect to its input: overwrites d_in with the transposed
/// action on d_out. Both have the shape of x; d_in may be the very view d_out. Throws
/// ArgumentError, before anything is written, for shapes that do not fit or views that overlap in
/// part.
template <Accumulator A, Element T, Element U, Executor E = Serial>
requires(!std::is_const_v<T> && std::same_as<T, std::remove_const_t<U>>) void apply_rotation_vjp(
    const RotationAction<A>& action, TensorView<U> d_out, TensorView<T> d_in,
    const E& executor = {}) {
  detail::turn_gradient<detail::Turning::transpose>(action, d_out, d_in, executor);
}

/// The gradient of apply_inverse_rotation with respect to its input, in the same way: d_in_t <-
/// exp(s_t L) d_out_t, divided by the attention factor where there is one.
template <Accumulator A, Element T, Element U, Executor E = Serial>
requires(
    !std::is_const_v<T> &&
    std::same_as<
        T, std::remove_const_t<U>>) void apply_inverse_rotation_vjp(const RotationAction<A>& action,
                                                                    TensorView<U> d_out,
                                                                    TensorView<T> d_in,
                                                                    const E& executor = {}) {
  detail::turn_gradient<detail::Turning::inverse_transpose>(action, d_out, d_in, executor);
}

/// The gradient of apply_rotation with respect to the frequencies: adds to d_frequencies
/// [action.frequency_sets(), action.planes()], in radians per position,
///
///   d theta_m += sum over tokens t and heads of n_t <d_out, J out> in plane m,
///
/// n_t the position, coordinate or phase that the plane turns by, from `out`, what apply_rotation
/// made, and d_out, the gradient there. Call it before apply_rotation_vjp if that one works in
/// place. Sums are taken in double. Throws ArgumentError, before anything is written, for shapes
/// that do not fit.
template <Accumulator A, Element T, Element U, Executor E = Serial>
requires(std::same_as<
         std::remove_const_t<T>,
         std::remove_const_t<U>>) void apply_rotation_frequency_vjp(const RotationAction<A>& action,
                                                                    TensorView<T> out,
                                                                    TensorView<U> d_out,
                                                                    std::span<double> d_frequencies,
                                                                    const E& executor = {}) {
  detail::check_same_shape(d_out, out, "d_out");
  detail::check_entries("d_frequencies", d_frequencies.size(),
                        action.frequency_sets() * action.planes(), "sets x planes of the action");
  if (out.empty()) return;
  detail::check_rotation(action, out, "out");
  detail::accumulate_frequency_gradient<std::remove_const_t<T>>(action, out, d_out,
                                                                d_frequencies.data(), executor);
}

/// The gradient of apply_rotation with respect to what the planes turn by: adds to d_phase
/// [action.batch(), action.seq(), action.channels()]
///
///   d Phi_t += sum over heads of the set and planes of theta_m <d_out, J out> in plane m,
///
/// for contextual phases (a channel for each set), real positions (one channel) and coordinates (a
/// channel for each axis). out and d_out as for the frequencies; a batch that shares its positions
/// adds up. Sums are taken in double. Throws ArgumentError, before anything is written, for shapes
/// that do not fit.
template <Accumulator A, Element T, Element U, Executor E = Serial>
requires(std::same_as<
         std::remove_const_t<T>,
         std::remove_const_t<U>>) void apply_rotation_phase_vjp(const RotationAction<A>& action,
                                                                TensorView<T> out,
                                                                TensorView<U> d_out,
                                                                std::span<double> d_phase,
                                                                const E& executor = {}) {
  detail::check_same_shape(d_out, out, "d_out");
  detail::check_entries("d_phase", d_phase.size(),
                        action.batch() * action.seq() * action.channels(),
                        "batch x seq x channels of the action");
  if (out.empty()) return;
  detail::check_rotation(action, out, "out");
  detail::accumulate_position_gradient<std::remove_const_t<T>>(action, out, d_out, d_phase.data(),
                                                               executor);
}

/// The gradient of apply_rotation with respect to the frame F of planes that are learned: adds to
/// d_frame [action.frequency_sets(), action.frame_columns(), action.frame_dim()], a column of F
/// behind the other, the derivative of the loss with respect to each entry of F for itself, with
/// K = a R - I:
///
///   d F += sum over tokens and heads of d_out (K F^T x)^T + x (K^T F^T d_out)^T.
///
/// From it frame::householder_vjp, frame::cayley_vjp or frame::orthonormalized_vjp make the
/// gradient of what the frame was made from. out and d_out as for the frequencies. O(d r) a token;
/// sums are taken in double. Throws ArgumentError, before anything is written, for shapes that do
/// not fit and an action without a frame.
template <Accumulator A, Element T, Element U, Executor E = Serial>
requires(std::same_as<
         std::remove_const_t<T>,
         std::remove_const_t<U>>) void apply_rotation_frame_vjp(const RotationAction<A>& action,
                                                                TensorView<T> out,
                                                                TensorView<U> d_out,
                                                                std::span<double> d_frame,
                                                                const E& executor = {}) {
  detail::check_frame_gradient(action, out, d_out, "d_frame", d_frame.size());
  if (out.empty()) return;
  detail::accumulate_frame_gradient<std::remove_const_t<T>>(action, out, d_out, d_frame.data(),
                                                            executor);
}

/// The gradient of apply_rotation with respect to the generator L itself, whatever it is made of:
/// adds to d_planes [action.frequency_sets(), action.frame_columns(), action.frame_dim()], a column
/// of Z behind the other,
///
///   Z = (E - E^T) F,   d loss = <E, d L>,
///
/// E [d, d] never being made. For L = sum theta_i (a_i b_i^T - b_i a_i^T) with all a_i and b_i in
/// the span of F, d a_i = theta_i Z F^T b_i and so on: CompactPlanes::vjp, rank2_plane_vjp. Planes
/// may turn equally fast: nothing is divided by differences of frequencies. out and d_out as for
/// the frequencies. O(d r + r^2) a token; sums are taken in double.
///
/// Throws ArgumentError, before anything is written, for shapes that do not fit, an action without
/// a frame, one with an attention factor (which is no part of exp(n L)) and one whose planes turn
/// by different axes (which are generators of their own).
template <Accumulator A, Element T, Element U, Executor E = Serial>
requires(std::same_as<
         std::remove_const_t<T>,
         std::remove_const_t<U>>) void apply_rotation_plane_vjp(const RotationAction<A>& action,
                                                                TensorView<T> out,
                                                                TensorView<U> d_out,
                                                                std::span<double> d_planes,
                                                                const E& executor = {}) {
  detail::check_frame_gradient(action, out, d_out, "d_planes", d_planes.size());
  detail::check_generator_gradient(action, "action");
  if (out.empty()) return;
  detail::accumulate_plane_gradient<std::remove_const_t<T>>(action, out, d_out, d_planes.data(),
                                                            executor);
}

}  // namespace grape::inline v0
