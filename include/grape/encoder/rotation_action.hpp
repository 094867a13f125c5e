// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "grape/core/detail/aligned.hpp"
#include "grape/core/error.hpp"
#include "grape/core/pairing.hpp"
#include "grape/encoder/detail/profile_row.hpp"
#include "grape/encoder/heads.hpp"
#include "grape/generator/angle_profile.hpp"
#include "grape/generator/planes.hpp"
#include "grape/math/sincos.hpp"
#include "grape/path/linear.hpp"
#include "grape/path/positions.hpp"
#include "grape/spectrum/spectrum.hpp"

namespace grape::inline v0 {

/// The rotations of a skew generator at given group parameters: cosines and sines of every plane,
/// times the attention factor, ready to be applied to any number of layers.
///
/// Shapes: batch() is 1 where all batch entries share positions; seq() tokens; sets() parameter
/// sets (heads h of H use set h * sets / H); planes() planes on coordinates first_coordinate() +
/// [0, 2 M), or in a frame of d = frame_dim() coordinates. A token has channels() positions: one,
/// or one for each axis of a grid, or one for each set (a contextual phase). Immutable once
/// prepared, safe to share between threads, a value that may be copied.
///
/// Storage: one row [sets, cos | sin, planes] a token.
template <Accumulator A>
class RotationAction {
 public:
  using Scalar = A;

  /// An action on no tokens; prepare it with Encoder::at.
  RotationAction() = default;

  /// Says what {.rotation = action} lacks: no action is a pointer.
  template <class B = A>
  operator const RotationAction*() const {  // NOLINT(google-explicit-constructor)
    static_assert(sizeof(B) == 0,
                  "grape: options point to an action: write {.rotation = &action}, with an &");
    return nullptr;
  }

  Index batch() const { return batch_; }
  Index seq() const { return seq_; }
  Index sets() const { return sets_; }
  Index planes() const { return planes_; }
  Pairing pairing() const { return pairing_; }
  Index first_coordinate() const { return first_coordinate_; }
  /// What multiplies every cosine and sine: the action is this times a rotation.
  double attention_factor() const { return attention_factor_; }
  /// The head_dim that a view must have at least.
  Index required_dim() const { return has_frame() ? frame_dim_ : first_coordinate_ + 2 * planes_; }

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

  /// Whether the planes lie in a frame, instead of on pairs of coordinates.
  bool has_frame() const { return frame_ != nullptr; }
  /// The frame's columns, at least 2 * planes(): those behind stand still; and their length. 0
  /// without a frame.
  Index frame_columns() const { return frame_columns_; }
  Index frame_dim() const { return frame_dim_; }
  /// The frame of a set in [0, sets()): [frame_columns(), frame_dim()], a column behind the other.
  const A* frame(Index set) const {
    return frame_->data() + frequency_set(set) * frame_columns_ * frame_dim_;
  }

  // What gradients read.

  /// Sets of the frequencies: sets(), or 1 where phases differ by head and frequencies do not.
  Index frequency_sets() const { return frequency_sets_; }
  /// theta of a plane in a set in [0, sets()), in radians per position.
  double frequency(Index set, Index plane) const {
    return frequencies_[static_cast<std::size_t>(frequency_set(set) * planes_ + plane)];
  }
  Index frequency_set(Index set) const { return frequency_sets_ == 1 ? 0 : set; }

