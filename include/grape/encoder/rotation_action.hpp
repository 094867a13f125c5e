// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "grape/core/detail/aligned.hpp"
#include "grape/core/error.hpp"
#include "grape/core/pairing.hpp"
#include "grape/encoder/heads.hpp"
#include "grape/generator/canonical_planes.hpp"
#include "grape/math/sincos.hpp"
#include "grape/path/linear.hpp"

namespace grape::inline v0 {

/// The rotations of a skew generator at given positions: cosines and sines of every plane, times
/// the attention factor, ready to be applied to any number of layers.
///
/// Shapes: batch() is 1 where all batch entries share positions; seq() tokens; sets() parameter
/// sets (heads h of H use set h * sets / H); planes() planes on coordinates first_coordinate() +
/// [0, 2 M). Immutable once prepared, safe to share between threads, a value that may be copied.
///
/// Storage: one row [sets, cos | sin, planes] a token.
template <Accumulator A>
class RotationAction {
 public:
  using Scalar = A;

  /// An action on no tokens; prepare it with Encoder::at.
  RotationAction() = default;

  Index batch() const { return batch_; }
  Index seq() const { return seq_; }
  Index sets() const { return sets_; }
  Index planes() const { return planes_; }
  Pairing pairing() const { return pairing_; }
  Index first_coordinate() const { return first_coordinate_; }
  /// What multiplies every cosine and sine: the action is this times a rotation.
  double attention_factor() const { return attention_factor_; }
  /// The head_dim that a view must have at least.
  Index required_dim() const { return first_coordinate_ + 2 * planes_; }

  /// attention_factor * (cos, sin) of a plane's angle at a token. Throws ArgumentError for an index
  /// out of range.
  CosSin<A> element(Index batch, Index token, Index set, Index plane) const {
    detail::check_index("batch", batch, batch_);
    detail::check_index("token", token, seq_);
    detail::check_index("set", set, sets_);
    detail::check_index("plane", plane, planes_);
    if (plane >= turning_) return {A(1), A(0)};
    const A* row = rows(batch, token) + set * 2 * turning_;
    return {row[plane], row[turning_ + plane]};
  }

  /// The position of a token, as the gradient of the frequencies needs it.
  double position(Index batch, Index token) const {
    if (positions_.empty()) return static_cast<double>(start_ + token);
    return positions_[static_cast<std::size_t>((batch_ == 1 ? 0 : batch) * seq_ + token)];
  }

  // What kernels read.

  /// Planes whose angle can differ from 0: a tail of zero frequencies is not turned at all.
  Index turning_planes() const { return turning_; }
  /// Entries of a token's row [sets, cos | sin, turning_planes].
  Index row_size() const { return sets_ * 2 * turning_; }
  /// The rows of a batch entry's tokens from `token` on, one behind the other. Cosines and sines
  /// are those of turning_planes(). `batch` may be any entry where positions are shared.
  const A* rows(Index batch, Index token) const {
    return table_.data() + ((batch_ == 1 ? 0 : batch) * seq_ + token) * row_size();
  }

  /// Prepares `action` for the planes at the positions, reusing its storage.
  template <Element S, Pairing P>
  friend void prepare(const CanonicalPlanes<S, P>& planes, LinearPath, const Positions& positions,
                      RotationAction& action) {
    action.assign(planes, P, positions);
  }

 private:
  template <class Planes>
  void assign(const Planes& planes, Pairing pairing, const Positions& positions) {
    if (positions.axis_count() != 1) {
      detail::fail("positions", detail::text(positions.axis_count(), " axes"),
                   "one position a token");
    }
    const Spectrum& spectrum = planes.spectrum();
    const Index turning = turning_planes_of(spectrum);
    const Index row = spectrum.sets() * 2 * turning;
    const Index tokens = positions.batch() * positions.seq();
    Index entries = 0, bytes = 0;
    if (!detail::multiply_checked(tokens, row, entries) ||
        !detail::multiply_checked(entries, sizeof(A), bytes)) {
      detail::fail("positions", detail::text(tokens, " tokens"), "a table that fits into memory");
    }
    // What may run out of memory comes first, so that a failure leaves the action as it was.
    table_.reserve(static_cast<std::size_t>(entries));
    if (positions.kind() != Positions::Kind::range) {
      positions_.reserve(static_cast<std::size_t>(tokens));
    }
    pairing_ = pairing;
    first_coordinate_ = planes.first_coordinate();
    batch_ = positions.batch();
    seq_ = positions.seq();
    sets_ = spectrum.sets();
    planes_ = spectrum.planes();
    turning_ = turning;
    attention_factor_ = spectrum.attention_factor();
    keep_positions(positions);

    table_.resize(static_cast<std::size_t>(entries));
    for (Index b = 0; b < batch_; ++b) {
      for (Index t = 0; t < seq_; ++t) {
        A* out = table_.data() + (b * seq_ + t) * row;
        if (positions.kind() == Positions::Kind::reals) {
          fill_real(planes, positions.value(b, t), out);
        } else {
          fill(planes, positions.integer(b, t), out);
        }
      }
    }
  }

  template <class Planes>
  void fill(const Planes& planes, std::int64_t n, A* out) const {
    for (Index set = 0; set < sets_; ++set, out += 2 * turning_) {
      cos_sin_row(planes.turns(), set * planes_, turning_, n, attention_factor_, out,
                  out + turning_);
    }
  }

  template <class Planes>
  void fill_real(const Planes& planes, double x, A* out) const {
    for (Index set = 0; set < sets_; ++set, out += 2 * turning_) {
      for (Index m = 0; m < turning_; ++m) {
        const Turn turn = planes.turns()[static_cast<std::size_t>(set * planes_ + m)];
        const CosSin<double> g = cos_sin(phase_at(turn, planes.spectrum()(set, m), x));
        out[m] = static_cast<A>(attention_factor_ * g.cos);
        out[turning_ + m] = static_cast<A>(attention_factor_ * g.sin);
      }
    }
  }

  static Index turning_planes_of(const Spectrum& spectrum) {
    if (spectrum.attention_factor() != 1) return spectrum.planes();
    Index turning = 0;
    for (Index set = 0; set < spectrum.sets(); ++set) {
      for (Index m = turning; m < spectrum.planes(); ++m) {
        if (spectrum(set, m) != 0) turning = m + 1;
      }
    }
    return turning;
  }

  void keep_positions(const Positions& positions) {
    positions_.clear();
    if (positions.kind() == Positions::Kind::range) {
      start_ = positions.integer(0, 0);
      return;
    }
    for (Index b = 0; b < batch_; ++b) {
      for (Index t = 0; t < seq_; ++t) positions_.push_back(positions.value(b, t));
    }
  }

  Pairing pairing_ = Pairing::interleaved;
  Index first_coordinate_ = 0;
  Index batch_ = 1;
  Index seq_ = 0;
  Index sets_ = 1;
  Index planes_ = 0;
  Index turning_ = 0;
  double attention_factor_ = 1;
  std::int64_t start_ = 0;
  std::vector<double> positions_;
  detail::LineVector<A> table_;
};

}  // namespace grape::inline v0
