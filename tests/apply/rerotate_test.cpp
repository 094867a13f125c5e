// SPDX-License-Identifier: Apache-2.0
#include "grape/apply/rerotate.hpp"

#include <gtest/gtest.h>

#include "grape/presets.hpp"
#include "grape/spectrum/log_uniform.hpp"
#include "support/errors.hpp"
#include "support/executors.hpp"
#include "support/matrices.hpp"
#include "support/random.hpp"
#include "support/strided.hpp"

namespace {

using grape::AxialPath;
using grape::Index;
using grape::Pairing;
using grape::PendingShift;
using grape::Positions;
using grape::rerotate;
using grape::Spectrum;

static_assert(grape::Shiftable<grape::RoPE<float>> &&
              grape::Shiftable<grape::AxialRoPE<Eigen::half, Pairing::half_split>>);
static_assert(grape::Shiftable<grape::FramedRoPE<float>> &&
              grape::Shiftable<grape::HouseholderRoPE<Eigen::half, AxialPath>> &&
              grape::Shiftable<grape::CompactRoPE<double>> &&
              grape::Shiftable<grape::Rank2RoPE<Eigen::bfloat16>>);
static_assert(!grape::Shiftable<grape::ContextualRoPE<float>> &&
              !grape::Shiftable<grape::FramedRoPE<float, grape::ExclusivePath>> &&
              !grape::Shiftable<grape::ALiBi<float>> && !grape::Shiftable<grape::FoX<float>>);

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

template <class T>
class RerotateOf : public testing::Test {};
TYPED_TEST_SUITE(RerotateOf, ElementTypes);

// Keys rotated at n and moved by delta are the keys rotated at n + delta: three rotations of 6
// units of |x0| + |x1| <= 2, and each rounds to T.
template <class T>
double tolerance(double factor) {
  using A = grape::accumulation_t<T>;
  const double narrow = std::same_as<T, A> ? 0 : 3 * Rounding<T>::unit * 1.5;
  return factor * (3 * 6 * 2 * Rounding<A>::unit + narrow);
}

TYPED_TEST(RerotateOf, MovesKeysWhereverTheyStood) {
  using T = TypeParam;
  Random random(271);
  for (int trial = 0; trial < 24; ++trial) {
    SCOPED_TRACE(trial);
    const double factor = trial % 3 == 0 ? 1.5 : 1;
    const Index sets = random.integer(1, 2), heads = sets * random.integer(1, 2);
    const Index batch = random.integer(1, 2), seq = trial == 5 ? 1100 : random.integer(1, 9);
    std::vector<double> theta = random.frequencies(sets * 4);
    if (trial % 2 == 0) theta[3] = theta.back() = 0;  // a tail that stands still
    const grape::RoPE<T> rope(Spectrum::per_head(theta, sets, factor), grape::RotarySlice{1});
    Strided<T> x(layouts(batch, seq, heads, 10)[at(random.integer(0, 9))], random);
    Strided<T> shifted = x, threads = x, moved = x;
    const auto n = random.integers(batch * seq, -100000, 100000);
    auto delta = random.integers(batch * seq, -100000, 100000);
    const std::int64_t one = random.integer(-5000, 5000);
    const bool uniform = trial % 4 == 1 || trial == 5;
    if (uniform) std::fill(delta.begin(), delta.end(), one);
    std::vector<std::int64_t> sum = n;
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += delta[i];
    grape::apply_rotation(rope, Positions::per_token(n, batch, seq), shifted.tensor());
    grape::apply_rotation(rope, Positions::per_token(n, batch, seq), threads.tensor());
    grape::apply_rotation(rope, Positions::per_token(sum, batch, seq), moved.tensor());
    if (uniform) {
      rerotate(rope, one, shifted.tensor());
      rerotate(rope, one, threads.tensor(), Threads{});
    } else {
      rerotate(rope, Positions::per_token(delta, batch, seq), shifted.tensor());
      rerotate(rope, Positions::per_token(delta, batch, seq), threads.tensor(), Threads{});
    }
    EXPECT_TRUE(same_bits(shifted.memory(), threads.memory()));
    const auto got = shifted.values(), want = moved.values();
    for (std::size_t i = 0; i < got.size(); ++i) {
      ASSERT_NEAR(got[i], want[i], tolerance<T>(factor)) << i;
    }
  }
}

TYPED_TEST(RerotateOf, MovesKeysOnAGrid) {
  using T = TypeParam;
  Random random(272);
  const grape::AxialRoPE<T, Pairing::half_split> rope(Spectrum(random.frequencies(7)),
                                                      AxialPath::interleaved({3, 2, 2}));
  constexpr Index kSeq = 6;
  Strided<T> shifted(layouts(2, kSeq, 3, 15)[1], random);
  Strided<T> moved = shifted;
  const auto n = random.integers(3 * kSeq, -1000, 1000);
  PendingShift shift(kSeq, 3);
  shift.add(0, 4, 17, 0);
  shift.add(2, 6, -5, 1);
  shift.add(8, 2);
  shift.add(1, 3, -8, 2);
  std::vector<std::int64_t> sum = n;
  for (Index axis = 0; axis < 3; ++axis) {
    for (Index t = 0; t < kSeq; ++t) sum[at(axis * kSeq + t)] += shift.delta(t, axis);
  }
  EXPECT_EQ(sum[at(kSeq + 3)], n[at(kSeq + 3)] - 5);
  grape::apply_rotation(rope, Positions::axes(n, 3, 1, kSeq), shifted.tensor());
  grape::apply_rotation(rope, Positions::axes(sum, 3, 1, kSeq), moved.tensor());
  rerotate(rope, shift, shifted.tensor());
  EXPECT_FALSE(shift.pending());
  const auto got = shifted.values(), want = moved.values();
  for (std::size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], want[i], tolerance<T>(1));
  // Nothing is left to do, and nothing is done.
  const std::vector<T> before = shifted.memory();
  rerotate(rope, shift, shifted.tensor());
  EXPECT_TRUE(same_bits(shifted.memory(), before));
}

