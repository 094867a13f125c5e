// SPDX-License-Identifier: Apache-2.0
#include "grape/fwd.hpp"

// Every declared type is named here before its definition is seen: a declaration that does not
// agree with the definition would not compile below.
namespace {

template <class... T>
struct Names {};

using Half = Eigen::half;
using Declared = Names<
    grape::StridedView<float>*, grape::TensorView<const Half>*, grape::ScoreView<double>*,
    grape::Serial*, grape::Positions*, grape::LinearPath*, grape::CumulativePath*,
    grape::ExclusivePath*, grape::AxialPath*, grape::GridPath*, grape::PendingShift*, grape::Gate,
    grape::Spectrum*, grape::RodriguesFactors<double>*, grape::CosSin<float>*,
    grape::CanonicalPlanes<Half, grape::Pairing::half_split>*, grape::LearnedPlanes<float>*,
    grape::CompactPlanes<Eigen::bfloat16>*, grape::PlaneFrame<float>*,
    grape::Rank2Generator<double, -1>*, grape::Rank2PlaneGradients<double, 4>*,
    grape::UnipotentGenerator<float>*, grape::Nilpotent<double>*, grape::BlockRotation<double>*,
    grape::FrameRotation*, grape::Rank2Rotation<float, 3>*, grape::Rank2Gradients<float, -1>*,
    grape::Unipotent<float>*, grape::UnipotentGradients<double>*,
    grape::DirectSumElement<grape::FrameRotation, double>*, grape::RotationAction<float>*,
    grape::BiasAction<double>*, grape::JointAction<float>*, grape::LinearBias<float>*,
    grape::CumulativeBias<float>*, grape::GatedBias<float>*, grape::GridBias<float>*,
    grape::SumBias<float>*, grape::SliceBias<float, true>*, grape::ScoreRange*, grape::KeyShift*,
    grape::AttendWorkspace<double>*, grape::LiftSource*, grape::BiasGradients*, grape::ScoreTile*,
    grape::Future, grape::LiftOptions*, grape::CachedKeys, grape::TokenShiftState<float>*,
    grape::AttendOptions<float>*, grape::AttendTensors<Half>*, grape::AttendGradients<float>*>;

// What a user's own header can say: functions of any encoder, and of the actions.
template <grape::Generator G, grape::Path P>
int sets_of(const grape::Encoder<G, P>& encoder);
float first_cosine(const grape::RotationAction<float>& action);

}  // namespace

#include <gtest/gtest.h>

#include <type_traits>

#include "grape/fwd.hpp"  // again, after the definitions
#include "grape/grape.hpp"

namespace {

template <grape::Generator G, grape::Path P>
int sets_of(const grape::Encoder<G, P>& encoder) {
  return static_cast<int>(encoder.generator().sets());
}
float first_cosine(const grape::RotationAction<float>& action) { return action.rows(0, 0)[0]; }

template <class T>
struct Is {
  template <class U>
  static constexpr bool the_same_as = std::is_same_v<T, U>;
};

}  // namespace

// The declared types are the defined ones.
TEST(Forward, DeclaredTypesAreComplete) {
  const auto complete = []<class... T>(Names<T...>) {
    return ((sizeof(std::remove_pointer_t<T>) > 0) && ...);
  };
  EXPECT_TRUE(complete(Declared{}));
  EXPECT_EQ(sets_of(grape::ALiBi<float>(3)), 3);
  const grape::RoPE<float> rope(grape::spectrum::log_uniform(8));
  EXPECT_EQ(first_cosine(rope.at(grape::Positions::range(0, 1))), 1.0F);
}

// What a default stands for is what one writes out beside fwd.hpp.
TEST(Forward, DefaultsAreWhatStandsInTheDocumentation) {
  using grape::Pairing;
  EXPECT_TRUE((Is<grape::CanonicalPlanes<float>>::the_same_as<
               grape::CanonicalPlanes<float, Pairing::interleaved>>));
  EXPECT_TRUE(
      (Is<grape::RoPE<float>>::the_same_as<
          grape::Encoder<grape::CanonicalPlanes<float, Pairing::interleaved>, grape::LinearPath>>));
  EXPECT_TRUE((Is<grape::Rank2Generator<double>>::the_same_as<grape::Rank2Generator<double, -1>>));
  EXPECT_TRUE((
      Is<grape::Rank2PlaneGradients<double>>::the_same_as<grape::Rank2PlaneGradients<double, -1>>));
  EXPECT_TRUE((Is<grape::Rank2Rotation<float>>::the_same_as<grape::Rank2Rotation<float, -1>>));
  EXPECT_TRUE((Is<grape::Rank2Gradients<float>>::the_same_as<grape::Rank2Gradients<float, -1>>));
  EXPECT_TRUE((Is<grape::DirectSumElement<grape::FrameRotation>>::the_same_as<
               grape::DirectSumElement<grape::FrameRotation, double>>));
  EXPECT_TRUE((Is<grape::PathIntegralBias<float>>::the_same_as<
               grape::PathIntegralBias<float, grape::LogSigmoidLink>>));
  EXPECT_TRUE(
      (Is<grape::PathIntegralPath<>>::the_same_as<grape::PathIntegralPath<grape::LogSigmoidLink>>));
  EXPECT_TRUE((Is<grape::KeyValueCache<float>>::the_same_as<
               grape::KeyValueCache<float, grape::CachedKeys::rotated>>));
}
