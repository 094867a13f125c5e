// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "grape/apply/detail/convert.hpp"
#include "grape/apply/rotation.hpp"
#include "grape/attention/workspace.hpp"
#include "grape/core/error.hpp"
#include "grape/core/executor.hpp"
#include "grape/core/view.hpp"
#include "grape/encoder/rotation_action.hpp"

namespace grape::inline v0 {
namespace detail {

/// A tensor [batch, seq, heads, dim] of the shape of x in the workspace.
template <class A, class T>
TensorView<A> workspace_tensor(AttendWorkspace<A>& workspace, typename AttendWorkspace<A>::Use use,
                               const TensorView<T>& x) {
  A* memory = workspace.get(use, x.size());
  return blhd(memory, x.batch(), x.seq(), x.heads(), x.dim());
}

/// Calls visit(batch entry, token) for all tokens, in runs that are tasks.
template <class T, class E, class Visit>
void for_token_runs(const TensorView<T>& x, const E& executor, Visit&& visit) {
  constexpr Index kTokens = 128;  // of a task
  const Index tasks = (x.seq() + kTokens - 1) / kTokens;
  executor.run(x.batch() * tasks, [&](Index i) {
    const Index b = i / tasks, first = i % tasks * kTokens;
    for (Index t = first; t < (std::min)(x.seq(), first + kTokens); ++t) visit(b, t);
  });
}

/// A rotated copy of a tensor in the workspace, in the accumulation scalar.
template <class A, class T, class E>
TensorView<A> rotated_copy(const RotationAction<A>& action, const TensorView<const T>& x,
                           AttendWorkspace<A>& workspace, typename AttendWorkspace<A>::Use use,
                           const E& executor) {
  const TensorView<A> copy = workspace_tensor(workspace, use, x);
  for_token_runs(x, executor, [&](Index b, Index t) {
    for (Index h = 0; h < x.heads(); ++h) {
      load(&x(b, t, h, 0), x.stride(3), x.dim(), &copy(b, t, h, 0));
    }
  });
  apply_rotation(action, copy, executor);
  return copy;
}

/// Calls use(view) with x, or with a rotated copy of it where there is an action.
template <class A, class T, class E, class Then>
void with_rotated(const RotationAction<A>* action, const TensorView<const T>& x,
                  AttendWorkspace<A>& workspace, typename AttendWorkspace<A>::Use use,
                  const E& executor, Then&& then) {
  if (action == nullptr) return then(x);
  then(TensorView<const A>(rotated_copy(*action, x, workspace, use, executor)));
}

/// Gradients of a rotation's parameters.
struct RotationGradients {
  std::span<double> frequencies, phases, frame, planes;
};

template <class A>
void check_rotation_gradients(std::string_view prefix, const RotationGradients& d,
                              const RotationAction<A>* action) {
  const auto check = [&](std::string_view name, std::span<double> got, auto wanted) {
    if (got.empty()) return;
    const std::string argument = text("gradients.", prefix, name);
    if (action == nullptr) fail(argument, "a gradient without its rotation", "an empty span");
    if (static_cast<Index>(got.size()) != wanted(*action)) {
      fail(argument, text(got.size(), " entries"), text(wanted(*action), " entries"));
    }
  };
  const bool of_frame = !d.frame.empty() || !d.planes.empty();
  if (of_frame && action != nullptr && !action->has_frame()) {
    fail(text("gradients.", prefix, d.frame.empty() ? "planes" : "frame"),
         "a gradient of planes on pairs of coordinates", "an empty span: they have no frame");
  }
  const auto entries_of_frame = [](const RotationAction<A>& a) {
    return a.frequency_sets() * a.frame_columns() * a.frame_dim();
  };
  check("frequencies", d.frequencies,
        [](const RotationAction<A>& a) { return a.frequency_sets() * a.planes(); });
  check("phases", d.phases,
        [](const RotationAction<A>& a) { return a.batch() * a.seq() * a.channels(); });
  check("frame", d.frame, entries_of_frame);
  check("planes", d.planes, entries_of_frame);
  if (!d.planes.empty()) check_generator_gradient(*action, text("gradients.", prefix, "planes"));
}

/// From the gradient of a rotated copy, in place, to those of the parameters and of x.
template <class A, class T, class E>
void finish_rotation(const RotationAction<A>& action, const TensorView<const A>& rotated,
                     const TensorView<A>& d_rotated, const RotationGradients& d,
                     const TensorView<T>& d_x, const E& executor) {
  if (!d.frequencies.empty()) {
    apply_rotation_frequency_vjp(action, rotated, d_rotated, d.frequencies, executor);
  }
  if (!d.phases.empty()) {
    apply_rotation_phase_vjp(action, rotated, d_rotated, d.phases, executor);
  }
  if (!d.frame.empty()) apply_rotation_frame_vjp(action, rotated, d_rotated, d.frame, executor);
  if (!d.planes.empty()) apply_rotation_plane_vjp(action, rotated, d_rotated, d.planes, executor);
  apply_rotation_vjp(action, d_rotated, d_rotated, executor);
  for_token_runs(d_x, executor, [&](Index b, Index t) {
    for (Index h = 0; h < d_x.heads(); ++h) {
      store(&d_rotated(b, t, h, 0), d_x.stride(3), d_x.dim(), &d_x(b, t, h, 0));
    }
  });
}

/// Calls use(x, d_x), or use(rotated copy, its gradient) and then takes that gradient back to d_x.
/// `use` says where copies of queries, or of keys, lie.
template <class A, class T, class E, class Then>
void with_rotated_vjp(const RotationAction<A>* action, const TensorView<const T>& x,
                      const TensorView<T>& d_x, const RotationGradients& d,
                      AttendWorkspace<A>& workspace, bool is_query, const E& executor,
                      Then&& then) {
  using Workspace = AttendWorkspace<A>;
  if (action == nullptr) return then(x, d_x);
  const TensorView<const A> rotated = rotated_copy(
      *action, x, workspace, is_query ? Workspace::queries : Workspace::keys, executor);
  const TensorView<A> d_rotated = workspace_tensor(
      workspace, is_query ? Workspace::query_gradients : Workspace::key_gradients, x);
  then(rotated, d_rotated);
  finish_rotation(*action, rotated, d_rotated, d, d_x, executor);
}

}  // namespace detail
}  // namespace grape::inline v0
