// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "grape/core/error.hpp"
#include "grape/core/pairing.hpp"
#include "grape/encoder/detail/join.hpp"
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
/// Storage: one row [sets, cos | sin, planes] a token; for a long range of positions in float two
/// short tables in double, joined by the group law G(n + m) = G(n) G(m) as they are used and
/// rounded once.
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
    check_index("batch", batch, batch_);
    check_index("token", token, seq_);
    check_index("set", set, sets_);
    check_index("plane", plane, planes_);
    if (plane >= turning_) return {A(1), A(0)};
    if (!joined()) {
      const A* row = table_.data() + (batch * seq_ + token) * row_size() + set * 2 * turning_;
      return {row[plane], row[turning_ + plane]};
    }
    CosSin<A> out{};
    const double* coarse = coarse_.data() + token / kBlock * row_size() + set * 2 * turning_;
    const double* fine = fine_.data() + token % kBlock * row_size() + set * 2 * turning_;
    detail::join_rotations(coarse + plane, fine + plane, Index{1}, turning_, &out.cos, &out.sin);
    return out;
  }

  /// The position of a token, as the gradient of the frequencies needs it.
  double position(Index batch, Index token) const {
    return positions_.empty() ? static_cast<double>(start_ + token)
                              : positions_[static_cast<std::size_t>(batch * seq_ + token)];
  }

  // What kernels read.

  /// Planes whose angle can differ from 0: a tail of zero frequencies is not turned at all.
  Index turning_planes() const { return turning_; }
  /// Entries of a token's row [sets, cos | sin, turning_planes].
  Index row_size() const { return sets_ * 2 * turning_; }
  /// Tokens of one tile: what rows() may be asked for at once.
  Index tile() const { return kBlock; }
  /// Most entries of scratch that rows() writes to.
  static constexpr Index kScratch = 32 * 512;

  /// The rows of tokens [token, token + count), count <= tile() and token a multiple of tile();
  /// joined into `scratch` where the tables are split.
  const A* rows(Index batch, Index token, Index count, A* scratch) const {
    if (!joined()) return table_.data() + (batch * seq_ + token) * row_size();
    const double* coarse = coarse_.data() + token / kBlock * row_size();
    for (Index t = 0; t < count; ++t) {
      for (Index set = 0; set < sets_; ++set) {
        const Index at = set * 2 * turning_;
        A* row = scratch + t * row_size() + at;
        detail::join_rotations(coarse + at, fine_.data() + t * row_size() + at, turning_, turning_,
                               row, row + turning_);
      }
    }
    return scratch;
  }

  /// Whether rows() writes to scratch.
  bool joined() const { return !coarse_.empty(); }

  /// Prepares `action` for the planes at the positions, reusing its storage.
  template <Element S, Pairing P>
  friend void prepare(const CanonicalPlanes<S, P>& planes, LinearPath, const Positions& positions,
                      RotationAction& action) {
    action.assign(planes, P, positions);
  }

 private:
  /// Tokens of a tile; also the rows of the fine table.
  static constexpr Index kBlock = 32;
  /// Ranges from this length on are split; shorter tables stay in the nearest caches.
  static constexpr Index kSplitFrom = 1024;
  /// Longest row that is split, so that a tile of joined rows stays in the nearest caches.
  static constexpr Index kLongestSplitRow = kScratch / kBlock;

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
    Index entries = 0;
    if (!detail::multiply_checked(tokens, row, entries)) {
      detail::fail("positions", detail::text(tokens, " tokens"), "a table that fits into memory");
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

    const bool range = positions.kind() == Positions::Kind::range;
    const bool split =
        std::same_as<A, float> && range && seq_ >= kSplitFrom && row > 0 && row <= kLongestSplitRow;
    table_.resize(split ? 0 : static_cast<std::size_t>(entries));
    coarse_.resize(split ? static_cast<std::size_t>((seq_ + kBlock - 1) / kBlock * row) : 0);
    fine_.resize(split ? static_cast<std::size_t>(kBlock * row) : 0);
    const double factor = attention_factor_;
    if (split) {
      for (Index t = 0; t < seq_; t += kBlock) {
        fill(planes, positions.integer(0, t), factor, coarse_.data() + t / kBlock * row);
      }
      for (Index t = 0; t < kBlock; ++t) fill(planes, t, 1.0, fine_.data() + t * row);
      return;
    }
    for (Index b = 0; b < batch_; ++b) {
      for (Index t = 0; t < seq_; ++t) {
        A* out = table_.data() + (b * seq_ + t) * row;
        if (positions.kind() == Positions::Kind::reals) {
          fill_real(planes, positions.value(b, t), factor, out);
        } else {
          fill(planes, positions.integer(b, t), factor, out);
        }
      }
    }
  }

  template <class Planes, class Out>
  void fill(const Planes& planes, std::int64_t n, double factor, Out* out) const {
    for (Index set = 0; set < sets_; ++set, out += 2 * turning_) {
      cos_sin_row(planes.turns(), set * planes_, turning_, n, factor, out, out + turning_);
    }
  }

  template <class Planes>
  void fill_real(const Planes& planes, double x, double factor, A* out) const {
    for (Index set = 0; set < sets_; ++set, out += 2 * turning_) {
      for (Index m = 0; m < turning_; ++m) {
        const Turn turn = planes.turns()[static_cast<std::size_t>(set * planes_ + m)];
        const CosSin<double> g = cos_sin(phase_at(turn, planes.spectrum()(set, m), x));
        out[m] = static_cast<A>(factor * g.cos);
        out[turning_ + m] = static_cast<A>(factor * g.sin);
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

  static void check_index(std::string_view argument, Index got, Index count) {
    if (got < 0 || got >= count) {
      detail::fail(argument, detail::text(got), detail::text("an index in [0, ", count, ")"));
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
  std::vector<A> table_;
  std::vector<double> coarse_, fine_;
};

}  // namespace grape::inline v0
