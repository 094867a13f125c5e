// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <complex>
#include <cstddef>
#include <vector>

#include "grape/apply/detail/product.hpp"
#include "grape/apply/detail/projected_rows.hpp"
#include "grape/core/detail/late.hpp"
#include "grape/core/executor.hpp"
#include "grape/core/scalar.hpp"
#include "grape/core/view.hpp"
#include "grape/encoder/rotation_action.hpp"

namespace grape::inline v0 {
namespace detail {

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

}  // namespace detail
}  // namespace grape::inline v0
