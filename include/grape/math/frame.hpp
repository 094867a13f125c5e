// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <Eigen/Core>
#include <Eigen/LU>
#include <Eigen/QR>
#include <algorithm>
#include <limits>
#include <string_view>
#include <type_traits>

#include "grape/core/error.hpp"
#include "grape/core/scalar.hpp"
#include "grape/math/scaled_columns.hpp"

namespace grape::inline v0 {

/// A frame: orthonormal columns F [d, k], k <= d, F^T F = I. Columns 2m and 2m + 1 span plane m.
using FrameMatrix = Eigen::MatrixXd;

namespace detail {

inline void check_frame_shape(std::string_view argument, const FrameMatrix& x) {
  if (x.rows() < 1 || x.cols() > x.rows()) {
    fail(argument, text("a ", x.rows(), " x ", x.cols(), " matrix"),
         "[d, k] with d >= 1 and k <= d");
  }
  for (Index j = 0; j < x.cols(); ++j) {
    for (Index i = 0; i < x.rows(); ++i) {
      if (!is_finite(x(i, j))) {
        fail(text(argument, "(", i, ", ", j, ")"), text(x(i, j)), "a finite number");
      }
    }
  }
}

inline void check_gradient_shape(const FrameMatrix& d_frame, const FrameMatrix& parameters) {
  if (d_frame.rows() != parameters.rows() || d_frame.cols() != parameters.cols()) {
    fail("d_frame", text("a ", d_frame.rows(), " x ", d_frame.cols(), " matrix"),
         text(parameters.rows(), " x ", parameters.cols()));
  }
}

/// The reflectors' columns at unit length. A column is scaled by its largest entry first, so that
/// no square overflows or vanishes. Throws ArgumentError for a column of zeros.
template <class M>
M unit_columns(const M& reflectors) {
  check_frame_shape("reflectors", reflectors);
  M out = reflectors;
  for (Index j = 0; j < out.cols(); ++j) {
    const double largest = out.col(j).cwiseAbs().maxCoeff();
    if (largest == 0) fail(text("reflectors column ", j), "zeros", "a direction to reflect");
    out.col(j) /= largest;
    out.col(j).normalize();
  }
  return out;
}

/// A thin QR decomposition with R's diagonal > 0, which makes it unique.
template <class M>
struct ThinQr {
  M q, r;
};
template <class M>
ThinQr<M> thin_qr(const M& x) {
  const Index k = x.cols();
  const Eigen::HouseholderQR<M> qr(x);
  ThinQr<M> out{qr.householderQ() * M::Identity(x.rows(), k),
                qr.matrixQR().topRows(k).template triangularView<Eigen::Upper>()};
  for (Index j = 0; j < k; ++j) {
    if (out.r(j, j) < 0) {
      out.q.col(j) *= -1;
      out.r.row(j) *= -1;
    }
  }
  return out;
}

/// The same of columns that are linearly independent, scaled so that their squares neither overflow
/// nor vanish; throws ArgumentError where one depends on those before it.
template <class M>
ThinQr<M> independent_qr(const ScaledColumns<M>& scaled) {
  ThinQr<M> qr = thin_qr(scaled.columns);
  for (Index j = 0; j < qr.q.cols(); ++j) {
    const double rounding = static_cast<double>(qr.q.rows()) *
                            std::numeric_limits<double>::epsilon() * scaled.columns.col(j).norm();
    if (!(qr.r(j, j) > rounding)) {
      fail(text("columns(.., ", j, ")"), "a combination of the columns before it",
           "columns that are linearly independent");
    }
  }
  return qr;
}

/// S = I - B / 2 + C^T C / 4, B the skew matrix of the strictly lower triangle of the first k rows,
/// C the rows below: S + S^T >= 2 I, so that it has an inverse whatever the parameters are.
template <class M>
M cayley_middle(const M& parameters) {
  check_frame_shape("parameters", parameters);
  const Index k = parameters.cols();
  M s = M::Identity(k, k);
  const M lower = parameters.topRows(k).template triangularView<Eigen::StrictlyLower>();
  const auto c = parameters.bottomRows(parameters.rows() - k);
  s -= (lower - lower.transpose()) / 2;
  s.noalias() += c.transpose() * c / 4;
  for (Index i = 0; i < s.size(); ++i) {
    if (!is_finite(s.data()[i])) {
      fail("parameters", "entries whose squares overflow", "entries of at most 10^150");
    }
  }
  return s;
}

template <class M>
using Row = Eigen::Matrix<typename M::Scalar, 1, Eigen::Dynamic>;
template <class M>
using Column = Eigen::Matrix<typename M::Scalar, Eigen::Dynamic, 1>;

}  // namespace detail

/// Ways to make a frame from parameters that nothing constrains, so that an optimiser may move them
/// freely, each orthonormal to a few k epsilon, with its VJP beside it: from d_frame, the gradient
/// for F (any matrix: only its part along the frames matters), the gradient for the parameters, of
/// their shape. Shapes that do not fit and entries that are not finite throw ArgumentError.
///
/// M is FrameMatrix. These are templates so that decompositions are compiled where one is called,
/// not wherever this header is included.
namespace frame {

/// The largest entry of |F^T F - I|.
template <class M = FrameMatrix>
double orthonormality_error(const std::type_identity_t<M>& f) {
  if (f.cols() == 0) return 0;
  const M gram = f.transpose() * f;
  return (gram - M::Identity(f.cols(), f.cols())).cwiseAbs().maxCoeff();
}

/// F = H_1 .. H_k E, a product of k reflections H_i = I - 2 v_i v_i^T / |v_i|^2 whose v_i are the
/// columns of `reflectors` [d, k] (any length but 0), E the first k columns of I. Every frame of an
/// even k can be reached, and v_i = e_i gives -E: the coordinate planes. O(d k^2).
template <class M = FrameMatrix>
M householder(const std::type_identity_t<M>& reflectors) {
  const M v = detail::unit_columns(reflectors);
  M f = M::Identity(v.rows(), v.cols());
  for (Index i = v.cols(); i-- > 0;) {
    const detail::Row<M> on_v = 2 * v.col(i).transpose() * f;
    f.noalias() -= v.col(i) * on_v;
  }
  return f;
}

/// The gradient for `reflectors` from d_frame, both of its shape.
template <class M = FrameMatrix>
M householder_vjp(const std::type_identity_t<M>& reflectors,
                  const std::type_identity_t<M>& d_frame) {
  const M v = detail::unit_columns(reflectors);
  detail::check_gradient_shape(d_frame, reflectors);
  M out(v.rows(), v.cols()), f = householder<M>(reflectors), d = d_frame;
  for (Index i = 0; i < v.cols(); ++i) {
    // f = H_i x: take the reflection off (x = H_i f), and with it from the gradient.
    const detail::Row<M> on_f = 2 * v.col(i).transpose() * f;
    const detail::Row<M> on_d = 2 * v.col(i).transpose() * d;
    f.noalias() -= v.col(i) * on_f;
    // x has the coordinate -on_f / 2 along v; only what is across v moves the reflection.
    const detail::Column<M> moved = d * on_f.transpose() - f * on_d.transpose();
    const double along = v.col(i).dot(moved);
    out.col(i) = (moved - along * v.col(i)) / reflectors.col(i).stableNorm();
    d.noalias() -= v.col(i) * on_d;
  }
  return out;
}

/// F x for x [k, n] in O(d k n), without forming F.
template <class M = FrameMatrix>
M householder_times(const std::type_identity_t<M>& reflectors, const std::type_identity_t<M>& x) {
  const M v = detail::unit_columns(reflectors);
  if (x.rows() != v.cols()) {
    detail::fail("x", detail::text(x.rows(), " rows"), detail::text("k = ", v.cols()));
  }
  M out = M::Zero(v.rows(), x.cols());
  out.topRows(x.rows()) = x;
  for (Index i = v.cols(); i-- > 0;) {
    const detail::Row<M> on_v = 2 * v.col(i).transpose() * out;
    out.noalias() -= v.col(i) * on_v;
  }
  return out;
}

/// F^T x for x [d, n] in O(d k n), without forming F.
template <class M = FrameMatrix>
M householder_transposed_times(const std::type_identity_t<M>& reflectors,
                               const std::type_identity_t<M>& x) {
  const M v = detail::unit_columns(reflectors);
  if (x.rows() != v.rows()) {
    detail::fail("x", detail::text(x.rows(), " rows"), detail::text("d = ", v.rows()));
  }
  M out = x;
  for (Index i = 0; i < v.cols(); ++i) {
    const detail::Row<M> on_v = 2 * v.col(i).transpose() * out;
    out.noalias() -= v.col(i) * on_v;
  }
  return out.topRows(v.cols());
}

/// F = (I - W / 2)^-1 (I + W / 2) E, the Cayley transform of the skew matrix
///
///   W = [[B, -C^T], [C, 0]],   B [k, k] skew, C [d - k, k],
///
/// whose entries are the strictly lower triangle of `parameters` [d, k] (the others must be finite
/// and have no part in F): as many as the frames have dimensions. Zeros give E, the coordinate
/// planes; frames a half turn away from E lie at infinity. It is F = [2 S^-1 - I; C S^-1] with a k
/// x k matrix S: O(d k^2).
template <class M = FrameMatrix>
M cayley(const std::type_identity_t<M>& parameters) {
  const Index k = parameters.cols();
  const M s = detail::cayley_middle(parameters);
  const M inverse = s.partialPivLu().inverse();
  M f(parameters.rows(), k);
  f.topRows(k) = 2 * inverse - M::Identity(k, k);
  f.bottomRows(parameters.rows() - k).noalias() =
      parameters.bottomRows(parameters.rows() - k) * inverse;
  // Large parameters leave an error of epsilon times the condition of S: take it off.
  return detail::thin_qr(f).q;
}

/// The gradient for `parameters` from d_frame, both of its shape.
template <class M = FrameMatrix>
M cayley_vjp(const std::type_identity_t<M>& parameters, const std::type_identity_t<M>& d_frame) {
  const M s = detail::cayley_middle(parameters);
  detail::check_gradient_shape(d_frame, parameters);
  const Index k = parameters.cols(), rest = parameters.rows() - k;
  const M inverse = s.partialPivLu().inverse();
  const auto c = parameters.bottomRows(rest);
  const M d_inverse = 2 * d_frame.topRows(k) + c.transpose() * d_frame.bottomRows(rest);
  const M d_s = -inverse.transpose() * d_inverse * inverse.transpose();
  M out = M::Zero(parameters.rows(), k);
  out.topRows(k).template triangularView<Eigen::StrictlyLower>() = (d_s.transpose() - d_s) / 2;
  out.bottomRows(rest).noalias() = d_frame.bottomRows(rest) * inverse.transpose();
  out.bottomRows(rest).noalias() += c * (d_s + d_s.transpose()) / 4;
  return out;
}

/// The frame of the QR decomposition of `columns` [d, k] whose R has a positive diagonal: each
/// column less its part along those before it, at unit length. Throws ArgumentError where columns
/// depend on those before them to rounding.
template <class M = FrameMatrix>
M orthonormalized(const std::type_identity_t<M>& columns) {
  detail::check_frame_shape("columns", columns);
  return detail::independent_qr<M>(detail::ScaledColumns<M>(columns)).q;
}

/// The gradient for `columns` from d_frame, both of its shape.
template <class M = FrameMatrix>
M orthonormalized_vjp(const std::type_identity_t<M>& columns,
                      const std::type_identity_t<M>& d_frame) {
  detail::check_frame_shape("columns", columns);
  detail::check_gradient_shape(d_frame, columns);
  const detail::ScaledColumns<M> scaled(columns);
  const detail::ThinQr<M> qr = detail::independent_qr<M>(scaled);
  // d columns = (d_q - q sym(lower triangle of d_q^T q)) R^-T.
  const M inner = d_frame.transpose() * qr.q;
  const M lower = inner.template triangularView<Eigen::StrictlyLower>();
  M mirrored = lower + lower.transpose();
  mirrored.diagonal() = inner.diagonal();
  const M across = d_frame - qr.q * mirrored;
  M d_columns = qr.r.template triangularView<Eigen::Upper>().solve(across.transpose()).transpose();
  scaled.unscale_gradient(d_columns);
  return d_columns;
}

/// [d, d]: the frame's columns, then others that make an orthonormal basis of R^d of them.
template <class M = FrameMatrix>
M completed(const std::type_identity_t<M>& f) {
  detail::check_frame_shape("frame", f);
  const Eigen::HouseholderQR<M> qr(f);
  M out = qr.householderQ() * M::Identity(f.rows(), f.rows());
  out.leftCols(f.cols()) = f;
  return out;
}

}  // namespace frame
}  // namespace grape::inline v0
