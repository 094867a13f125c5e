// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>

#include "grape/core/error.hpp"
#include "grape/core/pairing.hpp"
#include "grape/generator/angle_profile.hpp"
#include "grape/generator/generator.hpp"
#include "grape/math/sincos.hpp"
#include "grape/spectrum/spectrum.hpp"

namespace grape::inline v0 {

/// Partial rotary on a slice of the head: coordinates [begin, begin + rotary_dim) turn, the others
/// are left untouched (checkpoints that keep the rotated part behind an unrotated one).
struct RotarySlice {
  Index begin = 0;
};

/// Commuting planes on pairs of coordinates, RoPE's generator (section 3, equation 3.1):
///
///   L = sum_m theta_m L(e_second(m), e_first(m)),   L(a, b) = a b^T - b a^T,
///
/// so that exp(n L) turns every pair by n theta_m as x0' = x0 cos - x1 sin, x1' = x0 sin + x1 cos.
/// The rotated coordinates are slice.begin + [0, 2 M); a head may be wider.
template <Element Scalar_, Pairing pairing_ = Pairing::interleaved>
class CanonicalPlanes {
 public:
  using Scalar = Scalar_;
  using Kind = SkewGenerator;
  static constexpr Pairing kPairing = pairing_;

  /// Throws ArgumentError if slice.begin is negative, and for AngleProfile::float32_recurrence
  /// unless each set of frequencies is geometric.
  explicit CanonicalPlanes(Spectrum spectrum, RotarySlice slice = {},
                           AngleProfile profile = AngleProfile::exact)
      : spectrum_(std::move(spectrum)),
        turns_(spectrum_.frequencies()),
        slice_(slice),
        profile_(profile) {
    if (slice.begin < 0) {
      detail::fail("slice.begin", detail::text(slice.begin), "a coordinate >= 0");
    }
    detail::check_profile(profile, spectrum_);
  }
  /// The first coordinates of a head, with angles rounded as the profile says.
  CanonicalPlanes(Spectrum spectrum, AngleProfile profile)
      : CanonicalPlanes(std::move(spectrum), RotarySlice{}, profile) {}

  const Spectrum& spectrum() const { return spectrum_; }
  /// The frequencies as fractions of a turn, [sets, planes].
  const TurnList& turns() const { return turns_; }
  Index first_coordinate() const { return slice_.begin; }
  AngleProfile profile() const { return profile_; }

  /// The same planes without an attention factor: what moves keys that carry it already.
  CanonicalPlanes unscaled() const {
    return CanonicalPlanes(spectrum_.with_attention_factor(1), slice_, profile_);
  }

 private:
  Spectrum spectrum_;
  TurnList turns_;
  RotarySlice slice_;
  AngleProfile profile_;
};

}  // namespace grape::inline v0