  /// Positions of a token: 1, the axes, or sets().
  Index channels() const { return channels_; }
  /// Which of them turns a plane of a set.
  Index channel(Index set, Index plane) const {
    if (channels_ == 1) return 0;
    return axis_of_plane_.empty() ? set : axis_of_plane_[static_cast<std::size_t>(plane)];
  }
  /// The position (coordinate, phase) that a plane of a set turns by at a token, as the gradient of
  /// the frequencies needs it. `batch` may be any entry where positions are shared.
  double position(Index batch, Index token, Index set = 0, Index plane = 0) const {
    if (positions_.empty()) return static_cast<double>(start_ + token);
    const Index row = (batch_ == 1 ? 0 : batch) * seq_ + token;
    return positions_[static_cast<std::size_t>(row * channels_ + channel(set, plane))];
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

  /// Prepares the action, reusing its storage; what overloads of `prepare` call once they have
  /// checked their inputs. `source` says where tokens stand: batch(), seq(), channels();
  /// axis_of_plane(), the channel of each plane (empty: one channel a set); is_integer() and
  /// integer(b, t, channel), start() where the positions are a range (has_start()), and
  /// write(out), which writes all [batch, seq, channels] positions. Throws ArgumentError, and
  /// changes nothing, if no memory could hold the table, and std::bad_alloc if there is too little.
  template <class Planes, class Source>
  void assign(const Planes& planes, const Source& source) {
    const Spectrum& spectrum = planes.spectrum();
    const bool by_set = source.axis_of_plane().empty() && source.channels() > spectrum.sets();
    const Index sets = by_set ? source.channels() : spectrum.sets();
    const Index turning = turning_planes_of(spectrum);
    const Index tokens = source.batch() * source.seq();
    Index entries = 0, bytes = 0;
    if (!detail::multiply_checked(tokens, sets * 2 * turning, entries) ||
        !detail::multiply_checked(entries, sizeof(A), bytes)) {
      detail::fail("positions", detail::text(tokens, " tokens"), "a table that fits into memory");
    }
    // What may run out of memory comes first, so that a failure leaves the action as it was.
    const std::size_t kept =
        source.has_start() ? 0 : static_cast<std::size_t>(tokens * source.channels());
    table_.reserve(static_cast<std::size_t>(entries));
    positions_.reserve(kept);
    axis_of_plane_.reserve(source.axis_of_plane().size());
    frequencies_.reserve(spectrum.frequencies().size());
    if constexpr (requires { planes.rows(); }) {
      frame_ = planes.rows();
      frame_columns_ = planes.columns();
      frame_dim_ = planes.dim();
    } else {
      frame_.reset();
      frame_columns_ = frame_dim_ = 0;
    }
    pairing_ = Planes::kPairing;
    first_coordinate_ = planes.first_coordinate();
    batch_ = source.batch();
    seq_ = source.seq();
    sets_ = sets;
    frequency_sets_ = spectrum.sets();
    channels_ = source.channels();
    planes_ = spectrum.planes();
    turning_ = turning;
    attention_factor_ = spectrum.attention_factor();
    axis_of_plane_.assign(source.axis_of_plane().begin(), source.axis_of_plane().end());
    frequencies_.assign(spectrum.frequencies().begin(), spectrum.frequencies().end());
    start_ = source.has_start() ? source.start() : 0;
    positions_.resize(kept);
    table_.resize(static_cast<std::size_t>(entries));
    if (tokens == 0) return;  // there may be any number of batch entries without tokens
    if (!source.has_start()) source.write(positions_.data());
    const bool exact = profile_of(planes) == AngleProfile::exact;
    if (exact && source.is_integer() && axis_of_plane_.empty()) {
      fill_plain(planes.turns(), source);
      return;
    }
    A* out = table_.data();
    for (Index b = 0; b < batch_; ++b) {
      for (Index t = 0; t < seq_; ++t) {
        for (Index set = 0; set < sets_; ++set, out += 2 * turning_) {
          if (exact) {
            fill(planes.turns(), source, b, t, set, out);
          } else {
            const auto at = [&](Index m) { return position(b, t, set, m); };
            detail::profile_row(profile_of(planes), spectrum, frequency_set(set), turning_, at, out,
                                out + turning_);
          }
        }
      }
    }
  }

 private:
  /// Every row of exact angles at one integer position a token.
  template <class Source>
  void fill_plain(const TurnList& turns, const Source& source) {
    A* out = table_.data();
    const Index sets = sets_, turning = turning_;
    const double factor = attention_factor_;
    for (Index b = 0; b < batch_; ++b) {
      for (Index t = 0; t < seq_; ++t) {
        const std::int64_t n = source.integer(b, t, 0);
        for (Index set = 0; set < sets; ++set, out += 2 * turning) {
          cos_sin_row(turns, set * planes_, turning, n, factor, out, out + turning);
        }
      }
    }
  }

  /// A row of exact angles where planes turn by axes, or by a real position.
  template <class Source>
  void fill(const TurnList& turns, const Source& source, Index b, Index t, Index set,
            A* out) const {
    const Index first = frequency_set(set) * planes_;
    A* sines = out + turning_;
    if (source.is_integer()) {
      const auto coordinate = [&](Index m) {
        return source.integer(b, t, axis_of_plane_[static_cast<std::size_t>(m)]);
      };
      cos_sin_row(turns, first, turning_, coordinate, attention_factor_, out, sines);
      return;
    }
    // Planes that follow each other on one axis make a run.
    for (Index begin = 0, end = 0; begin < turning_; begin = end) {
      const Index axis = channel(set, begin);
      end = axis_of_plane_.empty() ? turning_ : begin + 1;
      while (end < turning_ && channel(set, end) == axis) ++end;
      cos_sin_row_real(turns, frequencies_.data(), first + begin, end - begin,
                       position(b, t, set, begin), attention_factor_, out + begin, sines + begin);
    }
  }

  /// Generators without profiles are exact.
  template <class Planes>
  static AngleProfile profile_of(const Planes& planes) {
    if constexpr (requires { planes.profile(); }) return planes.profile();
    return AngleProfile::exact;
  }

  static Index turning_planes_of(const Spectrum& spectrum) {
    if (spectrum.attention_factor() != 1) return spectrum.planes();
    Index turning = 0;
    for (Index set = 0; set < spectrum.sets(); ++set) {
      Index last = spectrum.planes();
      while (last > turning && spectrum(set, last - 1) == 0) --last;
      turning = last > turning ? last : turning;
    }
    return turning;
  }

  Pairing pairing_ = Pairing::interleaved;
  Index first_coordinate_ = 0;
  Index batch_ = 1;
  Index seq_ = 0;
  Index sets_ = 1;
  Index frequency_sets_ = 1;
  Index channels_ = 1;
  Index planes_ = 0;
  Index turning_ = 0;
  double attention_factor_ = 1;
  std::shared_ptr<const detail::LineVector<A>> frame_;  // [frequency_sets, columns, dim]
  Index frame_columns_ = 0;
  Index frame_dim_ = 0;
  std::int64_t start_ = 0;
  std::vector<double> positions_;  // [batch, seq, channels]; empty for a range
  std::vector<Index> axis_of_plane_;
  std::vector<double> frequencies_;  // [frequency_sets, planes]
  detail::LineVector<A> table_;
};

namespace detail {

/// Where the tokens of an action stand, from positions and, where they have several axes, the axis
/// of each plane.
class PositionSource {
 public:
  explicit PositionSource(const Positions& positions, std::span<const Index> axis_of_plane = {})
      : positions_(positions), axis_of_plane_(axis_of_plane) {}

