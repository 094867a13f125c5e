// SPDX-License-Identifier: Apache-2.0
#include "grape/path/cumulative.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "support/errors.hpp"
#include "support/random.hpp"

namespace {

using grape::Index;
using grape::phase_increments_vjp;

// From the definition: Phi_t = carry + sum_{u < t} omega_u, so d omega_u = sum_{t > u} d Phi_t and
// the phase after the last token adds its gradient to all.
TEST(PhaseIncrementsVjp, IsTheTransposeOfTheSums) {
  Random random(201);
  for (int trial = 0; trial < 30; ++trial) {
    const Index batch = random.integer(1, 3), seq = random.integer(0, 9),
                sets = random.integer(1, 3);
    const Index count = batch * seq * sets;
    const std::vector<double> d_phase = random.uniforms(count, -1, 1);
    const std::vector<double> d_after = random.uniforms(batch * sets, -1, 1);
    const std::vector<double> start = random.uniforms(count, -1, 1);
    std::vector<double> d_omega = start, d_carry = d_after, without = start;
    phase_increments_vjp(d_phase, batch, seq, sets, d_omega, d_carry);
    phase_increments_vjp(d_phase, batch, seq, sets, without);
    for (Index b = 0; b < batch; ++b) {
      for (Index p = 0; p < sets; ++p) {
        const auto at = [&](Index t) { return static_cast<std::size_t>((b * seq + t) * sets + p); };
        const double after = d_after[static_cast<std::size_t>(b * sets + p)];
        double all = 0;
        for (Index u = 0; u < seq; ++u) {
          double sum = 0;
          for (Index t = u + 1; t < seq; ++t) sum += d_phase[at(t)];
          EXPECT_NEAR(d_omega[at(u)], start[at(u)] + sum + after, 20 * 0x1p-53 * 10);
          EXPECT_NEAR(without[at(u)], start[at(u)] + sum, 20 * 0x1p-53 * 10);
          all += d_phase[at(u)];
        }
        EXPECT_NEAR(d_carry[static_cast<std::size_t>(b * sets + p)], all + after,
                    20 * 0x1p-53 * 10);
      }
    }
  }
}

TEST(PhaseIncrementsVjp, ChunksGiveWhatTheWholeDoes) {
  Random random(202);
  constexpr Index kSeq = 11, kCut = 4, kSets = 2;
  const std::vector<double> d_phase = random.uniforms(kSeq * kSets, -1, 1);
  std::vector<double> whole(kSeq * kSets, 0.0), parts(kSeq * kSets, 0.0), carry(kSets, 0.0);
  phase_increments_vjp(d_phase, 1, kSeq, kSets, whole);
  const std::span<const double> d = d_phase;
  const std::span<double> out = parts;
  phase_increments_vjp(d.subspan(kCut * kSets), 1, kSeq - kCut, kSets, out.subspan(kCut * kSets),
                       carry);
  phase_increments_vjp(d.first(kCut * kSets), 1, kCut, kSets, out.first(kCut * kSets), carry);
  for (std::size_t i = 0; i < whole.size(); ++i) EXPECT_NEAR(parts[i], whole[i], 40 * 0x1p-53);
}

TEST(PhaseIncrementsVjp, WorksInPlace) {
  std::vector<double> d{1, 2, 3, 4, 5, 6};
  phase_increments_vjp(d, 1, 3, 2, d);  // [3, 2], added to what is there
  EXPECT_EQ(d, (std::vector<double>{1 + 8, 2 + 10, 3 + 5, 4 + 6, 5, 6}));
}

TEST(PhaseIncrementsVjp, RejectsOtherSizes) {
  std::vector<double> six(6), five(5);
  EXPECT_TRUE(rejects([&] { phase_increments_vjp(five, 1, 3, 2, six); }, "d_phase", "5 entries",
                      "6 (batch x seq x sets)"));
  EXPECT_TRUE(
      rejects([&] { phase_increments_vjp(six, 1, 3, 2, five); }, "d_omega", "5 entries", "6"));
  EXPECT_TRUE(rejects([&] { phase_increments_vjp(six, 1, 3, 2, six, five); }, "d_carry",
                      "5 entries", "2 (batch x sets)"));
}

}  // namespace
