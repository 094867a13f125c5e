// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <string_view>
#include <vector>

#include "grape/apply/detail/frame_gradient.hpp"
#include "grape/apply/detail/rotate.hpp"
#include "grape/apply/detail/rotate_frame.hpp"
#include "grape/core/error.hpp"
#include "grape/core/executor.hpp"
#include "grape/core/view.hpp"
#include "grape/encoder/heads.hpp"
#include "grape/encoder/rotation_action.hpp"

namespace grape::inline v0 {
namespace detail {

/// a R x, its transpose a R^T x, its inverse R^T x / a and that one's transpose R x / a, where a is
/// the attention factor.
enum class Turning { forward, transpose, inverse, inverse_transpose };

/// Whether an action of A goes with tensors of T; a mistake is said once, here, and by what asks
/// before it instantiates more, alone.
template <class A, class T>
consteval bool goes_with_tensor() {
  static_assert(std::same_as<A, accumulation_t<T>>,
                "grape: a RotationAction<float> rotates float, half and bfloat16 tensors, a "
                "RotationAction<double> rotates double tensors");
  return std::same_as<A, accumulation_t<T>>;
}

/// Whether it can turn them in place.
template <class A, class T>
consteval bool turns_tensor() {
  static_assert(!std::is_const_v<T>,
                "grape: a rotation works in place: pass a view of elements that are not const");
  return goes_with_tensor<A, T>() && !std::is_const_v<T>;
}

/// Checks that a view fits the action; the checks are few, since a decode step rotates very little.
template <Accumulator A, Element T>
void check_rotation(const RotationAction<A>& action, const TensorView<T>& x,
                    std::string_view argument) {
  static_cast<void>(goes_with_tensor<A, T>());
  if (x.seq() != action.seq()) [[unlikely]] {
    fail(text(argument, " seq"), text(x.seq(), " tokens"),
         text("the ", action.seq(), " positions of the action"));
  }
  if (action.batch() != 1 && x.batch() != action.batch()) [[unlikely]] {
    fail(text(argument, " batch"), text(x.batch()),
         text("the batch ", action.batch(), " of the action's positions"));
  }
  if (action.has_frame() && x.dim() != action.frame_dim()) [[unlikely]] {
    fail(text(argument, " dim"), text(x.dim()),
         text("the ", action.frame_dim(), " coordinates of the action's frame"));
  }
  if (x.dim() < action.required_dim()) [[unlikely]] {
    fail(text(argument, " dim"), text(x.dim()),
         text("at least ", action.required_dim(), " (first rotated coordinate ",
              action.first_coordinate(), " + rotary_dim ", 2 * action.planes(), ")"));
  }
  check_heads(argument, x.heads(), action.sets());
}

template <class T, class U>
void check_same_shape(const TensorView<T>& got, const TensorView<U>& wanted,
                      std::string_view argument) {
  constexpr std::array<std::string_view, 4> kAxes{"batch", "seq", "heads", "dim"};
  for (std::size_t a = 0; a < 4; ++a) {
    if (got.extent(a) != wanted.extent(a)) {
      fail(text(argument, " ", kAxes[a]), text(got.extent(a)), text(wanted.extent(a)));
    }
  }
}

/// An output must be its input, element by element, or share nothing with it.
template <class T, class U>
void check_alias(const TensorView<T>& in, const TensorView<U>& out, std::string_view argument) {
  bool same = static_cast<const void*>(in.data()) == out.data();
  for (std::size_t a = 0; a < 4; ++a) {  // an axis of one entry has no stride
    same = same && (in.extent(a) == 1 || in.stride(a) == out.stride(a));
  }
  if (!same && share_elements(in, out)) {
    fail(argument, "a view that shares elements with the input",
         "the very same view, or one that does not overlap");
  }
}

/// Rotates tokens [begin, begin + count) of batch entry b by their rows.
template <bool inverse, class T, class A>
void rotate_tile(const RotationAction<A>& action, const A* rows, const TensorView<T>& x, Index b,
                 Index begin, Index count) {
  const Index sets = action.sets();
  const Index heads = sets == 1 ? x.heads() : x.heads() / sets;  // of one parameter set
  RotationTile<T> tile{&x(b, begin, 0, action.first_coordinate()),
                       x.stride(1),
                       x.stride(2),
                       x.stride(3),
                       rows,
                       action.row_size(),
                       count,
                       heads,
                       action.turning_planes(),
                       action.planes()};
  for (Index set = 0; set < sets; ++set) {
    if (action.pairing() == Pairing::half_split) {
      rotate_rows<Pairing::half_split, inverse>(tile);
    } else {
      rotate_rows<Pairing::interleaved, inverse>(tile);
    }
    tile.x += heads * tile.head_step;
    tile.rows += 2 * tile.turning;
  }
}

/// Turns x in place, after a call of before(b, begin, count) for each run of tokens.
template <Turning turning, class T, class A, Executor E, class Before>
void rotate_after(const RotationAction<A>& action, const TensorView<T>& x, const E& executor,
                  Before before) {
  constexpr bool kInverse = turning == Turning::transpose || turning == Turning::inverse;
  constexpr bool kDivided = turning == Turning::inverse || turning == Turning::inverse_transpose;
  constexpr Index kTask = 128;  // tokens of a task
  // Few enough tokens that their rows stay in the nearest cache while heads go over them.
  constexpr Index kTile = 32;
  const double factor = action.attention_factor();
  const double scale = kDivided ? 1 / (factor * factor) : 1.0;
  if (action.has_frame()) {
    rotate_frames<kInverse>(action, x, static_cast<A>(scale), executor, before);
    return;
  }
  const auto one_tile = [&](Index b, Index begin, Index count) {
    before(b, begin, count);
    const A* rows = action.rows(b, begin);
    if constexpr (kDivided) {
      if (scale != 1) {
        std::vector<A> scaled(rows, rows + count * action.row_size());
        for (A& entry : scaled) entry *= static_cast<A>(scale);
        rotate_tile<kInverse>(action, scaled.data(), x, b, begin, count);
        return;
      }
    }
    rotate_tile<kInverse>(action, rows, x, b, begin, count);
  };
  const Index tasks = (x.seq() + kTask - 1) / kTask;
  executor.run(x.batch() * tasks, [&](Index i) {
    Index b = i, begin = 0, end = x.seq();
    if (tasks != 1) {  // a division is felt in a decode step
      b = i / tasks;
      begin = (i - b * tasks) * kTask;
      end = (std::min)(end, begin + kTask);
    }
    for (Index t = begin; t < end; t += kTile) one_tile(b, t, (std::min)(kTile, end - t));
  });
}

template <Turning turning, class T, class A, Executor E>
void rotate(const RotationAction<A>& action, const TensorView<T>& x, const E& executor) {
  if constexpr (turns_tensor<A, T>()) {
    rotate_after<turning>(action, x, executor, [](Index, Index, Index) {});
  }
}

/// y = turned x: a tile is copied and turned while it is in the nearest cache.
template <Turning turning, class T, class A, Executor E>
void rotate(const RotationAction<A>& action, const TensorView<const T>& x, const TensorView<T>& y,
            const E& executor) {
  if (x.data() == y.data()) return rotate<turning>(action, y, executor);
  rotate_after<turning>(action, y, executor, [&](Index b, Index begin, Index count) {
    for (Index t = begin; t < begin + count; ++t) {
      for (Index h = 0; h < x.heads(); ++h) {
        for (Index d = 0; d < x.dim(); ++d) y(b, t, h, d) = x(b, t, h, d);
      }
    }
  });
}

/// The torque of every plane of a token's head: <d_out, J out> in plane m, J = [[0, -1], [1, 0]].
/// With out = a R(phi) x it is the derivative of the loss with respect to the angle phi.
template <class T, class A>
void plane_torques(const RotationAction<A>& action, const TensorView<const T>& out,
                   const TensorView<const T>& d_out, Index b, Index t, Index h, double* torque) {
  const auto value = [&](const TensorView<const T>& v, Index d) {
    return static_cast<double>(widen(v(b, t, h, d)));
  };
  for (Index m = 0; m < action.planes(); ++m) {
    const PlaneCoordinates c = plane_coordinates(action.pairing(), m, action.planes());
    const Index i0 = action.first_coordinate() + c.first;
    const Index i1 = action.first_coordinate() + c.second;
    torque[m] = value(d_out, i1) * value(out, i0) - value(d_out, i0) * value(out, i1);
  }
}

/// d_theta[frequency set, plane] += sum over tokens and heads of position * torque.
template <class T, class A, Executor E>
void accumulate_frequency_gradient(const RotationAction<A>& action, const TensorView<const T>& out,
                                   const TensorView<const T>& d_out, double* d_theta,
                                   const E& executor) {
  if (action.has_frame()) {
    accumulate_frame_frequency_gradient<T>(action, out, d_out, d_theta, executor);
    return;
  }
  const Index sets = action.sets(), planes = action.planes(), tokens = out.batch() * out.seq();
  const Index parameters = action.frequency_sets() * planes;
  // Partial sums over fixed runs of tokens, added in order: the same bits on any executor.
  const Index parts = std::min<Index>(tokens, 64);
  std::vector<double> partial(static_cast<std::size_t>(parts * (parameters + planes)), 0.0);
  executor.run(parts, [&](Index part) {
    double* sum = partial.data() + part * (parameters + planes);
    double* torque = sum + parameters;
    for (Index i = tokens * part / parts; i < tokens * (part + 1) / parts; ++i) {
      const Index b = i / out.seq(), t = i % out.seq();
      for (Index h = 0; h < out.heads(); ++h) {
        const Index set = parameter_set(h, out.heads(), sets);
        double* row = sum + action.frequency_set(set) * planes;
        plane_torques(action, out, d_out, b, t, h, torque);
        for (Index m = 0; m < planes; ++m) row[m] += action.position(b, t, set, m) * torque[m];
      }
    }
  });
  for (Index part = 0; part < parts; ++part) {
    const double* sum = partial.data() + part * (parameters + planes);
    for (Index p = 0; p < parameters; ++p) d_theta[p] += sum[p];
  }
}

/// d_position[batch of the action, seq, channel] += sum over heads (and over the batch of the
/// tensor where it shares positions) and planes of theta * torque.
template <class T, class A, Executor E>
void accumulate_position_gradient(const RotationAction<A>& action, const TensorView<const T>& out,
                                  const TensorView<const T>& d_out, double* d_position,
                                  const E& executor) {
  if (action.has_frame()) {
    accumulate_frame_position_gradient<T>(action, out, d_out, d_position, executor);
    return;
  }
  constexpr Index kTask = 32;  // tokens of a task
  const Index sets = action.sets(), planes = action.planes(), channels = action.channels();
  const Index tokens = action.batch() * action.seq();
  const Index shared = action.batch() == 1 ? out.batch() : 1;
  executor.run((tokens + kTask - 1) / kTask, [&](Index task) {
    std::vector<double> torque(static_cast<std::size_t>(planes));
    for (Index i = task * kTask; i < (std::min)(tokens, (task + 1) * kTask); ++i) {
      const Index first = i / action.seq(), t = i % action.seq();
      for (Index b = first; b < first + shared; ++b) {
        for (Index h = 0; h < out.heads(); ++h) {
          const Index set = parameter_set(h, out.heads(), sets);
          plane_torques(action, out, d_out, b, t, h, torque.data());
          for (Index m = 0; m < planes; ++m) {
            d_position[i * channels + action.channel(set, m)] +=
                action.frequency(set, m) * torque[static_cast<std::size_t>(m)];
          }
        }
      }
    }
  });
}

}  // namespace detail
}  // namespace grape::inline v0
