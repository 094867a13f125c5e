// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <complex>
#include <cstddef>
#include <type_traits>
#include <utility>
#include <vector>

#include "grape/apply/detail/convert.hpp"
#include "grape/apply/detail/product.hpp"
#include "grape/core/detail/late.hpp"
#include "grape/core/executor.hpp"
#include "grape/core/scalar.hpp"
#include "grape/core/view.hpp"
#include "grape/encoder/rotation_action.hpp"

namespace grape::inline v0 {
namespace detail {

using RowMatrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// Where a row stands.
struct RowToken {
  Index batch, token;
};

/// Rows of `out` and `d_out` (tokens and heads of one parameter set) as doubles, and their
/// coordinates in the frame: u = F^T out, v = F^T d_out. M is RowMatrix: a parameter, so that
/// Eigen's products are compiled where a gradient is called, not wherever this header is included.
template <class M>
struct ProjectedRows {
  Index count = 0;
  std::vector<RowToken> tokens;  // of each row
  M out, d_out;                  // [rows, d]
  M u, v;                        // [rows, columns], columns even: an odd frame gets one of zeros
};

/// The planes of one set at one token: cosines and sines with the attention factor.
template <class A>
struct PlaneTable {
  const A* cosines;
  const A* sines;
  Index turning;
  double cos(Index m) const { return m < turning ? static_cast<double>(cosines[m]) : 1.0; }
  double sin(Index m) const { return m < turning ? static_cast<double>(sines[m]) : 0.0; }
};

template <class A>
PlaneTable<A> plane_table(const RotationAction<A>& action, const RowToken& at, Index set) {
  const Index turning = action.turning_planes();
  const A* row = action.rows(at.batch, at.token) + set * 2 * turning;
  return {row, row + turning, turning};
}

/// The frame of a set as doubles, [columns, d], columns rounded up to an even number by zeros.
template <class A, class M = RowMatrix>
M wide_frame(const RotationAction<A>& action, Index set) {
  const Index columns = action.frame_columns(), d = action.frame_dim();
  M out = M::Zero(columns + columns % 2, d);
  for (Index k = 0; k < columns; ++k) {
    for (Index i = 0; i < d; ++i) {
      out(k, i) = static_cast<double>(action.frame(set)[k * d + i]);
    }
  }
  return out;
}

/// Calls visit(rows) for all rows of tokens [begin, end) of batch * seq and of the set's heads.
template <class T, class A, class M, class Visit>
void for_projected_rows(const RotationAction<A>& action, const M& frame, Index set,
                        const TensorView<const T>& out, const TensorView<const T>& d_out,
                        Index begin, Index end, Visit visit) {
  constexpr Index kRows = kProductRows;
  const Index heads = out.heads() / action.sets(), d = action.frame_dim();
  ProjectedRows<M> rows;
  rows.tokens.resize(static_cast<std::size_t>(kRows));
  rows.out.resize(kRows, d);
  rows.d_out.resize(kRows, d);
  const auto flush = [&] {
    rows.u.setZero(rows.count, frame.rows());
    rows.v.setZero(rows.count, frame.rows());
    add_product(rows.u, 1, rows.out.topRows(rows.count), frame.transpose());
    add_product(rows.v, 1, rows.d_out.topRows(rows.count), frame.transpose());
    visit(std::as_const(rows));
    rows.count = 0;
  };
  for (Index i = begin; i < end; ++i) {
    const Index b = i / out.seq(), t = i % out.seq();
    for (Index h = set * heads; h < (set + 1) * heads; ++h) {
      rows.tokens[static_cast<std::size_t>(rows.count)] = {b, t};
      for (Index k = 0; k < d; ++k) {
        rows.out(rows.count, k) = static_cast<double>(widen(out(b, t, h, k)));
        rows.d_out(rows.count, k) = static_cast<double>(widen(d_out(b, t, h, k)));
      }
      if (++rows.count == kRows) flush();
    }
  }
  if (rows.count != 0) flush();
}

/// Sums over rows: `direct` [columns, d] of products with whole rows, `within` [columns, columns]
/// of products within the frame, which stands for within^T F^T.
template <class M>
struct FrameSums {
  M direct, within;
};

/// d_frame [frequency sets, columns, d] += what add(set, rows, sums) gathers over all rows. Partial
/// sums over fixed runs of tokens, added in order: the same bits on any executor.
template <class T, class A, Executor E, class Add>
void accumulate_frame_sums(const RotationAction<A>& action, const TensorView<const T>& out,
                           const TensorView<const T>& d_out, double* d_frame, const E& executor,
                           Add add) {
  const Index sets = action.sets(), columns = action.frame_columns(), d = action.frame_dim();
  const Index tokens = out.batch() * out.seq();
  const Index parts = (std::min)(std::max<Index>(1, 16 / sets), tokens);
  using Sum = late_t<RowMatrix, A>;
  std::vector<Sum> partial(static_cast<std::size_t>(sets * parts));
  executor.run(sets * parts, [&](Index task) {
    const Index set = task / parts, part = task % parts;
    const auto frame = wide_frame(action, set);
    using M = std::remove_cvref_t<decltype(frame)>;
    FrameSums<M> sums{M::Zero(frame.rows(), d), M::Zero(frame.rows(), frame.rows())};
    for_projected_rows<T>(action, frame, set, out, d_out, tokens * part / parts,
                          tokens * (part + 1) / parts,
                          [&](const auto& rows) { add(set, rows, sums); });
    add_product(sums.direct, 1, sums.within.transpose(), frame);
    partial[static_cast<std::size_t>(task)] = std::move(sums.direct);
  });
  for (Index task = 0; task < sets * parts; ++task) {
    const Sum& sum = partial[static_cast<std::size_t>(task)];
    double* to = d_frame + action.frequency_set(task / parts) * columns * d;
    for (Index i = 0; i < columns * d; ++i) to[i] += sum.data()[i];
  }
}

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

/// (e^{i delta} - 1) / (i delta), the mean of e^{i s delta} over s in [0, 1], from delta and, where
/// that is large, cos and sin of delta: no division by what is small, so that planes of equal
/// frequencies are no exception.
inline std::complex<double> mean_turn(double delta, double cosine, double sine) {
  if (std::fabs(delta) >= 1) return {sine / delta, (1 - cosine) / delta};
  // Taylor sums of sin(delta) / delta and (1 - cos delta) / delta; 1 / 19! < 2^-56.
  const double z = delta * delta;
  constexpr double kSine[] = {1.0,
                              -1.0 / 6,
                              1.0 / 120,
                              -1.0 / 5040,
                              1.0 / 362880,
                              -1.0 / 39916800,
                              1.0 / 6227020800,
                              -1.0 / 1307674368e3,
                              1.0 / 355687428096e3};
  constexpr double kVersine[] = {1.0 / 2,
                                 -1.0 / 24,
                                 1.0 / 720,
                                 -1.0 / 40320,
                                 1.0 / 3628800,
                                 -1.0 / 479001600,
                                 1.0 / 87178291200,
                                 -1.0 / 20922789888e3,
                                 1.0 / 6402373705728e3};
  double on_real = 0, on_imaginary = 0;
  for (int k = 9; k-- > 0;) {
    on_real = on_real * z + kSine[k];
    on_imaginary = on_imaginary * z + kVersine[k];
  }
  return {on_real, delta * on_imaginary};
}

/// mean_turn of the differences and of the sums of all pairs of a token's plane angles, and of the
/// angles. (A template like all that is compiled only where a gradient is called.)
template <class Complex>
class PairMeans {
 public:
  explicit PairMeans(Index planes)
      : planes_(planes),
        single_(static_cast<std::size_t>(planes)),
        difference_(static_cast<std::size_t>(planes * planes)),
        sum_(difference_.size()) {}

