// SPDX-License-Identifier: Apache-2.0
#include "grape/encoder/contextual_rotation.hpp"

#include <gtest/gtest.h>

#include "grape/presets.hpp"
#include "grape/spectrum/log_uniform.hpp"
#include "support/errors.hpp"
#include "support/random.hpp"
#include "support/reference.hpp"
#include "support/strided.hpp"

namespace {

using grape::Index;
using grape::PhaseCarry;
using grape::Spectrum;

template <class A>
class ContextualRotationOf : public testing::Test {};
using Accumulators = testing::Types<float, double>;
TYPED_TEST_SUITE(ContextualRotationOf, Accumulators);

// Angles from sums in long double; the double phase is off by half an ulp of itself, which theta
// (at most 1) turns into an angle.
TYPED_TEST(ContextualRotationOf, TurnsByExclusiveSums) {
  Random random(231);
  for (int trial = 0; trial < 40; ++trial) {
    SCOPED_TRACE(trial);
    const Index batch = random.integer(1, 3), seq = random.integer(1, 50);
    const Index frequency_sets = trial % 2 == 0 ? 1 : 3, phases = trial % 4 < 2 ? 3 : 1;
    const Index planes = random.integer(1, 9), sets = std::max(frequency_sets, phases);
    const Spectrum spectrum =
        Spectrum::per_head(random.frequencies(planes * frequency_sets), frequency_sets);
    const auto all = layouts(batch, seq, phases, 1);
    Strided<float> omega(all[static_cast<std::size_t>(random.integer(0, 9))], random);
    const std::vector<double> values = omega.values();
    const grape::ContextualRoPE<TypeParam> rope(spectrum);
    const auto action = rope.at(omega.tensor());
    ASSERT_EQ(action.batch(), batch);
    ASSERT_EQ(action.seq(), seq);
    ASSERT_EQ(action.sets(), sets);
    ASSERT_EQ(action.frequency_sets(), frequency_sets);
    ASSERT_EQ(action.channels(), phases);
    const double unit = std::same_as<TypeParam, float> ? 0x1p-24 : (4 + 50) * 0x1p-53;
    for (Index b = 0; b < batch; ++b) {
      for (Index s = 0; s < sets; ++s) {
        const Index p = phases == 1 ? 0 : s;
        long double phase = 0;
        for (Index t = 0; t < seq; ++t) {
          for (Index m = 0; m < planes; ++m) {
            const double theta = spectrum(frequency_sets == 1 ? 0 : s, m);
            const auto got = action.element(b, t, s, m);
            EXPECT_NEAR(got.cos, static_cast<double>(std::cos(phase * theta)), unit);
            EXPECT_NEAR(got.sin, static_cast<double>(std::sin(phase * theta)), unit);
            EXPECT_EQ(action.frequency(s, m), theta);
            EXPECT_EQ(action.channel(s, m), p);
            EXPECT_EQ(action.position(b, t, s, m), static_cast<double>(phase));
          }
          phase += values[static_cast<std::size_t>((b * seq + t) * phases + p)];
        }
      }
    }
  }
}

TYPED_TEST(ContextualRotationOf, UnitIncrementsAreRope) {
  const Spectrum spectrum = grape::spectrum::log_uniform(64);
  const std::vector<float> ones(200, 1.0F);
  const auto phases =
      grape::ContextualRoPE<TypeParam>(spectrum).at(grape::blh(ones.data(), 1, 200, 1));
  const auto plain = grape::RoPE<TypeParam>(spectrum).at(grape::Positions::range(0, 200));
  // A float row for integers is cut to 3e-9.
  const double unit = std::same_as<TypeParam, float> ? 0x1p-24 : 0;
  for (Index t = 0; t < 200; ++t) {
    for (Index m = 0; m < 32; ++m) {
      EXPECT_NEAR(phases.element(0, t, 0, m).cos, plain.element(0, t, 0, m).cos, unit);
      EXPECT_NEAR(phases.element(0, t, 0, m).sin, plain.element(0, t, 0, m).sin, unit);
    }
  }
}

TEST(ContextualRotation, StreamingGoesOnWhereItWas) {
  Random random(232);
  constexpr Index kBatch = 2, kSeq = 37, kSets = 3;
  std::vector<double> omega = random.uniforms(kBatch * kSeq * kSets, 0, 2);
  const grape::ContextualRoPE<double> rope(Spectrum(random.frequencies(5)));
  const auto whole = rope.at(grape::blh(omega.data(), kBatch, kSeq, kSets));
  std::vector<double> carry(kBatch * kSets, 0.0);
  grape::RotationAction<double> action;
  for (Index begin = 0; begin < kSeq;) {
    const Index count = std::min<Index>(random.integer(0, 5), kSeq - begin);
    const grape::TensorView<const double> chunk(
        omega.data() + begin * kSets, {kBatch, count, kSets, 1}, {kSeq * kSets, kSets, 1, 1});
    rope.at(chunk, PhaseCarry{carry}, action);
    for (Index b = 0; b < kBatch; ++b) {
      for (Index t = 0; t < count; ++t) {
        for (Index s = 0; s < kSets; ++s) {
          // Each carry rounds a phase below 74 to double.
          EXPECT_NEAR(action.position(b, t, s, 0), whole.position(b, begin + t, s, 0),
                      kSeq * 64 * 0x1p-53);
        }
      }
    }
    begin += count;
  }
  for (Index b = 0; b < kBatch; ++b) {
    for (Index s = 0; s < kSets; ++s) {
      double sum = 0;
      for (Index t = 0; t < kSeq; ++t) {
        sum += omega[static_cast<std::size_t>((b * kSeq + t) * kSets + s)];
      }
      EXPECT_NEAR(carry[static_cast<std::size_t>(b * kSets + s)], sum, kSeq * 128 * 0x1p-53);
    }
  }
}

// A million increments: a sum in double drifts, the compensated one does not.
TEST(ContextualRotation, LongSumsKeepTheirPrecision) {
  constexpr Index kSeq = 1000000;
  const std::vector<float> omega(kSeq, 0.1F);
  const grape::ContextualRoPE<double> rope(Spectrum({0.0}));
  const auto action = rope.at(grape::blh(omega.data(), 1, kSeq, 1));
  for (const Index t : {Index{0}, Index{1}, Index{4096}, kSeq - 1}) {
    const double want = static_cast<double>(t) * static_cast<double>(0.1F);  // exact: 20 + 24 bits
    EXPECT_EQ(action.position(0, t), want);
  }
}

TEST(ContextualRotation, RejectsWhatItCannotUseAndKeepsActionAndCarry) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  std::vector<float> omega(12, 0.5F);
  const grape::ContextualRoPE<float> rope(Spectrum::per_head({1, 2, 3, 4}, 2));
  std::vector<double> carry{1, 2, 3, 4};
  const std::vector<double> before = carry;
  auto action = rope.at(grape::blh(omega.data(), 2, 3, 2));
  const auto cosine = action.element(1, 2, 1, 1).cos;
  const auto at = [&](Index b, Index l, Index h) { return grape::blh(omega.data(), b, l, h); };
  EXPECT_TRUE(rejects([&] { rope.at(at(1, 4, 3), action); }, "omega heads", "3",
                      "1 or the 2 sets of the spectrum"));
  EXPECT_TRUE(rejects([&] { rope.at(at(1, 4, 0), action); }, "omega heads", "0", "1 or the 2"));
  EXPECT_TRUE(rejects([&] { rope.at(grape::blhd(omega.data(), 1, 3, 2, 2), action); }, "omega dim",
                      "2", "1"));
  std::vector<double> three(3);
  EXPECT_TRUE(rejects([&] { rope.at(at(2, 3, 2), PhaseCarry{three}, action); }, "carry", "3 phases",
                      "4 (batch x sets"));
  EXPECT_TRUE(rejects([&] { rope.at(at(2, 3, 2), PhaseCarry{}, action); }, "carry", "0 phases",
                      "batch x sets"));
  for (const float bad : {kNan, kInfinity, -kInfinity}) {
    omega[9] = bad;  // batch 1, token 1, set 1
    EXPECT_TRUE(rejects([&] { rope.at(at(2, 3, 2), PhaseCarry{carry}, action); }, "omega(1, 1, 1)",
                        "", "finite"));
  }
  omega[9] = 1e19F;
  EXPECT_TRUE(rejects([&] { rope.at(at(2, 3, 2), PhaseCarry{carry}, action); }, "phase(1, 2, 1)",
                      "1", "below 2^63"));
  omega[9] = 0.5F;
  std::vector<double> lost{0, std::numeric_limits<double>::quiet_NaN(), 0, 0};
  EXPECT_TRUE(rejects([&] { rope.at(at(2, 3, 2), PhaseCarry{lost}, action); }, "carry[1]", "nan",
                      "finite"));
  EXPECT_EQ(carry, before);
  EXPECT_EQ(action.batch(), 2);
  EXPECT_EQ(action.element(1, 2, 1, 1).cos, cosine);
}

TEST(ContextualRotation, NoTokensLeaveTheCarry) {
  const grape::ContextualRoPE<float> rope(Spectrum({1.0}));
  const float* none = nullptr;
  std::vector<double> carry{1.5, 2.5};
  grape::RotationAction<float> action;
  rope.at(grape::blh(none, 2, 0, 1), PhaseCarry{carry}, action);
  EXPECT_EQ(action.seq(), 0);
  EXPECT_EQ(carry, (std::vector<double>{1.5, 2.5}));
  EXPECT_TRUE(rejects([&] { rope.at(grape::blh(none, 2, 0, 1), PhaseCarry{}, action); }, "carry",
                      "0 phases", "batch x sets"));
}

}  // namespace
