// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <Eigen/Core>
#include <utility>

#include "grape/core/error.hpp"
#include "grape/group/unipotent.hpp"

namespace grape::inline v0 {

/// The group element of a DirectSum, G = diag(R, H) in GL(d + 2) (appendix E): R any rotation of
/// R^d that has operator*, inverse() and matrix (BlockRotation, Rank2Rotation, ...), H a unipotent
/// map of the two further coordinates.
///
/// With a query [q; 1; 0] acted on by G at s_i and a key [k; 0; 1] by G^-T at s_j the dot product
/// is q^T R(s_j - s_i) k + beta (s_j - s_i): rotation and bias at once. G(s) G(t) = G(s + t). A
/// value to look at and to compute with; Joint encodes tensors.
template <class Rotation, class S = double>
class DirectSumElement {
 public:
  using Vector = Eigen::Matrix<S, Eigen::Dynamic, 1>;
  using Matrix = Eigen::Matrix<S, Eigen::Dynamic, Eigen::Dynamic>;

  /// R as it acts on d coordinates, and H. Throws ArgumentError if d < 0 or R is one of another
  /// dimension.
  DirectSumElement(Index d, Rotation rotation, Unipotent<S> unipotent)
      : d_(d), rotation_(std::move(rotation)), unipotent_(std::move(unipotent)) {
    if (d < 0) detail::fail("d", detail::text(d), "a value >= 0");
    if constexpr (requires { rotation_.dim(); }) {
      if (rotation_.dim() != d) {
        detail::fail("d", detail::text(d), detail::text("that of the rotation, ", rotation_.dim()));
      }
    }
  }

  /// d plus the size of H.
  Index dim() const { return d_ + unipotent_.dim(); }
  const Rotation& rotation() const { return rotation_; }
  const Unipotent<S>& unipotent() const { return unipotent_; }

  /// G x. Throws ArgumentError unless x has dim() entries, or R does not take d of them.
  Vector operator*(const Vector& x) const {
    detail::check_unipotent_size("x", x.size(), dim());
    const Vector head = x.head(d_), tail = x.tail(unipotent_.dim());
    Vector out(dim());
    out << rotation_ * head, unipotent_ * tail;
    return out;
  }

  /// Composition, block by block. Throws ArgumentError where a block does not compose.
  DirectSumElement operator*(const DirectSumElement& other) const {
    if (other.d_ != d_) detail::fail("other", detail::text("d = ", other.d_), detail::text(d_));
    return {d_, rotation_ * other.rotation_, unipotent_ * other.unipotent_};
  }
  DirectSumElement inverse() const { return {d_, rotation_.inverse(), unipotent_.inverse()}; }
  /// diag(R, H^-T), what keys are acted on by: a rotation is its own inverse transpose.
  DirectSumElement inverse_transpose() const {
    return {d_, rotation_, unipotent_.inverse_transpose()};
  }

  /// The dense block matrix, for inspection.
  Matrix matrix() const {
    Matrix out = Matrix::Zero(dim(), dim());
    if constexpr (requires { rotation_.matrix(d_); }) {
      out.topLeftCorner(d_, d_) = rotation_.matrix(d_);
    } else {
      out.topLeftCorner(d_, d_) = rotation_.matrix();
    }
    out.bottomRightCorner(unipotent_.dim(), unipotent_.dim()) = unipotent_.matrix();
    return out;
  }

 private:
  Index d_;
  Rotation rotation_;
  Unipotent<S> unipotent_;
};

}  // namespace grape::inline v0