  template <class A, class AngleSpeed>
  void assign(const PlaneTable<A>& table, double position, AngleSpeed speed) {
    for (Index j = 0; j < planes_; ++j) {
      const double cj = table.cos(j), sj = table.sin(j);
      single_[static_cast<std::size_t>(j)] = mean_turn(position * speed(j), cj, sj);
      for (Index k = j; k < planes_; ++k) {
        const double ck = table.cos(k), sk = table.sin(k);
        const auto difference =
            mean_turn(position * (speed(j) - speed(k)), cj * ck + sj * sk, sj * ck - cj * sk);
        difference_[at(j, k)] = difference;
        difference_[at(k, j)] = std::conj(difference);
        sum_[at(j, k)] = sum_[at(k, j)] =
            mean_turn(position * (speed(j) + speed(k)), cj * ck - sj * sk, sj * ck + cj * sk);
      }
    }
  }

  const Complex& single(Index j) const { return single_[static_cast<std::size_t>(j)]; }
  const Complex& difference(Index j, Index k) const { return difference_[at(j, k)]; }
  const Complex& sum(Index j, Index k) const { return sum_[at(j, k)]; }

 private:
  std::size_t at(Index j, Index k) const { return static_cast<std::size_t>(j * planes_ + k); }
  Index planes_;
  std::vector<Complex> single_, difference_, sum_;
};

/// d_planes += Z = (E - E^T) F for E = d loss / dL, L any skew generator: d loss = <E, dL>. With
/// q(s) = exp(s n L) x, p(s) = exp(-(1 - s) n L) g, E = n int_0^1 p q^T ds. Outside of the frame p
/// and q stand still; within, plane j is a complex number that turns, and the products of two
/// planes' numbers turn by the difference and by the sum of their angles.
template <class T, class A, Executor E>
void accumulate_plane_gradient(const RotationAction<A>& action, const TensorView<const T>& out,
                               const TensorView<const T>& d_out, double* d_planes,
                               const E& executor) {
  using Complex = late_t<std::complex<double>, A>;
  const auto add = [&]<class M>(Index set, const ProjectedRows<M>& rows, FrameSums<M>& sums) {
    const Index columns = sums.within.rows(), planes = columns / 2;
    M mean_u(rows.count, columns), mean_v(rows.count, columns);
    M inner(columns, columns);
    PairMeans<Complex> means(planes);
    RowToken last{-1, -1};
    for (Index i = 0; i < rows.count; ++i) {
      const auto at = rows.tokens[static_cast<std::size_t>(i)];
      const double n = action.position(at.batch, at.token, set, 0);
      if (at.batch != last.batch || at.token != last.token) {
        means.assign(plane_table(action, at, set), n,
                     [&](Index m) { return m < action.planes() ? action.frequency(set, m) : 0.0; });
        last = at;
      }
      const auto plane = [i](const M& x, Index m) { return Complex(x(i, 2 * m), x(i, 2 * m + 1)); };
      for (Index j = 0; j < planes; ++j) {
        const Complex u = plane(rows.u, j) * std::conj(means.single(j));
        const Complex v = plane(rows.v, j) * std::conj(means.single(j));
        mean_u(i, 2 * j) = n * u.real();
        mean_u(i, 2 * j + 1) = n * u.imag();
        mean_v(i, 2 * j) = n * v.real();
        mean_v(i, 2 * j + 1) = n * v.imag();
        for (Index k = 0; k < planes; ++k) {
          const Complex v_j = plane(rows.v, j), u_k = plane(rows.u, k);
          const Complex a = v_j * std::conj(u_k * means.difference(j, k));
          const Complex b = v_j * u_k * std::conj(means.sum(j, k));
          inner(2 * j, 2 * k) = n * (a.real() + b.real()) / 2;
          inner(2 * j + 1, 2 * k + 1) = n * (a.real() - b.real()) / 2;
          inner(2 * j + 1, 2 * k) = n * (a.imag() + b.imag()) / 2;
          inner(2 * j, 2 * k + 1) = n * (b.imag() - a.imag()) / 2;
        }
      }
      sums.within += inner - inner.transpose();
    }
    // Whole rows instead of their parts outside of the frame; what that adds within it goes off.
    add_product(sums.direct, 1, mean_u.transpose(), rows.d_out.topRows(rows.count));
    add_product(sums.direct, -1, mean_v.transpose(), rows.out.topRows(rows.count));
    add_product(sums.within, -1, rows.v.transpose(), mean_u);
    add_product(sums.within, 1, rows.u.transpose(), mean_v);
  };
  accumulate_frame_sums<T>(action, out, d_out, d_planes, executor, add);
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
