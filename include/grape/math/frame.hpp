// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <Eigen/Core>
#include <Eigen/LU>
#include <Eigen/QR>
#include <algorithm>
#include <limits>
#include <string_view>

#include "grape/core/error.hpp"
#include "grape/core/scalar.hpp"

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
inline FrameMatrix unit_columns(const FrameMatrix& reflectors) {
  check_frame_shape("reflectors", reflectors);
  FrameMatrix out = reflectors;
  for (Index j = 0; j < out.cols(); ++j) {
    const double largest = out.col(j).cwiseAbs().maxCoeff();
    if (largest == 0) fail(text("reflectors column ", j), "zeros", "a direction to reflect");
    out.col(j) /= largest;
    out.col(j).normalize();
  }
  return out;
}

/// A thin QR decomposition with R's diagonal > 0, which makes it unique.
struct ThinQr {
  FrameMatrix q, r;
};
inline ThinQr thin_qr(const FrameMatrix& x) {
  const Index k = x.cols();
  const Eigen::HouseholderQR<FrameMatrix> qr(x);
  ThinQr out{qr.householderQ() * FrameMatrix::Identity(x.rows(), k),
             qr.matrixQR().topRows(k).triangularView<Eigen::Upper>()};
  for (Index j = 0; j < k; ++j) {
    if (out.r(j, j) < 0) {
      out.q.col(j) *= -1;
      out.r.row(j) *= -1;
    }
  }
  return out;
}

/// S = I - B / 2 + C^T C / 4, B the skew matrix of the strictly lower triangle of the first k rows,
/// C the rows below: S + S^T >= 2 I, so that it has an inverse whatever the parameters are.
inline FrameMatrix cayley_middle(const FrameMatrix& parameters) {
  check_frame_shape("parameters", parameters);
  const Index k = parameters.cols();
  FrameMatrix s = FrameMatrix::Identity(k, k);
  const FrameMatrix lower = parameters.topRows(k).triangularView<Eigen::StrictlyLower>();
  const auto c = parameters.bottomRows(parameters.rows() - k);
  s -= (lower - lower.transpose()) / 2;
  s.noalias() += c.transpose() * c / 4;
  return s;
}

}  // namespace detail

