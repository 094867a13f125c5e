// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <Eigen/Core>

#include "grape/core/error.hpp"
#include "grape/generator/unipotent.hpp"

namespace grape::inline v0 {

/// A unipotent map of R^(d+2), the group element of UnipotentGenerator (equations 4.4 to 4.7):
///
///   G = I + c e_{d+2} e_{d+1}^T,   c = -beta s,   det G = 1,   (G - I)^2 = 0.
///
/// Queries are acted on by G and keys by G^-T; the product of the lifted query [q; 1; 0] at s_i and
/// the lifted key [k; 0; 1] at s_j is then q . k + beta (s_j - s_i).
template <class S>
class Unipotent {
 public:
  using Vector = Eigen::Matrix<S, Eigen::Dynamic, 1>;
  using Matrix = Eigen::Matrix<S, Eigen::Dynamic, Eigen::Dynamic>;

  /// exp(s A) of the generator A = -slope e_{d+2} e_{d+1}^T.
  static Unipotent exp(const S& slope, const S& s) { return Unipotent(-(slope * s)); }

  /// The entry c below the diagonal.
  const S& entry() const { return entry_; }

  /// G v for v in R^(d+2). Throws ArgumentError if v has fewer than two entries.
  Vector operator*(const Vector& v) const {
    check(v.size());
    Vector out = v;
    out[v.size() - 1] += entry_ * v[v.size() - 2];
    return out;
  }
  /// Composition: entries add.
  Unipotent operator*(const Unipotent& other) const { return Unipotent(entry_ + other.entry_); }
  Unipotent inverse() const { return Unipotent(-entry_); }

  /// G^-T v, what keys are acted on by.
  Vector inverse_transpose_times(const Vector& v) const {
    check(v.size());
    Vector out = v;
    out[v.size() - 2] -= entry_ * v[v.size() - 1];
    return out;
  }

  /// The dense (d+2) x (d+2) matrix, for inspection.
  Matrix matrix(Index d) const {
    if (d < 0) detail::fail("d", detail::text(d), "a value >= 0");
    Matrix out = Matrix::Identity(d + 2, d + 2);
    out(d + 1, d) = entry_;
    return out;
  }

 private:
  explicit Unipotent(S entry) : entry_(entry) {}

  static void check(Index size) {
    if (size < 2) detail::fail("vector", detail::text("size ", size), "d + 2 >= 2 entries");
  }

  S entry_;
};

}  // namespace grape::inline v0
