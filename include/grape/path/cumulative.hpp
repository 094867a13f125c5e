// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>

#include "grape/core/error.hpp"
#include "grape/core/scalar.hpp"
#include "grape/core/view.hpp"
#include "grape/math/prefix_sum.hpp"

namespace grape::inline v0 {

/// The cumulative path, inclusive: the group parameter of token t is U_t = sum_{l <= t} log f_l of
/// log forget gates, so that s_i - s_j = sum_{l = j+1..i} log f_l (appendix C). It makes FoX of a
/// nilpotent generator. The phase-modulated path of section 5, b = -theta_h (A_i - A_j) with A the
/// sums of omega_l >= 0, is this one with slopes theta and gates -omega. What it takes is a view
/// [batch, seq, heads, 1] of any element type (`blh`).
struct CumulativePath {
  using Input = TensorView<const float>;
};

/// The cumulative path, exclusive: the group parameter of token t is the phase
/// Phi_t = sum_{u < t} omega_u of phase increments, so that Phi_j - Phi_i = sum_{u = i..j-1}
/// omega_u: logits depend on the phase between two tokens alone. It makes contextual GRAPE-M of a
/// skew generator. What it takes is a view [batch, seq, P, 1] of any element type (`blh`): one
/// increment a token and parameter set, or P = 1 for all heads.
struct ExclusivePath {
  using Input = TensorView<const float>;
};

/// Phases [batch, P] that a sequence is at: read as the phase of the next call's first token and
/// written, once all is well, as the phase after its last one. Zeros begin a sequence.
struct PhaseCarry {
  std::span<double> phases;
};

/// The gradient of phase increments from that of phases, both [batch, seq, sets] dense: adds
/// d omega_u += sum_{t > u} d Phi_t + d carry, where d_carry [batch, sets], if given, is the
/// gradient of the carry after the last token and becomes that of the carry before the first one:
/// walk the chunks of a sequence from the last to the first. Throws ArgumentError for other sizes.
inline void phase_increments_vjp(std::span<const double> d_phase, Index batch, Index seq,
                                 Index sets, std::span<double> d_omega,
                                 std::span<double> d_carry = {}) {
  detail::check_entries("d_phase", d_phase.size(), batch * seq * sets, "batch x seq x sets");
  detail::check_entries("d_omega", d_omega.size(), batch * seq * sets, "batch x seq x sets");
  if (!d_carry.empty()) {
    detail::check_entries("d_carry", d_carry.size(), batch * sets, "batch x sets");
  }
  for (Index b = 0; b < batch; ++b) {
    for (Index p = 0; p < sets; ++p) {
      const auto at = [&](Index t) { return static_cast<std::size_t>((b * seq + t) * sets + p); };
      CompensatedSum sum;
      if (!d_carry.empty()) sum.add(d_carry[static_cast<std::size_t>(b * sets + p)]);
      for (Index t = seq; t-- > 0;) {
        const double own = d_phase[at(t)];  // before d_omega, which may be the same memory
        d_omega[at(t)] += sum.high;
        sum.add(own);
      }
      if (!d_carry.empty()) d_carry[static_cast<std::size_t>(b * sets + p)] = sum.high;
    }
  }
}

/// Which tokens of a sequence ask: `count` of them from `start` on, among the keys 0 .. seq - 1.
/// Decoding is {seq - 1, 1}, a chunk of a prefill {seq - chunk, chunk}.
struct QueryRange {
  Index start = 0;
  Index count = 0;
};

namespace detail {

inline void check_query_range(const QueryRange& range, Index seq) {
  if (range.start < 0 || range.start > seq) {
    fail("query range start", text(range.start), text("a token in [0, ", seq, "]"));
  }
  if (range.count < 0 || range.count > seq - range.start) {
    fail("query range count", text(range.count),
         text("at most the ", seq - range.start, " tokens from ", range.start, " on, and >= 0"));
  }
}

}  // namespace detail
}  // namespace grape::inline v0
