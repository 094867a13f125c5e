// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include "grape/apply/bias.hpp"
#include "grape/apply/detail/lift_plan.hpp"
#include "grape/apply/detail/rotate_tensor.hpp"
#include "grape/apply/lift_options.hpp"
#include "grape/apply/rotation.hpp"
#include "grape/core/error.hpp"
#include "grape/core/executor.hpp"
#include "grape/core/view.hpp"
#include "grape/encoder/bias_action.hpp"
#include "grape/encoder/heads.hpp"
#include "grape/encoder/joint.hpp"

namespace grape::inline v0 {

namespace detail {

/// The first `dim` coordinates of a view, and those from `dim` on.
template <class T>
TensorView<T> head_of(const TensorView<T>& x, Index dim) {
  return TensorView<T>(x.data(), {x.batch(), x.seq(), x.heads(), dim},
                       {x.stride(0), x.stride(1), x.stride(2), x.stride(3)});
}
template <class T>
TensorView<T> tail_of(const TensorView<T>& x, Index dim) {
  return TensorView<T>(x.data() + dim * x.stride(3), {x.batch(), x.seq(), x.heads(), x.dim() - dim},
                       {x.stride(0), x.stride(1), x.stride(2), x.stride(3)});
}

/// What lifting queries and lifting keys have in common: names, shapes, and the factors' tokens.
template <class A>
struct LiftRole {
  const BiasAction<A>& bias;
  LiftSide side;

  Index tokens() const { return side == LiftSide::query ? bias.queries() : bias.keys(); }
  /// Parameter heads of this side.
  Index sets() const {
    return side == LiftSide::query ? bias.heads() : bias.lift().lift_key_heads();
  }
  Index batch_of(Index b) const { return bias.batch() == 1 ? 0 : b; }
  LiftSlice slice(Index batch, Index set, const LiftOptions& options) const {
    return {side, batch, set, options.centre == LiftCentre::middle};
  }

  /// `narrow` is what is lifted and `wide` has the coordinates of its lift.
  template <class T, class U, class V>
  void check(const TensorView<T>& narrow, const TensorView<U>& wide, const LiftPlan<V>& plan,
             std::string_view name, std::string_view wide_name) const {
    constexpr std::string_view kAxes[] = {"batch", "seq", "heads"};
    for (std::size_t a = 0; a < 3; ++a) {
      if (wide.extent(a) == narrow.extent(a)) continue;
      fail(text(wide_name, " ", kAxes[a]), text(wide.extent(a)),
           text(narrow.extent(a), ", as ", name, " has"));
    }
    if (wide.dim() < narrow.dim() + plan.extra()) {
      fail(text(wide_name, " dim"), text(wide.dim()),
           text("at least ", narrow.dim(), " + ", plan.extra(), " (see lift_extra)"));
    }
    if (narrow.seq() != tokens()) {
      fail(text(name, " seq"), text(narrow.seq()),
           text("the ", tokens(), side == LiftSide::query ? " queries" : " keys", " of the bias"));
    }
    if (bias.batch() != 1 && narrow.batch() != bias.batch()) {
      fail(text(name, " batch"), text(narrow.batch()),
           text("the batch ", bias.batch(), " of the bias"));
    }
    check_heads(name, narrow.heads(), sets());
  }