  Index batch() const { return positions_.batch(); }
  Index seq() const { return positions_.seq(); }
  Index channels() const { return positions_.axis_count(); }
  std::span<const Index> axis_of_plane() const { return axis_of_plane_; }
  bool is_integer() const { return positions_.kind() != Positions::Kind::reals; }
  std::int64_t integer(Index b, Index t, Index channel) const {
    return positions_.integer(b, t, channel);
  }
  bool has_start() const { return positions_.kind() == Positions::Kind::range; }
  std::int64_t start() const { return positions_.integer(0, 0); }
  void write(double* out) const {
    for (Index b = 0; b < batch(); ++b) {
      for (Index t = 0; t < seq(); ++t) {
        for (Index c = 0; c < channels(); ++c) *out++ = positions_.value(b, t, c);
      }
    }
  }

 private:
  const Positions& positions_;
  std::span<const Index> axis_of_plane_;
};

}  // namespace detail

/// Prepares `action` for the planes at the positions. Throws ArgumentError, and changes nothing,
/// for positions of several axes (see AxialPath) or a table that does not fit into memory.
template <detail::PlaneGenerator G, Accumulator A>
void prepare(const G& generator, LinearPath, const Positions& positions,
             RotationAction<A>& action) {
  if (positions.axis_count() != 1) {
    detail::fail("positions", detail::text(positions.axis_count(), " axes"),
                 "one position a token, or an encoder on an AxialPath");
  }
  action.assign(detail::planes_of(generator), detail::PositionSource(positions));
}

}  // namespace grape::inline v0
