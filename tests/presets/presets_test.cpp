// SPDX-License-Identifier: Apache-2.0
#include "grape/presets.hpp"

#include <gtest/gtest.h>

#include "grape/grape.hpp"
#include "support/strided.hpp"

// Every member of every public template compiles for every scalar.
#define INSTANTIATE(T)                                                                 \
  template class grape::TensorView<T>;                                                 \
  template class grape::TensorView<const T>;                                           \
  template class grape::ScoreView<T>;                                                  \
  template class grape::ScoreView<const T>;                                            \
  template class grape::CanonicalPlanes<T, grape::Pairing::interleaved>;               \
  template class grape::CanonicalPlanes<T, grape::Pairing::half_split>;                \
  template class grape::LearnedPlanes<T>;                                              \
  template class grape::ParameterizedPlanes<T, grape::HouseholderChart>;               \
  template class grape::ParameterizedPlanes<T, grape::CayleyChart>;                    \
  template class grape::ParameterizedPlanes<T, grape::OrthonormalizedChart>;           \
  template class grape::CompactPlanes<T>;                                              \
  template class grape::UnipotentGenerator<T>;                                         \
  template class grape::Encoder<grape::CanonicalPlanes<T>, grape::LinearPath>;         \
  template class grape::Encoder<grape::CanonicalPlanes<T, grape::Pairing::half_split>, \
                                grape::LinearPath>;                                    \
  template class grape::Encoder<grape::UnipotentGenerator<T>, grape::LinearPath>
INSTANTIATE(float);
INSTANTIATE(double);
INSTANTIATE(Eigen::half);
INSTANTIATE(Eigen::bfloat16);
#undef INSTANTIATE
template class grape::RotationAction<float>;
template class grape::RotationAction<double>;
template class grape::BiasAction<float>;
template class grape::BiasAction<double>;
template class grape::LinearBias<float>;
template class grape::LinearBias<double>;
template class grape::BlockRotation<double>;
template class grape::BlockRotation<float>;
template class grape::Nilpotent<double>;
template class grape::Nilpotent<float>;
template class grape::Unipotent<double>;
template class grape::Unipotent<float>;

namespace {

using grape::Index;
using grape::Pairing;
using grape::Positions;

template <class T>
class Preset : public testing::Test {
  // The presets are alias templates of the one encoder: a generator and a path.
  static_assert(
      std::same_as<grape::RoPE<T>, grape::Encoder<grape::CanonicalPlanes<T, Pairing::interleaved>,
                                                  grape::LinearPath>>);
  static_assert(std::same_as<
                grape::RoPE<T, Pairing::half_split>,
                grape::Encoder<grape::CanonicalPlanes<T, Pairing::half_split>, grape::LinearPath>>);
  static_assert(std::same_as<grape::ALiBi<T>,
                             grape::Encoder<grape::UnipotentGenerator<T>, grape::LinearPath>>);
  static_assert(std::same_as<typename grape::RoPE<T>::Scalar, T>);
  static_assert(std::same_as<grape::FramedRoPE<T>,
                             grape::Encoder<grape::LearnedPlanes<T>, grape::LinearPath>>);
  static_assert(std::same_as<grape::CompactRoPE<T, grape::ExclusivePath>,
                             grape::Encoder<grape::CompactPlanes<T>, grape::ExclusivePath>>);
};
using Elements = testing::Types<float, double, Eigen::half, Eigen::bfloat16>;
TYPED_TEST_SUITE(Preset, Elements);

// What the first page of the documentation says, in every scalar.
TYPED_TEST(Preset, ReadsAsPromised) {
  using T = TypeParam;
  constexpr Index kSeq = 5, kHeads = 4, kDim = 16;
  std::vector<T> q_data(kSeq * kHeads * kDim, static_cast<T>(1.0F)), k_data = q_data;
  std::vector<T> scores_data(kHeads * kSeq * kSeq, static_cast<T>(0.0F));
  const auto q = grape::blhd(q_data.data(), 1, kSeq, kHeads, kDim);
  const auto k = grape::blhd(k_data.data(), 1, kSeq, kHeads, kDim);

  grape::RoPE<T> rope(grape::spectrum::log_uniform(kDim, 10000.0));
  auto action = rope.at(Positions::range(0, kSeq));
  grape::apply_rotation(action, q, k);
  grape::apply_rotation(rope, Positions::range(7, kSeq), q, k);
  EXPECT_TRUE(q_data == k_data);
  EXPECT_NEAR(static_cast<float>(q(0, 1, 0, 0)), std::cos(9.0) - std::sin(9.0), 0.02);

  grape::ALiBi<T> alibi(kHeads);
  auto bias = alibi.at(Positions::range(0, kSeq), Positions::range(0, kSeq));
  const auto b = bias(0, 1, 4, 2);
  EXPECT_EQ(b, -2 * 0x1p-4F);
  const auto scores = grape::bhqk(scores_data.data(), 1, kHeads, kSeq, kSeq);
  grape::add_bias(bias, scores);
  EXPECT_EQ(static_cast<float>(scores(0, 1, 4, 2)), -0.125F);
}

// Rotations in frames by one name each: those of RoPE's planes are RoPE.
TYPED_TEST(Preset, FramesByName) {
  using T = TypeParam;
  using A = grape::accumulation_t<T>;
  constexpr Index kSeq = 5, kDim = 4;
  const grape::Spectrum spectrum({1.0, 0.25});
  const grape::FrameMatrix unit = grape::FrameMatrix::Identity(kDim, kDim);
  const auto turned = [&](const auto& encoder) {
    std::vector<T> x(kSeq * kDim, static_cast<T>(1.0F));
    grape::apply_rotation(encoder, Positions::range(0, kSeq),
                          grape::blhd(x.data(), 1, kSeq, 1, kDim));
    std::vector<float> out;
    for (const T entry : x) out.push_back(static_cast<float>(entry));
    return out;
  };
  const std::vector<float> want = turned(grape::RoPE<T>(spectrum));
  // Reflections across the axes make -I of I, which is the same planes.
  const grape::OverlappingPlanes planes{unit(Eigen::all, {1, 3}), unit(Eigen::all, {0, 2}),
                                        Eigen::Vector2d(1.0, 0.25)};
  for (const auto& got :
       {turned(grape::FramedRoPE<T>(unit, spectrum)),
        turned(grape::HouseholderRoPE<T>(unit, spectrum)),
        turned(grape::CayleyRoPE<T>(0 * unit, spectrum)), turned(grape::CompactRoPE<T>(planes))}) {
    // Twice a sum of kDim products of numbers below 2, and a rounding to T.
    const double bound = 64 * Rounding<T>::unit;
    for (std::size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], bound);
  }
  const grape::Rank2RoPE<T> plane(unit.col(1).cast<A>().eval(), unit.col(0).cast<A>().eval());
  const std::vector<float> one = turned(plane);
  const double bound = 64 * Rounding<T>::unit;
  for (std::size_t i = 0; i < want.size(); ++i) {
    EXPECT_NEAR(one[i], i % kDim < 2 ? want[i] : 1.0F, bound);
  }
}

TEST(Presets, VersionIsARealHeader) {
  static_assert(GRAPE_VERSION_MAJOR >= 0 && GRAPE_VERSION_MINOR >= 0 && GRAPE_VERSION_PATCH >= 0);
  static_assert(std::same_as<grape::RoPE<float>, grape::v0::RoPE<float>>);
}

}  // namespace