  /// Throws unless every factor fits into T.
  template <class T>
  void check_range(const LiftPlan<T>& plan, const LiftOptions& options) const {
    constexpr double kMost = lift_most<T>();
    const std::size_t terms = plan.terms.size();
    std::vector<double> factors(static_cast<std::size_t>(tokens()) * terms);
    for (Index b = 0; b < bias.batch(); ++b) {
      for (Index set = 0; set < sets(); ++set) {
        bias.lift().lift_factors(slice(b, set, options), factors.data());
        for (std::size_t i = 0; i < factors.size(); ++i) {
          const double x = factors[i] * plan.scale(side, i % terms);
          if (!is_finite(x) || std::fabs(x) > kMost) {
            fail("bias", text("a coordinate of ", x),
                 text("at most ", kMost, ", what the element type holds"));
          }
        }
      }
    }
  }
};

template <class A, class T>
LiftPlan<T> lift_plan(const BiasAction<A>& bias, Index dim, const LiftOptions& options) {
  static_assert(std::same_as<A, accumulation_t<T>>,
                "grape: a BiasAction<float> goes with float, half and bfloat16 tensors, a "
                "BiasAction<double> with double tensors");
  return LiftPlan<T>::make(bias.lift(), bias.heads(), dim, options);
}

/// Checks and lifts one side; `apply` false checks alone.
template <class A, class T, Executor E>
void lift_side(const LiftRole<A>& role, const TensorView<const T>& x, const TensorView<T>& out,
               const LiftOptions& options, std::string_view name, std::string_view out_name,
               bool apply, const E& executor) {
  const LiftPlan<T> plan = lift_plan<A, T>(role.bias, x.dim(), options);
  if (x.batch() == 0 || x.seq() == 0 || x.heads() == 0) return;
  role.check(x, out, plan, name, out_name);
  const TensorView<T> head = head_of(out, x.dim());
  check_alias(x, head, out_name);
  if (share_elements(x, tail_of(out, x.dim()))) {
    fail(out_name, text("further coordinates that share elements with ", name),
         "memory of their own");
  }
  if (!apply) return role.check_range(plan, options);
  const double gain = role.side == LiftSide::query ? plan.gain : 1.0;
  const Index heads = x.heads(), sets = role.sets();
  executor.run(x.batch() * heads, [&](Index i) {
    const Index b = i / heads, h = i % heads;
    const std::size_t terms = plan.terms.size();
    std::vector<double> factors(static_cast<std::size_t>(x.seq()) * terms);
    role.bias.lift().lift_factors(
        role.slice(role.batch_of(b), parameter_set(h, heads, sets), options), factors.data());
    for (Index t = 0; t < x.seq(); ++t) {
      for (Index d = 0; d < x.dim(); ++d) {
        out(b, t, h, d) =
            gain == 1 ? x(b, t, h, d) : narrow<T>(widen(x(b, t, h, d)) * static_cast<A>(gain));
      }
      const double* row = factors.data() + static_cast<std::size_t>(t) * terms;
      Index d = x.dim();
      for (const LiftColumn& c : plan.columns) {
        const Index part = role.side == LiftSide::query ? c.query_part : c.key_part;
        out(b, t, h, d++) = lift_part<T>(row[c.term] * plan.scale(role.side, c.term), part);
      }
      for (; d < out.dim(); ++d) out(b, t, h, d) = T(0);
    }
  });
}

/// The gradient of lift_side: overwrites d_x, accumulates `gradients`.
template <class A, class T, Executor E>
void lift_side_vjp(const LiftRole<A>& role, const TensorView<const T>& d_out,
                   const TensorView<T>& d_x, const BiasGradients& gradients,
                   const LiftOptions& options, std::string_view name, std::string_view out_name,
                   const E& executor) {
  const LiftPlan<T> plan = lift_plan<A, T>(role.bias, d_x.dim(), options);
  check_gradients(role.bias, gradients);
  if (d_x.batch() == 0 || d_x.seq() == 0 || d_x.heads() == 0) return;
  role.check(d_x, d_out, plan, name, out_name);
  check_alias(head_of(d_out, d_x.dim()), d_x, name);
  if (share_elements(d_x, tail_of(d_out, d_x.dim()))) {
    fail(name, text("a view that shares elements with further coordinates of ", out_name),
         "memory of its own");
  }
  const Index heads = d_x.heads(), sets = role.sets(), all_sets = role.bias.heads();
  const std::size_t terms = plan.terms.size();
  const auto of_sets = static_cast<std::size_t>(gradients.slopes.empty() ? 0 : all_sets);
  std::vector<double> partial(static_cast<std::size_t>(role.bias.batch()) * of_sets, 0.0);
  executor.run(role.bias.batch() * sets, [&](Index i) {
    const Index batch = i / sets, set = i % sets;
    std::vector<double> d(static_cast<std::size_t>(d_x.seq()) * terms, 0.0);
    for (Index b = 0; b < d_x.batch(); ++b) {
      if (role.batch_of(b) != batch) continue;
      for (Index h = 0; h < heads; ++h) {
        if (parameter_set(h, heads, sets) != set) continue;
        for (Index t = 0; t < d_x.seq(); ++t) {
          double* row = d.data() + static_cast<std::size_t>(t) * terms;
          Index at = d_x.dim();
          for (const LiftColumn& c : plan.columns) {
            const Index part = role.side == LiftSide::query ? c.query_part : c.key_part;
            const double x = static_cast<double>(widen(d_out(b, t, h, at++)));
            if (part == 0) row[c.term] += x * plan.scale(role.side, c.term);
          }
        }
      }
    }
    BiasGradients mine = gradients;
    mine.slopes =
        std::span<double>(partial).subspan(static_cast<std::size_t>(batch) * of_sets, of_sets);
    std::vector<double> path(
        static_cast<std::size_t>(gradients.log_forget.empty() ? 0
                                                              : role.bias.gradient_sizes().path),
        0.0);
    mine.path = path;
    role.bias.lift().lift_factors_vjp(role.slice(batch, set, options), d.data(), mine);
    role.bias.finish_vjp(batch, set, mine);
  });
  for (std::size_t i = 0; i < partial.size(); ++i) gradients.slopes[i % of_sets] += partial[i];
  const double gain = role.side == LiftSide::query ? plan.gain : 1.0;
  executor.run(d_x.batch() * heads, [&](Index i) {
    const Index b = i / heads, h = i % heads;
    for (Index t = 0; t < d_x.seq(); ++t) {
      for (Index d = 0; d < d_x.dim(); ++d) {
        d_x(b, t, h, d) = gain == 1 ? d_out(b, t, h, d)
                                    : narrow<T>(widen(d_out(b, t, h, d)) * static_cast<A>(gain));
      }
    }
  });
}

}  // namespace detail

/// How many coordinates a lift of T tensors adds: 2 for ALiBi and FoX and 4 for gated slopes with
/// parts = 1 (and slopes that T holds). Throws ArgumentError where the bias cannot be lifted.
template <Element T>
Index lift_extra(const BiasAction<accumulation_t<T>>& bias, const LiftOptions& options = {}) {
  return detail::lift_plan<accumulation_t<T>, T>(bias, 1, options).extra();
}

/// The lift of sections 4.1 to 4.7: writes q_out = [q; f(i); 0] and k_out = [k; g(j); 0] so that
///
///   kernel_scale q_out_i . k_out_j = scale q_i . k_j + b_h(i, j)   for keys not after the query,
///
/// and an attention kernel that knows no bias, but masks what comes after the query, computes the
/// additive encoding at linear memory. Above the diagonal the product goes on with b's formula.
///
/// q and q_out are [batch, queries, heads, dim], k and k_out [batch, keys, key heads, dim], the
/// outputs with at least lift_extra<T>(bias, options) further coordinates; what is left of them is
/// set to 0. An output may begin with its very input (q as the first coordinates of q_out). Query
/// heads are a multiple of the bias's parameter heads; key heads too where its keys differ by head
/// (FoX, gated keys), any number otherwise.
///
/// Error: each coordinate is off by unit^parts of itself (2^-24 float, 2^-11 half, 2^-8 bfloat16)
/// and the kernel's sum by its own rounding of terms of the size |beta p|, so that |b| is off by
/// about 2 (unit^parts + kernel unit) |beta| max |p|, p measured from the centre. LiftOptions has
/// measured figures.
///
/// Throws ArgumentError, before anything is written, for shapes that do not fit, outputs that
/// overlap each other or an input otherwise than said, a coordinate that T cannot hold, options
/// out of range, and a bias that is no such product: symmetric ones, shut forget gates, path
/// integrals.
template <Accumulator A, Element Q, Element K, Element T, Executor E = Serial>
requires(!std::is_const_v<T> && std::same_as<std::remove_const_t<Q>, T> &&
         std::same_as<std::remove_const_t<K>, T>) void lift(const BiasAction<A>& bias,
                                                            TensorView<Q> q, TensorView<K> k,
                                                            TensorView<T> q_out,
                                                            TensorView<T> k_out,
                                                            LiftOptions options = {},
                                                            const E& executor = {}) {
  if (!q.empty() && !k.empty() && q.dim() != k.dim()) {
    detail::fail("k dim", detail::text(k.dim()), detail::text("the dim of q, ", q.dim()));
  }
  if (detail::share_elements(q_out, k_out) || detail::share_elements(q_out, k) ||
      detail::share_elements(q, k_out)) {
    detail::fail("k_out", "views of queries and of keys that share elements",
                 "views that do not overlap");
  }
  const detail::LiftRole<A> queries{bias, LiftSide::query}, keys{bias, LiftSide::key};
  for (const bool apply : {false, true}) {
    detail::lift_side(queries, TensorView<const T>(q), q_out, options, "q", "q_out", apply,
                      executor);
    detail::lift_side(keys, TensorView<const T>(k), k_out, options, "k", "k_out", apply, executor);
  }
}

/// The joint lift of appendix E: as above, with q and k rotated,
///
///   kernel_scale q_out_i . k_out_j = scale q_i^T G(j - i) k_j + b_h(i, j).
///
/// An output that begins with its very input rotates it in place. The rotation's tokens are both
/// the queries and the keys; for sides that differ apply it and lift each side by itself. Throws as
/// lift and apply_rotation do.
template <Accumulator A, Element Q, Element K, Element T, Executor E = Serial>
requires(!std::is_const_v<T> && std::same_as<std::remove_const_t<Q>, T> &&
         std::same_as<std::remove_const_t<K>, T>) void lift(const JointAction<A>& action,
                                                            TensorView<Q> q, TensorView<K> k,
                                                            TensorView<T> q_out,
                                                            TensorView<T> k_out,
                                                            LiftOptions options = {},
                                                            const E& executor = {}) {
  if (!q.empty()) detail::check_rotation(action.rotation, q, "q");
  if (!k.empty()) detail::check_rotation(action.rotation, k, "k");
  lift(action.bias, q, k, q_out, k_out, options, executor);
  if (!q.empty()) apply_rotation(action.rotation, detail::head_of(q_out, q.dim()), executor);
  if (!k.empty()) apply_rotation(action.rotation, detail::head_of(k_out, k.dim()), executor);
}

/// One side alone: while decoding, a key is lifted once, on arrival, from an action at its position
/// or from one that append() made. Needs LiftCentre::origin where the actions differ.
template <Accumulator A, Element Q, Element T, Executor E = Serial>
requires(!std::is_const_v<T> && std::same_as<std::remove_const_t<Q>, T>) void lift_queries(
    const BiasAction<A>& bias, TensorView<Q> q, TensorView<T> q_out, LiftOptions options = {},
    const E& executor = {}) {
  const detail::LiftRole<A> role{bias, LiftSide::query};
  for (const bool apply : {false, true}) {
    detail::lift_side(role, TensorView<const T>(q), q_out, options, "q", "q_out", apply, executor);
  }
}
/// The same of the keys.
template <Accumulator A, Element K, Element T, Executor E = Serial>
requires(!std::is_const_v<T> && std::same_as<std::remove_const_t<K>, T>) void lift_keys(
    const BiasAction<A>& bias, TensorView<K> k, TensorView<T> k_out, LiftOptions options = {},
    const E& executor = {}) {
  const detail::LiftRole<A> role{bias, LiftSide::key};
  for (const bool apply : {false, true}) {
    detail::lift_side(role, TensorView<const T>(k), k_out, options, "k", "k_out", apply, executor);
  }
}

/// The gradients of lift, a side each: overwrite d_q (d_k), which may be the very first coordinates
/// of d_q_out, and accumulate what `gradients` names, in double. The two together give the
/// gradients of add_bias_vjp; each is a difference of sums as large as positions, so that gradients
/// d_q_out in half or bfloat16 say little about a slope. Rounding is taken for the identity.
///
/// Throws ArgumentError, before anything is written, for shapes that do not fit, overlaps, and
/// gradients that the bias has not.
template <Accumulator A, Element U, Element T, Executor E = Serial>
requires(!std::is_const_v<T> && std::same_as<std::remove_const_t<U>, T>) void lift_queries_vjp(
    const BiasAction<A>& bias, TensorView<U> d_q_out, TensorView<T> d_q,
    BiasGradients gradients = {}, LiftOptions options = {}, const E& executor = {}) {
  detail::lift_side_vjp(detail::LiftRole<A>{bias, LiftSide::query}, TensorView<const T>(d_q_out),
                        d_q, gradients, options, "d_q", "d_q_out", executor);
}
/// The same of the keys.
template <Accumulator A, Element U, Element T, Executor E = Serial>
requires(!std::is_const_v<T> && std::same_as<std::remove_const_t<U>, T>) void lift_keys_vjp(
    const BiasAction<A>& bias, TensorView<U> d_k_out, TensorView<T> d_k,
    BiasGradients gradients = {}, LiftOptions options = {}, const E& executor = {}) {
  detail::lift_side_vjp(detail::LiftRole<A>{bias, LiftSide::key}, TensorView<const T>(d_k_out), d_k,
                        gradients, options, "d_k", "d_k_out", executor);
}

}  // namespace grape::inline v0