// Moved by `delta`, keys in a frame are what they are at n + delta; the attention factor, which
// they carry, is applied once. Three rotations of two sums of d products each.
template <class T, class E>
void expect_moves(const E& encoder, double factor, const std::string& name) {
  SCOPED_TRACE(name);
  Random random(275);
  const Index d = encoder.generator().plane_frame().dim(), seq = 70;
  Strided<T> shifted(layouts(2, seq, 4, d)[1], random);
  Strided<T> uniform = shifted, moved = shifted, moved_by_one = shifted;
  const auto n = random.integers(seq, -1000, 1000), delta = random.integers(seq, -1000, 1000);
  std::vector<std::int64_t> sum = n, by_one = n;
  for (std::size_t i = 0; i < n.size(); ++i) sum[i] += delta[i], by_one[i] -= 33;
  grape::apply_rotation(encoder, Positions::shared(n), shifted.tensor());
  grape::apply_rotation(encoder, Positions::shared(n), uniform.tensor());
  grape::apply_rotation(encoder, Positions::shared(sum), moved.tensor());
  grape::apply_rotation(encoder, Positions::shared(by_one), moved_by_one.tensor());
  rerotate(encoder, Positions::shared(delta), shifted.tensor());
  PendingShift shift(seq);
  for (int i = 0; i < 33; ++i) shift.add(-1);
  rerotate(encoder, shift, uniform.tensor());
  const auto got = shifted.values(), want = moved.values();
  const auto got_by_one = uniform.values(), want_by_one = moved_by_one.values();
  const double kernel =
      3 * 64 * Rounding<grape::accumulation_t<T>>::unit * std::sqrt(static_cast<double>(d));
  const double bound =
      factor * (kernel + 3 * Rounding<T>::unit * std::sqrt(static_cast<double>(d)));
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_NEAR(got[i], want[i], bound) << i;
    ASSERT_NEAR(got_by_one[i], want_by_one[i], bound) << i;
  }
}

TYPED_TEST(RerotateOf, MovesKeysInFrames) {
  using T = TypeParam;
  using A = grape::accumulation_t<T>;
  Random random(276);
  const auto matrix = [&](Index rows, Index columns) {
    return random_matrix(random, rows, columns);
  };
  const Spectrum scaled = Spectrum::per_head(random.frequencies(4), 2, 1.5);
  expect_moves<T>(grape::FramedRoPE<T>(grape::frame::householder(matrix(9, 4)), scaled), 1.5,
                  "a learned frame");
  expect_moves<T>(grape::HouseholderRoPE<T>(std::vector{matrix(8, 4), matrix(8, 4)}, scaled), 1.5,
                  "a frame of reflectors a set");
  expect_moves<T>(grape::CayleyRoPE<T>(matrix(7, 4), scaled), 1.5, "a Cayley transform");
  expect_moves<T>(grape::CompactRoPE<T>(random_planes<grape::OverlappingPlanes>(random, 10, 3)), 1,
                  "overlapping planes");
  expect_moves<T>(grape::Rank2RoPE<T>(matrix(6, 1).template cast<A>().col(0).eval(),
                                      matrix(6, 1).template cast<A>().col(0).eval()),
                  1, "one plane");
}

// What pending deltas are for: a head of 64 in 16 tokens, moved 1000 times by one position.
template <class T>
std::pair<double, double> errors_of_1000_shifts() {
  Random random(273);
  constexpr Index kSeq = 16, kDim = 64;
  const grape::RoPE<T> rope(grape::spectrum::log_uniform(kDim, 10000.0));
  Strided<T> keys(layouts(1, kSeq, 1, kDim)[0], random);
  Strided<T> naive = keys, waited = keys;
  Strided<double> exact(layouts(1, kSeq, 1, kDim)[0], random);
  const std::vector<double> values = keys.values();
  exact.memory().assign(values.begin(), values.end());
  const grape::RoPE<double> reference(grape::spectrum::log_uniform(kDim, 10000.0));
  rerotate(reference, 1000, grape::blhd(exact.memory().data(), 1, kSeq, 1, kDim));
  PendingShift shift(kSeq);
  for (int i = 0; i < 1000; ++i) {
    rerotate(rope, 1, naive.tensor());
    shift.add(1);
  }
  rerotate(rope, shift, waited.tensor());
  const auto error = [&](const std::vector<double>& got) {
    const Eigen::Map<const Eigen::VectorXd> want(exact.memory().data(), kSeq * kDim);
    return (Eigen::Map<const Eigen::VectorXd>(got.data(), kSeq * kDim) - want).norm() / want.norm();
  };
  return {error(naive.values()), error(waited.values())};
}

