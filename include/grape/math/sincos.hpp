// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "grape/core/config.hpp"
#include "grape/core/scalar.hpp"

namespace grape::inline v0 {

/// Exact sine and cosine of n * theta for integer n.
///
/// An angle is kept as a fraction of a turn in fixed point: theta / (2 pi) mod 1 in 128 bits. Then
/// n * theta mod 2 pi is one integer product, which drops whole turns without any rounding, and
/// which no compiler flag can re-associate. The error of the angle is at most |n| * 2^-128 + 2^-64
/// turns for any 64-bit n and |theta| < 2^64, so that sine and cosine are correct to the last bit
/// or two of a double (1 ulp of 1) wherever n stands.
struct Turn {
  std::uint64_t high = 0;  ///< units of 2^-64 turns
  std::uint64_t low = 0;   ///< units of 2^-128 turns
};

/// A phase: units of 2^-64 turns, wrapped into [-1/2, 1/2) of a turn.
using Phase = std::int64_t;

/// Cosine and sine of one angle.
template <Accumulator A>
struct CosSin {
  A cos;
  A sin;
};

namespace detail {

struct Wide {
  std::uint64_t high, low;
};

constexpr Wide multiply_wide(std::uint64_t a, std::uint64_t b) {
#if defined(__SIZEOF_INT128__)
  __extension__ using Product = unsigned __int128;
  const Product p = static_cast<Product>(a) * b;
  return {static_cast<std::uint64_t>(p >> 64), static_cast<std::uint64_t>(p)};
#else
  const std::uint64_t mask = 0xffffffffu;
  const std::uint64_t ll = (a & mask) * (b & mask), lh = (a & mask) * (b >> 32);
  const std::uint64_t hl = (a >> 32) * (b & mask), hh = (a >> 32) * (b >> 32);
  const std::uint64_t middle = (ll >> 32) + (lh & mask) + (hl & mask);
  return {hh + (lh >> 32) + (hl >> 32) + (middle >> 32), (middle << 32) | (ll & mask)};
#endif
}

/// 2 pi / 2^64 and 2 pi / 2^32: what one unit of a 64-bit and of a 32-bit phase is in radians.
inline constexpr double kRadiansPerPhase = 3.40612158008655459e-19;
inline constexpr double kRadiansPerPhase32 = 1.46291807926715968e-9;

inline constexpr double kPi = 3.14159265358979323846;
inline constexpr double kTurnsPerRadian = 0.159154943091895335769;

/// Taylor sums on [-pi/4, pi/4]; the first omitted term is below 1e-19 of the result.
constexpr double sin_small(double x) {
  const double z = x * x;
  double p = 1.0 / 355687428096000.0;
  p = p * z - 1.0 / 1307674368000.0;
  p = p * z + 1.0 / 6227020800.0;
  p = p * z - 1.0 / 39916800.0;
  p = p * z + 1.0 / 362880.0;
  p = p * z - 1.0 / 5040.0;
  p = p * z + 1.0 / 120.0;
  p = p * z - 1.0 / 6.0;
  return x + x * (z * p);
}
constexpr double cos_small(double x) {
  const double z = x * x;
  double p = 1.0 / 20922789888000.0;
  p = p * z - 1.0 / 87178291200.0;
  p = p * z + 1.0 / 479001600.0;
  p = p * z - 1.0 / 3628800.0;
  p = p * z + 1.0 / 40320.0;
  p = p * z - 1.0 / 720.0;
  p = p * z + 1.0 / 24.0;
  return 1.0 - (0.5 * z - (z * z) * p);
}

}  // namespace detail

/// theta / (2 pi) mod 1 for finite |theta| < 2^64 radians, from theta's bits and 320 bits of 1 / (2
/// pi).
constexpr Turn turn_of(double theta) {
  constexpr std::uint64_t kInverseTwoPi[5] = {0x28be60db9391054au, 0x7f09d5f47d4d3770u,
                                              0x36d8a5664f10e410u, 0x7f9458eaf7aef158u,
                                              0x6dc91b8e909374b8u};
  const auto bits = std::bit_cast<std::uint64_t>(theta);
  const int biased = static_cast<int>((bits >> 52) & 0x7ff);
  const std::uint64_t mantissa = (bits & 0xfffffffffffffu) | (biased != 0 ? 0x10000000000000u : 0u);
  const int exponent = (biased != 0 ? biased : 1) - 1075;  // theta = mantissa * 2^exponent

  // mantissa / (2 pi): word 0 holds whole turns, words 1.. the fraction.
  std::uint64_t word[6] = {};
  for (int i = 5; i-- > 0;) {
    const detail::Wide p = detail::multiply_wide(mantissa, kInverseTwoPi[i]);
    word[i + 1] += p.low;
    word[i] = p.high + (word[i + 1] < p.low);
  }
  // 64 bits of it that start `position` bits after the binary point.
  const auto bits_at = [&word](int position) -> std::uint64_t {
    const auto at = [&word](int i) { return i < 0 || i > 5 ? std::uint64_t{0} : word[i]; };
    const int index = 1 + (position >= 0 ? position / 64 : -((63 - position) / 64));
    const int shift = position - 64 * (index - 1);
    return shift == 0 ? at(index) : (at(index) << shift) | (at(index + 1) >> (64 - shift));
  };
  Turn turn{bits_at(exponent), bits_at(exponent + 64)};
  if ((bits >> 63) != 0) {  // two's complement: -x mod 1
    turn.low = ~turn.low + 1;
    turn.high = ~turn.high + (turn.low == 0);
  }
  return turn;
}

/// n * theta as a phase, rounded to the nearest 2^-64 turn.
constexpr Phase phase_at(Turn turn, std::int64_t n) {
  const auto magnitude = n < 0 ? ~static_cast<std::uint64_t>(n) + 1 : static_cast<std::uint64_t>(n);
  const detail::Wide fraction = detail::multiply_wide(magnitude, turn.low);
  const std::uint64_t phase = magnitude * turn.high + fraction.high + (fraction.low >> 63);
  return static_cast<Phase>(n < 0 ? ~phase + 1 : phase);
}

/// x * theta as a phase for real |x| < 2^63: the whole part of x as above, the fractional part to
/// 2^-52 of its own angle, which is at most |theta| radians.
inline Phase phase_at(Turn turn, double theta, double x) {
  const double whole = std::floor(x);
  const double turns = (x - whole) * theta * detail::kTurnsPerRadian;
  const double wrapped = turns - std::floor(turns);  // in [0, 1]
  const auto rest = static_cast<std::uint64_t>(wrapped * 0x1p62) << 2;
  const Phase exact = phase_at(turn, static_cast<std::int64_t>(whole));
  return static_cast<Phase>(static_cast<std::uint64_t>(exact) + rest);
}

/// Cosine and sine of a phase, within 2^-53 of the exact values.
constexpr CosSin<double> cos_sin(Phase phase) {
  const auto bits = static_cast<std::uint64_t>(phase);
  const std::uint64_t quadrant = (bits + (std::uint64_t{1} << 61)) >> 62;
  const auto rest = static_cast<std::int64_t>(bits - (quadrant << 62));
  const double x = static_cast<double>(rest) * detail::kRadiansPerPhase;
  const double s = detail::sin_small(x), c = detail::cos_small(x);
  switch (quadrant & 3) {
    case 0:
      return {c, s};
    case 1:
      return {-s, c};
    case 2:
      return {-c, -s};
    default:
      return {s, -c};
  }
}

/// theta_m / (2 pi) for a list of frequencies, laid out for the row kernels.
class TurnList {
 public:
  TurnList() = default;
  /// Of frequencies in radians a position.
  template <class List>
  explicit TurnList(const List& thetas) : high_(thetas.size()), low_(thetas.size()) {
    for (std::size_t m = 0; m < thetas.size(); ++m) {
      const double theta = thetas[m];
      below_pi_ = below_pi_ && theta < detail::kPi && theta > -detail::kPi;
      const Turn turn = turn_of(theta);
      high_[m] = turn.high;
      low_[m] = turn.low;
    }
  }

