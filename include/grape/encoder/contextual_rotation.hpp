// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "grape/core/error.hpp"
#include "grape/core/view.hpp"
#include "grape/encoder/rotation_action.hpp"
#include "grape/generator/planes.hpp"
#include "grape/math/prefix_sum.hpp"
#include "grape/path/cumulative.hpp"

namespace grape::inline v0 {
namespace detail {

/// Phases of tokens from their increments [batch, seq, P, 1]: exclusive sums, from the carry on.
template <Element T>
class PhaseSource {
 public:
  PhaseSource(const TensorView<T>& omega, std::span<const double> carry)
      : omega_(omega), carry_(carry) {}

  Index batch() const { return omega_.batch(); }
  Index seq() const { return omega_.seq(); }
  Index channels() const { return omega_.heads(); }
  std::span<const Index> axis_of_plane() const { return {}; }
  bool is_integer() const { return false; }
  std::int64_t integer(Index, Index, Index) const { return 0; }
  bool has_start() const { return false; }
  std::int64_t start() const { return 0; }
  void write(double* out) const {
    each([&](Index b, Index t, Index p, double phase) {
      if (t < seq()) out[(b * seq() + t) * channels() + p] = phase;
    });
  }

  /// visit(b, t, p, Phi_t) for t in [0, seq]: the last one is what the next token would have.
  template <class Visit>
  void each(Visit&& visit) const {
    for (Index b = 0; b < batch(); ++b) {
      for (Index p = 0; p < channels(); ++p) {
        CompensatedSum sum;
        if (!carry_.empty()) sum.add(carry_[static_cast<std::size_t>(b * channels() + p)]);
        for (Index t = 0; t < seq(); ++t) {
          visit(b, t, p, sum.high);
          sum.add(increment(b, t, p));
        }
        visit(b, seq(), p, sum.high);
      }
    }
  }

  double increment(Index b, Index t, Index p) const {
    return static_cast<double>(static_cast<accumulation_t<T>>(omega_(b, t, p, 0)));
  }

  void check(Index frequency_sets) const {
    if (omega_.dim() != 1) {
      fail("omega dim", text(omega_.dim()), "1, one phase increment a token and set");
    }
    if (channels() < 1 ||
        (channels() != 1 && frequency_sets != 1 && channels() != frequency_sets)) {
      fail("omega heads", text(channels()),
           frequency_sets == 1 ? text("a set for each head or group of heads, or 1")
                               : text("1 or the ", frequency_sets, " sets of the spectrum"));
    }
    if (!carry_.empty() && carry_.size() != static_cast<std::size_t>(batch() * channels())) {
      fail("carry", text(carry_.size(), " phases"),
           text(batch() * channels(), " (batch x sets of omega)"));
    }
    for (std::size_t i = 0; i < carry_.size(); ++i) {
      if (!is_finite(carry_[i])) {
        fail(text("carry[", i, "]"), text(carry_[i]), "a finite phase");
      }
    }
    for (Index b = 0; b < batch(); ++b) {
      for (Index t = 0; t < seq(); ++t) {
        for (Index p = 0; p < channels(); ++p) {
          const double x = increment(b, t, p);
          if (!is_finite(x)) {
            fail(text("omega(", b, ", ", t, ", ", p, ")"), text(x), "a finite phase increment");
          }
        }
      }
    }
    each([](Index b, Index t, Index p, double phase) {
      if (!is_finite(phase) || phase >= 0x1p63 || phase <= -0x1p63) {
        fail(text("phase(", b, ", ", t, ", ", p, ")"), text(phase),
             "increments whose sum stays below 2^63 in magnitude");
      }
    });
  }

 private:
  const TensorView<T>& omega_;
  std::span<const double> carry_;
};

}  // namespace detail

/// Prepares `action` for planes that turn by phases theta_m Phi_t (contextual GRAPE-M, section 3):
/// omega [batch, seq, P, 1] are the increments, P = 1 for phases that all heads share, or as many
/// as the spectrum has sets, or any number where all share one spectrum (then the action has P
/// sets). They are learned through sigmoid or softplus (math/gates.hpp); the path takes any sign.
/// Phases are summed in double, compensated. Throws ArgumentError, and changes nothing, unless all
/// are finite and sums stay below 2^63.
template <detail::PlaneGenerator G, Element T, Accumulator A>
void prepare(const G& generator, ExclusivePath, const TensorView<T>& omega,
             RotationAction<A>& action) {
  const detail::PhaseSource<T> source(omega, {});
  const auto& planes = detail::planes_of(generator);
  source.check(planes.spectrum().sets());
  action.assign(planes, source);
}

/// The same for a sequence that goes on: `carry` holds the phases [batch, P] before the first
/// token, and after the last one when all is prepared.
template <detail::PlaneGenerator G, Element T, Accumulator A>
void prepare(const G& generator, ExclusivePath, const TensorView<T>& omega, const PhaseCarry& carry,
             RotationAction<A>& action) {
  if (carry.phases.empty() && omega.batch() * omega.heads() != 0) {
    detail::fail("carry", "0 phases", "batch x sets of omega");
  }
  const detail::PhaseSource<T> source(omega, carry.phases);
  const auto& planes = detail::planes_of(generator);
  source.check(planes.spectrum().sets());
  action.assign(planes, source);
  // Each phase of the carry is read before it is written.
  source.each([&](Index b, Index t, Index p, double phase) {
    if (t == omega.seq()) carry.phases[static_cast<std::size_t>(b * omega.heads() + p)] = phase;
  });
}

}  // namespace grape::inline v0