TEST(Rerotate, PendingDeltasKeepThePrecision) {
  const auto half = errors_of_1000_shifts<Eigen::half>();
  const auto bfloat = errors_of_1000_shifts<Eigen::bfloat16>();
  const auto single = errors_of_1000_shifts<float>();
  // Documented: 0.06 and 0.5. They would not be this bad if nothing accumulated.
  EXPECT_NEAR(half.first, 0.065, 0.03);
  EXPECT_NEAR(bfloat.first, 0.5, 0.2);
  EXPECT_LE(single.first, 1e-4);
  // Waiting costs one rounding.
  EXPECT_LE(half.second, Rounding<Eigen::half>::unit);
  EXPECT_LE(bfloat.second, Rounding<Eigen::bfloat16>::unit);
  EXPECT_LE(single.second, 2 * Rounding<float>::unit);
}

// A key that waits is seen right by a query that stands back by as much.
TEST(Rerotate, QueriesMayStandBackInstead) {
  Random random(274);
  constexpr Index kDim = 32;
  const grape::RoPE<double> rope(grape::spectrum::log_uniform(kDim, 10000.0));
  std::vector<double> q = random.uniforms(kDim, -1, 1), k = random.uniforms(kDim, -1, 1);
  const auto view = [](std::vector<double>& x) { return grape::blhd(x.data(), 1, 1, 1, kDim); };
  std::vector<double> moved = k, back = q;
  PendingShift shift(1);
  shift.add(-300);
  grape::apply_rotation(rope, Positions::range(700, 1), view(k));
  grape::apply_rotation(rope, Positions::range(400, 1), view(moved));
  grape::apply_rotation(rope, Positions::range(500, 1), view(q));
  grape::apply_rotation(rope, Positions::range(500 - shift.delta(0), 1), view(back));
  const auto dot = [](const std::vector<double>& a, const std::vector<double>& b) {
    return Eigen::Map<const Eigen::VectorXd>(a.data(), kDim)
        .dot(Eigen::Map<const Eigen::VectorXd>(b.data(), kDim));
  };
  EXPECT_NEAR(dot(back, k), dot(q, moved), 4 * 6 * kDim * 2 * 0x1p-53);
}

TEST(Rerotate, RejectsWhatDoesNotFitAndWritesNothing) {
  std::vector<float> x(4 * 3 * 8, 1.0F);
  const std::vector<float> before = x;
  const grape::RoPE<float> rope(grape::spectrum::log_uniform(8));
  const grape::RoPE<float> rounded(grape::spectrum::log_uniform(8),
                                   grape::AngleProfile::float32_product);
  const grape::AxialRoPE<float> axial(grape::spectrum::log_uniform(8), AxialPath::sections({2, 2}));
  const auto keys = grape::blhd(x.data(), 1, 4, 3, 8), narrow = grape::blhd(x.data(), 1, 4, 3, 6);
  const std::vector<std::int64_t> three{1, 2, 3};
  PendingShift shift(3), both(4, 2);
  shift.add(2);
  EXPECT_TRUE(rejects([&] { rerotate(rope, Positions::shared(three), keys); }, "keys seq",
                      "4 tokens", "3 positions"));
  EXPECT_TRUE(rejects([&] { rerotate(rope, shift, keys); }, "keys seq", "4 tokens", "3 tokens"));
  EXPECT_TRUE(shift.pending());
  EXPECT_TRUE(rejects([&] { rerotate(rope, 1, narrow); }, "keys dim", "6", "at least 8"));
  EXPECT_TRUE(rejects([&] { rerotate(rounded, 1, keys); }, "encoder", "rounded", "exact"));
  EXPECT_TRUE(rejects([&] { rerotate(axial, 1, keys); }, "delta", "1 axes", "2"));
  EXPECT_TRUE(
      rejects([&] { rerotate(axial, Positions::shared(three), keys); }, "deltas", "1 axes", "2"));
  EXPECT_TRUE(rejects([&] { rerotate(rope, std::uint64_t{1} << 63, keys); }, "delta",
                      "9223372036854775808", "64 bits"));
  both.add(1);
  EXPECT_TRUE(rejects([&] { rerotate(rope, both, keys); }, "deltas", "2 axes", "1"));
  EXPECT_TRUE(same_bits(x, before));
}

}  // namespace