  std::size_t size() const { return high_.size(); }
  Turn operator[](std::size_t m) const { return {high_[m], low_[m]}; }
  const std::uint64_t* high() const { return high_.data(); }
  /// Whether every |theta| < pi, so that high() is its turn as a signed fraction.
  bool below_pi() const { return below_pi_; }

 private:
  bool below_pi_ = true;
  std::vector<std::uint64_t> high_, low_;
};

namespace detail {
inline namespace GRAPE_ISA {

/// Positions up to this magnitude take the short row kernel below.
inline constexpr std::int64_t kShortPosition = std::int64_t{1} << 31;

/// scale * cos and scale * sin of phases m < count, as phase_of(m) has them in units of 2^-64
/// turns, to 3e-9: enough for a float that is rounded once. A phase is cut to 32 bits, so that
/// every step has a vector instruction.
template <class PhaseOf, class Out>
void cos_sin_row_short(const PhaseOf& phase_of, Index count, double scale,
                       Out* GRAPE_RESTRICT cos_out, Out* GRAPE_RESTRICT sin_out) {
  constexpr Index kChunk = 64;
  std::int32_t phase[kChunk];
  for (Index start = 0; start < count; start += kChunk) {
    const Index length = count - start < kChunk ? count - start : kChunk;
    for (Index i = 0; i < length; ++i) {
      const std::uint64_t p = phase_of(start + i) + 0x80000000u;
      phase[i] = static_cast<std::int32_t>(p >> 32);
    }
    for (Index i = 0; i < length; ++i) {
      // The quadrant, and what is left of it in [-pi/4, pi/4].
      const std::int32_t quadrant = (phase[i] >> 30) + ((phase[i] >> 29) & 1);
      const auto rest = static_cast<std::int32_t>(static_cast<std::uint32_t>(phase[i]) -
                                                  (static_cast<std::uint32_t>(quadrant) << 30));
      const double x = static_cast<double>(rest) * kRadiansPerPhase32;
      const double z = x * x;
      const double s =
          x + x * z * (-1.0 / 6.0 + z * (1.0 / 120.0 + z * (-1.0 / 5040.0 + z * (1.0 / 362880.0))));
      const double c =
          1.0 + z * (-0.5 + z * (1.0 / 24.0 +
                                 z * (-1.0 / 720.0 + z * (1.0 / 40320.0 - z * (1.0 / 3628800.0)))));
      // Swap and signs by arithmetic: compilers do not turn selects of sums into vectors.
      const double swap = (quadrant & 1) * (s - c);
      const double cos_sign = scale * (1 - ((quadrant + 1) & 2));
      const double sin_sign = scale * (1 - (quadrant & 2));
      cos_out[start + i] = static_cast<Out>((c + swap) * cos_sign);
      sin_out[start + i] = static_cast<Out>((s - swap) * sin_sign);
    }
  }
}

}  // namespace GRAPE_ISA
}  // namespace detail

/// scale * cos(n theta_m) and scale * sin(n theta_m) for `count` frequencies from `first` on. In
/// float the error is below 2^-24 + 3e-9 times |scale|, in double a few 2^-53.
template <Accumulator A>
void cos_sin_row(const TurnList& turns, Index first, Index count, std::int64_t n, double scale,
                 A* cos_out, A* sin_out) {
  if constexpr (std::same_as<A, float>) {
    if (n <= detail::kShortPosition && n >= -detail::kShortPosition) {
      const std::uint64_t* high = turns.high() + first;
      const auto factor = static_cast<std::uint64_t>(n);
      const auto phase_of = [high, factor](Index m) { return factor * high[m]; };
      detail::cos_sin_row_short(phase_of, count, scale, cos_out, sin_out);
      return;
    }
  }
  for (Index m = 0; m < count; ++m) {
    const CosSin<double> g = cos_sin(phase_at(turns[static_cast<std::size_t>(first + m)], n));
    cos_out[m] = static_cast<A>(scale * g.cos);
    sin_out[m] = static_cast<A>(scale * g.sin);
  }
}

/// The same where each plane has an integer position of its own, n(m) for m < count: axes of a
/// grid.
template <Accumulator A, std::invocable<Index> N>
void cos_sin_row(const TurnList& turns, Index first, Index count, const N& n, double scale,
                 A* cos_out, A* sin_out) {
  constexpr Index kChunk = 64;
  for (Index start = 0; start < count; start += kChunk) {
    const Index length = count - start < kChunk ? count - start : kChunk;
    std::int64_t position[kChunk];
    bool is_short = std::same_as<A, float>;
    for (Index i = 0; i < length; ++i) {
      position[i] = n(start + i);
      is_short = is_short && position[i] <= detail::kShortPosition &&
                 position[i] >= -detail::kShortPosition;
    }
    if (is_short) {
      const std::uint64_t* high = turns.high() + first + start;
      const auto phase_of = [&position, high](Index i) {
        return static_cast<std::uint64_t>(position[i]) * high[i];
      };
      detail::cos_sin_row_short(phase_of, length, scale, cos_out + start, sin_out + start);
      continue;
    }
    for (Index i = 0; i < length; ++i) {
      const auto m = static_cast<std::size_t>(first + start + i);
      const CosSin<double> g = cos_sin(phase_at(turns[m], position[i]));
      cos_out[start + i] = static_cast<A>(scale * g.cos);
      sin_out[start + i] = static_cast<A>(scale * g.sin);
    }
  }
}

/// The same at a real x, |x| < 2^63; thetas are what `turns` was made of. In float the error is
/// below 2^-24 + 5e-9 times |scale|.
template <Accumulator A>
void cos_sin_row_real(const TurnList& turns, const double* thetas, Index first, Index count,
                      double x, double scale, A* cos_out, A* sin_out) {
  if constexpr (std::same_as<A, float>) {
    constexpr auto kShort = static_cast<double>(detail::kShortPosition);
    if (turns.below_pi() && x <= kShort && x >= -kShort) {
      // The part behind the point in 31 bits, times theta in 32: 2^-32 radians and turns.
      const double whole = std::floor(x);
      const auto n = static_cast<std::uint64_t>(static_cast<std::int64_t>(whole));
      const auto part = static_cast<std::int64_t>((x - whole) * 0x1p31);
      const std::uint64_t* high = turns.high() + first;
      const auto phase_of = [high, n, part](Index m) {
        const std::int64_t theta = static_cast<std::int32_t>(high[m] >> 32);
        return n * high[m] + (static_cast<std::uint64_t>(part * theta) << 1);
      };
      detail::cos_sin_row_short(phase_of, count, scale, cos_out, sin_out);
      return;
    }
  }
  for (Index m = 0; m < count; ++m) {
    const auto i = static_cast<std::size_t>(first + m);
    const CosSin<double> g = cos_sin(phase_at(turns[i], thetas[i], x));
    cos_out[m] = static_cast<A>(scale * g.cos);
    sin_out[m] = static_cast<A>(scale * g.sin);
  }
}

}  // namespace grape::inline v0
