// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <type_traits>

namespace grape::inline v0 {

/// The functions of Rodrigues' formula (section 2.3 and appendix I), for any scalar with sin, cos
/// and sqrt: float, double, Eigen::AutoDiffScalar.
///
///   exp(t L) = I + f1 L + f2 L^2,   f1 = sin(t s) / s,   f2 = (1 - cos(t s)) / s^2,
///
/// for L^3 = -s^2 L. Both are entire functions of w = (t s)^2, and so they are differentiated
/// through w (or Delta = s^2): s = 0 is no pole. For w <= 1 each is its Taylor sum, with as many
/// terms as the scalar can see; above, the closed form, which has nothing to cancel there. Errors
/// are a few epsilon of the value, near the zeros of the trigonometric functions a few epsilon of
/// their envelope.

namespace detail {

template <class T>
struct TaylorTerms {
  static constexpr int value = 10;  // 1 / 21! < 2^-65
};
template <>
struct TaylorTerms<float> {
  static constexpr int value = 6;  // 1 / 13! < 2^-32
};

/// sum_k (-w)^k / (2 k + offset)! over `terms` terms: sinc for offset 1, versinc for offset 2.
template <int offset, class T>
T taylor(const T& w) {
  T sum(1);
  for (int k = TaylorTerms<T>::value - 1; k >= 1; --k) {
    sum = T(1) - w * sum / T((2 * k + offset) * (2 * k + offset - 1));
  }
  return offset == 2 ? T(sum / T(2)) : sum;
}

/// The derivative of taylor<offset> in w: sum_k -(k + 1) (-w)^k / (2 k + 2 + offset)!.
template <int offset, class T>
T taylor_derivative(const T& w) {
  T sum(1);
  for (int k = TaylorTerms<T>::value - 1; k >= 1; --k) {
    const T ratio = T(k + 1) / T(k * (2 * k + 2 + offset) * (2 * k + 1 + offset));
    sum = T(1) - w * sum * ratio;
  }
  return T(-sum / T(offset == 1 ? 6 : 24));
}

}  // namespace detail

/// sin(z) / z at z^2 = w.
template <class T>
T sinc_of_square(const T& w) {
  using std::sin;
  using std::sqrt;
  if (w <= T(1)) return detail::taylor<1, T>(w);
  const T z = sqrt(w);
  return T(sin(z) / z);
}

/// (1 - cos z) / z^2 at z^2 = w, as (1/2) sinc(z / 2)^2: no cancellation.
template <class T>
T versinc_of_square(const T& w) {
  if (w <= T(1)) return detail::taylor<2, T>(w);
  const T half = sinc_of_square(T(w / T(4)));
  return T(half * half / T(2));
}

/// d sinc_of_square / dw = (cos z - sinc z) / (2 w).
template <class T>
T sinc_of_square_derivative(const T& w) {
  using std::cos;
  using std::sqrt;
  if (w <= T(1)) return detail::taylor_derivative<1, T>(w);
  return T((cos(T(sqrt(w))) - sinc_of_square(w)) / (T(2) * w));
}

/// d versinc_of_square / dw = (sinc z - 2 versinc z) / (2 w).
template <class T>
T versinc_of_square_derivative(const T& w) {
  if (w <= T(1)) return detail::taylor_derivative<2, T>(w);
  return T((sinc_of_square(w) - T(2) * versinc_of_square(w)) / (T(2) * w));
}

/// sin(z) / z.
template <class T>
T sinc(const T& z) {
  using std::sin;
  const T w = z * z;
  return w <= T(1) ? detail::taylor<1, T>(w) : T(sin(z) / z);
}

/// f1 and f2 at t and Delta = s^2, with what their derivatives need.
template <class T>
struct RodriguesFactors {
  T f1;         ///< sin(t s) / s = t sinc(t s)
  T f2;         ///< (1 - cos(t s)) / s^2 = t^2 versinc(t s)
  T f1_dt;      ///< d f1 / dt = cos(t s)
  T f2_dt;      ///< d f2 / dt = f1
  T f1_ddelta;  ///< d f1 / d Delta; d f1 / ds is 2 s times it
  T f2_ddelta;  ///< d f2 / d Delta
};

/// The factors of Rodrigues' formula. Delta >= 0 (rounding may leave it slightly negative).
template <class T>
RodriguesFactors<T> rodrigues(const T& t, const T& delta) {
  const T t2 = t * t;
  const T w = t2 * delta;
  const T f1 = t * sinc_of_square(w);
  const T f2 = t2 * versinc_of_square(w);
  return {f1,
          f2,
          T(T(1) - delta * f2),
          f1,
          T(t2 * t * sinc_of_square_derivative(w)),
          T(t2 * t2 * versinc_of_square_derivative(w))};
}

}  // namespace grape::inline v0