/// Ways to make a frame from parameters that nothing constrains, so that an optimiser may move them
/// freely, each orthonormal to a few k epsilon, with its VJP beside it: from d_frame, the gradient
/// for F (any matrix: only its part along the frames matters), the gradient for the parameters, of
/// their shape. Shapes that do not fit and entries that are not finite throw ArgumentError.
namespace frame {

/// The largest entry of |F^T F - I|.
inline double orthonormality_error(const FrameMatrix& f) {
  if (f.cols() == 0) return 0;
  const FrameMatrix gram = f.transpose() * f;
  return (gram - FrameMatrix::Identity(f.cols(), f.cols())).cwiseAbs().maxCoeff();
}

/// F = H_1 .. H_k E, a product of k reflections H_i = I - 2 v_i v_i^T / |v_i|^2 whose v_i are the
/// columns of `reflectors` [d, k] (any length but 0), E the first k columns of I. Every frame of an
/// even k can be reached, and v_i = e_i gives -E: the coordinate planes. O(d k^2).
inline FrameMatrix householder(const FrameMatrix& reflectors) {
  const FrameMatrix v = detail::unit_columns(reflectors);
  FrameMatrix f = FrameMatrix::Identity(v.rows(), v.cols());
  for (Index i = v.cols(); i-- > 0;) {
    const Eigen::RowVectorXd on_v = 2 * v.col(i).transpose() * f;
    f.noalias() -= v.col(i) * on_v;
  }
  return f;
}

inline FrameMatrix householder_vjp(const FrameMatrix& reflectors, const FrameMatrix& d_frame) {
  const FrameMatrix v = detail::unit_columns(reflectors);
  detail::check_gradient_shape(d_frame, reflectors);
  FrameMatrix out(v.rows(), v.cols()), f = householder(reflectors), d = d_frame;
  for (Index i = 0; i < v.cols(); ++i) {
    // f = H_i x: take the reflection off (x = H_i f), and with it from the gradient.
    const Eigen::RowVectorXd on_f = 2 * v.col(i).transpose() * f;
    const Eigen::RowVectorXd on_d = 2 * v.col(i).transpose() * d;
    f.noalias() -= v.col(i) * on_f;
    // x has the coordinate -on_f / 2 along v; only what is across v moves the reflection.
    const Eigen::VectorXd moved = d * on_f.transpose() - f * on_d.transpose();
    const double along = v.col(i).dot(moved);
    out.col(i) = (moved - along * v.col(i)) / reflectors.col(i).stableNorm();
    d.noalias() -= v.col(i) * on_d;
  }
  return out;
}

/// F x for x [k, n] in O(d k n), without forming F.
inline FrameMatrix householder_times(const FrameMatrix& reflectors, const FrameMatrix& x) {
  const FrameMatrix v = detail::unit_columns(reflectors);
  if (x.rows() != v.cols()) {
    detail::fail("x", detail::text(x.rows(), " rows"), detail::text("k = ", v.cols()));
  }
  FrameMatrix out = FrameMatrix::Zero(v.rows(), x.cols());
  out.topRows(x.rows()) = x;
  for (Index i = v.cols(); i-- > 0;) {
    const Eigen::RowVectorXd on_v = 2 * v.col(i).transpose() * out;
    out.noalias() -= v.col(i) * on_v;
  }
  return out;
}

/// F^T x for x [d, n] in O(d k n), without forming F.
inline FrameMatrix householder_transposed_times(const FrameMatrix& reflectors,
                                                const FrameMatrix& x) {
  const FrameMatrix v = detail::unit_columns(reflectors);
  if (x.rows() != v.rows()) {
    detail::fail("x", detail::text(x.rows(), " rows"), detail::text("d = ", v.rows()));
  }
  FrameMatrix out = x;
  for (Index i = 0; i < v.cols(); ++i) {
    const Eigen::RowVectorXd on_v = 2 * v.col(i).transpose() * out;
    out.noalias() -= v.col(i) * on_v;
  }
  return out.topRows(v.cols());
}

/// F = (I - W / 2)^-1 (I + W / 2) E, the Cayley transform of the skew matrix
///
///   W = [[B, -C^T], [C, 0]],   B [k, k] skew, C [d - k, k],
///
/// whose entries are the strictly lower triangle of `parameters` [d, k] (the others are not read):
/// as many as the frames have dimensions. Zeros give E, the coordinate planes; frames a half turn
/// away from E lie at infinity. It is F = [2 S^-1 - I; C S^-1] with a k x k matrix S: O(d k^2).
inline FrameMatrix cayley(const FrameMatrix& parameters) {
  const Index k = parameters.cols();
  const FrameMatrix s = detail::cayley_middle(parameters);
  const FrameMatrix inverse = s.partialPivLu().inverse();
  FrameMatrix f(parameters.rows(), k);
  f.topRows(k) = 2 * inverse - FrameMatrix::Identity(k, k);
  f.bottomRows(parameters.rows() - k).noalias() =
      parameters.bottomRows(parameters.rows() - k) * inverse;
  // Large parameters leave an error of epsilon times the condition of S: take it off.
  return detail::thin_qr(f).q;
}

inline FrameMatrix cayley_vjp(const FrameMatrix& parameters, const FrameMatrix& d_frame) {
  const FrameMatrix s = detail::cayley_middle(parameters);
  detail::check_gradient_shape(d_frame, parameters);
  const Index k = parameters.cols(), rest = parameters.rows() - k;
  const FrameMatrix inverse = s.partialPivLu().inverse();
  const auto c = parameters.bottomRows(rest);
  const FrameMatrix d_inverse = 2 * d_frame.topRows(k) + c.transpose() * d_frame.bottomRows(rest);
  const FrameMatrix d_s = -inverse.transpose() * d_inverse * inverse.transpose();
  FrameMatrix out = FrameMatrix::Zero(parameters.rows(), k);
  out.topRows(k).triangularView<Eigen::StrictlyLower>() = (d_s.transpose() - d_s) / 2;
  out.bottomRows(rest).noalias() = d_frame.bottomRows(rest) * inverse.transpose();
  out.bottomRows(rest).noalias() += c * (d_s + d_s.transpose()) / 4;
  return out;
}

/// The frame of the QR decomposition of `columns` [d, k] whose R has a positive diagonal: each
/// column less its part along those before it, at unit length. Throws ArgumentError where columns
/// depend on those before them to rounding.
inline FrameMatrix orthonormalized(const FrameMatrix& columns) {
  detail::check_frame_shape("columns", columns);
  const detail::ThinQr qr = detail::thin_qr(columns);
  for (Index j = 0; j < columns.cols(); ++j) {
    const double rounding = static_cast<double>(columns.rows()) *
                            std::numeric_limits<double>::epsilon() * columns.col(j).stableNorm();
    if (!(qr.r(j, j) > rounding)) {
      detail::fail(detail::text("columns(.., ", j, ")"), "a combination of the columns before it",
                   "columns that are linearly independent");
    }
  }
  return qr.q;
}

inline FrameMatrix orthonormalized_vjp(const FrameMatrix& columns, const FrameMatrix& d_frame) {
  orthonormalized(columns);
  detail::check_gradient_shape(d_frame, columns);
  const detail::ThinQr qr = detail::thin_qr(columns);
  // d columns = (d_q - q sym(lower triangle of d_q^T q)) R^-T.
  const FrameMatrix inner = d_frame.transpose() * qr.q;
  const FrameMatrix lower = inner.triangularView<Eigen::StrictlyLower>();
  FrameMatrix mirrored = lower + lower.transpose();
  mirrored.diagonal() = inner.diagonal();
  const FrameMatrix across = d_frame - qr.q * mirrored;
  return qr.r.triangularView<Eigen::Upper>().solve(across.transpose()).transpose();
}

/// [d, d]: the frame's columns, then others that make an orthonormal basis of R^d of them.
inline FrameMatrix completed(const FrameMatrix& f) {
  detail::check_frame_shape("frame", f);
  const Eigen::HouseholderQR<FrameMatrix> qr(f);
  FrameMatrix out = qr.householderQ() * FrameMatrix::Identity(f.rows(), f.rows());
  out.leftCols(f.cols()) = f;
  return out;
}

}  // namespace frame
}  // namespace grape::inline v0
