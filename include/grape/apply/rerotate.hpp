// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>
#include <type_traits>
#include <vector>

#include "grape/apply/rotation.hpp"
#include "grape/core/error.hpp"
#include "grape/core/executor.hpp"
#include "grape/core/view.hpp"
#include "grape/encoder/encoder.hpp"
#include "grape/generator/angle_profile.hpp"
#include "grape/generator/planes.hpp"
#include "grape/path/pending_shift.hpp"
#include "grape/path/positions.hpp"

namespace grape::inline v0 {

// Moving keys that a cache holds already rotated: exp((n + delta) L) = exp(delta L) exp(n L), so
// one more rotation moves a key, and where it stood need not be known. The attention factor is in
// the key already and is not applied again.

/// Whether an encoder is Shiftable; what the concept reads.
template <class E>
inline constexpr bool is_shiftable = false;
/// Rotations on a path that says so, whose generator can leave the attention factor out.
template <class G, class P>
requires(detail::PlaneGenerator<G>&& P::kShiftable&& requires(const G& generator) {
  requires detail::PlaneGenerator<std::remove_cvref_t<decltype(generator.unscaled())>>;
}) inline constexpr bool is_shiftable<Encoder<G, P>> = true;

/// An encoder whose rotated keys a difference of positions moves exactly: rotations on a linear or
/// axial path, on coordinates or in a frame. A contextual phase is none, since it depends on the
/// tokens between; a bias is none, since it leaves keys as they are.
template <class E>
concept Shiftable = is_shiftable<E>;

namespace detail {

/// Whether Enc is Shiftable; it does not compile where it is not.
template <class Enc>
consteval bool moves_keys() {
  static_assert(Shiftable<Enc>,
                "grape: rerotate needs an encoder that turns keys by their positions (RoPE, "
                "AxialRoPE): a contextual phase depends on the tokens between, a bias leaves keys "
                "as they are");
  return Shiftable<Enc>;
}

template <Shiftable Enc>
void check_shift(const Enc& encoder) {
  if constexpr (requires { encoder.generator().profile(); }) {
    if (encoder.generator().profile() != AngleProfile::exact) {
      fail("encoder", "rounded angles, which do not add up",
           "AngleProfile::exact: build an encoder of the same spectrum to move keys");
    }
  }
}

/// Axes of the positions that an encoder takes.
template <Shiftable Enc>
Index shift_axes(const Enc& encoder) {
  if constexpr (requires { encoder.path().axes(); }) return encoder.path().axes();
  return 1;
}

inline void check_delta_axes(std::string_view argument, Index got, Index wanted) {
  if (got != wanted) fail(argument, text(got, " axes"), text(wanted, ", those of the encoder"));
}

/// The encoder without its attention factor.
template <Shiftable Enc>
auto unscaled(const Enc& encoder) {
  using G = std::remove_cvref_t<decltype(encoder.generator().unscaled())>;
  using P = std::remove_cvref_t<decltype(encoder.path())>;
  return Encoder<G, P>(encoder.generator().unscaled(), encoder.path());
}

}  // namespace detail

/// Moves cached keys [batch, seq, heads, dim] in place by the deltas of their positions, one a
/// token (pruned caches), of each batch entry or shared, with an axis each where the encoder has
/// axes: a key rotated at n is then what it would be at n + delta, but for one more rounding.
/// Throws ArgumentError, before anything is written, for deltas or keys that do not fit the
/// encoder, and for an encoder with rounded angles (AngleProfile).
template <Shiftable Enc, Element T, Executor E = Serial>
void rerotate(const Enc& encoder, const Positions& deltas, TensorView<T> keys,
              const E& executor = {}) {
  detail::check_shift(encoder);
  detail::check_delta_axes("deltas", deltas.axis_count(), detail::shift_axes(encoder));
  const auto action = detail::unscaled(encoder).at(deltas);
  if (keys.empty()) return;
  detail::check_rotation(action, keys, "keys");
  detail::rotate<detail::Turning::forward>(action, keys, executor);
}

/// Moves all cached keys by one delta (context shift). Throws ArgumentError, before anything is
/// written, for a delta that does not fit into 64 bits and an encoder of more than one axis.
template <Shiftable Enc, std::integral Int, Element T, Executor E = Serial>
void rerotate(const Enc& encoder, Int delta, TensorView<T> keys, const E& executor = {}) {
  constexpr Index kRun = 512;  // tokens that share a prepared action, so that it stays small
  detail::check_shift(encoder);
  detail::check_delta_axes("delta", 1, detail::shift_axes(encoder));
  if constexpr (std::unsigned_integral<Int>) {
    constexpr auto kMost = static_cast<std::uint64_t>((std::numeric_limits<std::int64_t>::max)());
    if (static_cast<std::uint64_t>(delta) > kMost) {
      detail::fail("delta", detail::text(delta), "a number that fits into 64 bits with a sign");
    }
  }
  if (keys.empty()) return;
  const auto unscaled = detail::unscaled(encoder);
  const std::vector<std::int64_t> deltas(static_cast<std::size_t>((std::min)(kRun, keys.seq())),
                                         static_cast<std::int64_t>(delta));
  auto action = unscaled.at(Positions::shared(deltas));
  for (Index begin = 0; begin < keys.seq(); begin += kRun) {
    const Index count = (std::min)(kRun, keys.seq() - begin);
    if (count != action.seq()) {
      unscaled.at(Positions::shared({deltas.data(), static_cast<std::size_t>(count)}), action);
    }
    const TensorView<T> run(&keys(0, begin, 0, 0), {keys.batch(), count, keys.heads(), keys.dim()},
                            {keys.stride(0), keys.stride(1), keys.stride(2), keys.stride(3)});
    detail::check_rotation(action, run, "keys");
    detail::rotate<detail::Turning::forward>(action, run, executor);
  }
}

/// Applies what has been added up, in one rotation, and clears it. Keys are left alone, bit for
/// bit, if nothing is to move.
template <Shiftable Enc, Element T, Executor E = Serial>
void rerotate(const Enc& encoder, PendingShift& shift, TensorView<T> keys, const E& executor = {}) {
  detail::check_shift(encoder);
  if (keys.seq() != shift.tokens()) {
    detail::fail("keys seq", detail::text(keys.seq(), " tokens"),
                 detail::text("the ", shift.tokens(), " tokens of the shift"));
  }
  if (!shift.pending()) return;
  rerotate(encoder, shift.deltas(), keys, executor);
  shift.clear();
}

/// Says what an encoder lacks that moves no keys.
template <class Enc, class... Args>
requires(!Shiftable<Enc>) void rerotate(const Enc&, Args&&...) {
  static_cast<void>(detail::moves_keys<Enc>());
}

}  // namespace grape::inline v0
