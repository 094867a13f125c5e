// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "grape/apply/detail/product.hpp"
#include "grape/apply/detail/projected_rows.hpp"
#include "grape/core/executor.hpp"
#include "grape/core/scalar.hpp"
#include "grape/core/view.hpp"
#include "grape/encoder/rotation_action.hpp"

namespace grape::inline v0 {
namespace detail {

/// d_frame += the gradient for F of y = x + F (a R - I) F^T x, every entry of F for itself: with
/// K = a R - I it is g (K F^T x)^T + x (K^T F^T g)^T for each row, and x = y - F K F^T x.
template <class T, class A, Executor E>
void accumulate_frame_gradient(const RotationAction<A>& action, const TensorView<const T>& out,
                               const TensorView<const T>& d_out, double* d_frame,
                               const E& executor) {
  const double factor = action.attention_factor(), square = factor * factor;
  const auto add = [&]<class M>(Index set, const ProjectedRows<M>& rows, FrameSums<M>& sums) {
    M p = M::Zero(rows.count, sums.within.rows()), q = p;
    for (Index i = 0; i < rows.count; ++i) {
      const auto table = plane_table(action, rows.tokens[static_cast<std::size_t>(i)], set);
      for (Index m = 0; m < table.turning; ++m) {
        const double c = table.cos(m), s = table.sin(m);
        const double u0 = rows.u(i, 2 * m), u1 = rows.u(i, 2 * m + 1);
        const double v0 = rows.v(i, 2 * m), v1 = rows.v(i, 2 * m + 1);
        p(i, 2 * m) = u0 - (c * u0 + s * u1) / square;
        p(i, 2 * m + 1) = u1 - (c * u1 - s * u0) / square;
        q(i, 2 * m) = c * v0 + s * v1 - v0;
        q(i, 2 * m + 1) = c * v1 - s * v0 - v1;
      }
    }
    add_product(sums.direct, 1, p.transpose(), rows.d_out.topRows(rows.count));
    add_product(sums.direct, 1, q.transpose(), rows.out.topRows(rows.count));
    add_product(sums.within, -1, p.transpose(), q);
  };
  accumulate_frame_sums<T>(action, out, d_out, d_frame, executor, add);
}

/// <d_out, J out> in plane m of a row: the derivative of the loss with respect to its angle.
template <class M>
double torque(const ProjectedRows<M>& rows, Index i, Index m) {
  return rows.v(i, 2 * m + 1) * rows.u(i, 2 * m) - rows.v(i, 2 * m) * rows.u(i, 2 * m + 1);
}

/// d_theta[frequency set, plane] += sum over rows of position * torque.
template <class T, class A, Executor E>
void accumulate_frame_frequency_gradient(const RotationAction<A>& action,
                                         const TensorView<const T>& out,
                                         const TensorView<const T>& d_out, double* d_theta,
                                         const E& executor) {
  const Index sets = action.sets(), planes = action.planes(), tokens = out.batch() * out.seq();
  const Index parts = (std::min)(std::max<Index>(1, 64 / sets), tokens);
  std::vector<double> partial(static_cast<std::size_t>(sets * parts * planes), 0.0);
  executor.run(sets * parts, [&](Index task) {
    const Index set = task / parts, part = task % parts;
    double* sum = partial.data() + task * planes;
    for_projected_rows<T>(action, wide_frame(action, set), set, out, d_out, tokens * part / parts,
                          tokens * (part + 1) / parts, [&](const auto& rows) {
                            for (Index i = 0; i < rows.count; ++i) {
                              const auto at = rows.tokens[static_cast<std::size_t>(i)];
                              for (Index m = 0; m < planes; ++m) {
                                sum[m] += action.position(at.batch, at.token, set, m) *
                                          torque(rows, i, m);
                              }
                            }
                          });
  });
  for (Index task = 0; task < sets * parts; ++task) {
    const Index set = task / parts;
    for (Index m = 0; m < planes; ++m) {
      d_theta[action.frequency_set(set) * planes + m] +=
          partial[static_cast<std::size_t>(task * planes + m)];
    }
  }
}

/// d_position[batch of the action, seq, channel] += sum over rows (and over the batch of the tensor
/// where it shares positions) and planes of theta * torque.
template <class T, class A, Executor E>
void accumulate_frame_position_gradient(const RotationAction<A>& action,
                                        const TensorView<const T>& out,
                                        const TensorView<const T>& d_out, double* d_position,
                                        const E& executor) {
  constexpr Index kTask = 32;  // tokens of a task
  const Index seq = action.seq(), tasks = (seq + kTask - 1) / kTask;
  const Index shared = action.batch() == 1 ? out.batch() : 1;
  executor.run(action.batch() * tasks, [&](Index task) {
    const Index first = task / tasks, begin = task % tasks * kTask;
    const Index end = (std::min)(seq, begin + kTask);
    for (Index set = 0; set < action.sets(); ++set) {
      const auto frame = wide_frame(action, set);
      const auto add = [&](const auto& rows) {
        for (Index i = 0; i < rows.count; ++i) {
          const Index token = rows.tokens[static_cast<std::size_t>(i)].token;
          double* to = d_position + (first * seq + token) * action.channels();
          for (Index m = 0; m < action.planes(); ++m) {
            to[action.channel(set, m)] += action.frequency(set, m) * torque(rows, i, m);
          }
        }
      };
      for (Index b = first; b < first + shared; ++b) {
        for_projected_rows<T>(action, frame, set, out, d_out, b * seq + begin, b * seq + end, add);
      }
    }
  });
}

}  // namespace detail
}  // namespace grape::inline v0
