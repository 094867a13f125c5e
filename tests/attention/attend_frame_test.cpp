// SPDX-License-Identifier: Apache-2.0
// Gradients through attention of rotations in a learned frame, and the memory that calls share.
#include <gtest/gtest.h>

#include "attention/problem.hpp"
#include "grape/attention/attend.hpp"
#include "grape/attention/cache.hpp"
#include "grape/generator/compact_planes.hpp"
#include "grape/generator/learned_planes.hpp"
#include "grape/math/frame.hpp"
#include "grape/presets.hpp"
#include "support/errors.hpp"
#include "support/matrices.hpp"

namespace {

using attention::Problem;
using attention::Shape;
using grape::AttendOptions;
using grape::CompactPlanes;
using grape::Encoder;
using grape::FrameMatrix;
using grape::Index;
using grape::LearnedPlanes;
using grape::LinearPath;
using grape::OverlappingPlanes;
using grape::Positions;
using grape::RotationAction;

constexpr Index kSeq = 9, kDim = 6;
constexpr Shape kShape{2, kSeq, kSeq, 4, 2, kDim, 3};

double loss(Problem<double>& p, const std::vector<double>& weights,
            const AttendOptions<double>& options) {
  grape::attend(p.q.tensor(), p.k.tensor(), p.v.tensor(), p.out.tensor(), options);
  double sum = 0;
  const std::vector<double> out = p.out.values();
  for (std::size_t i = 0; i < out.size(); ++i) sum += weights[i] * out[i];
  return sum;
}

// d_frame and d_planes of queries and keys, by one action or one of each.
struct FrameGradients {
  std::vector<double> frame, planes, key_frame, key_planes;
};

FrameGradients gradients(Problem<double>& p, const std::vector<double>& weights,
                         AttendOptions<double> options, bool planes) {
  std::vector<double> log_sum(2 * 4 * kSeq), d_out = weights;
  options.log_sum = log_sum;
  loss(p, weights, options);
  Strided<double> d_q = p.q, d_k = p.k, d_v = p.v;
  const RotationAction<double>& action = *options.rotation;
  FrameGradients d;
  d.frame.resize(static_cast<std::size_t>(action.frequency_sets() * action.frame_columns() * kDim));
  if (planes) d.planes.resize(d.frame.size());
  if (options.key_rotation != nullptr) {
    d.key_frame.resize(d.frame.size());
    d.key_planes.resize(d.planes.size());
  }
  grape::attend_vjp<double>({p.q.tensor(), p.k.tensor(), p.v.tensor(), p.out.tensor()},
                            grape::blhd(d_out.data(), 2, kSeq, 4, 3),
                            {.q = d_q.tensor(),
                             .k = d_k.tensor(),
                             .v = d_v.tensor(),
                             .frame = d.frame,
                             .planes = d.planes,
                             .key_frame = d.key_frame,
                             .key_planes = d.key_planes},
                            options);
  return d;
}

// Central differences with h = 2^-17: h^2 times a third derivative, which angles up to kSeq make as
// large as kSeq^3, and the rounding of sums of 2 x 9 x 4 x 3 numbers over h.
constexpr double kStep = 0x1p-17, kBound = 4 * kStep * kStep * 729 + 216 * 0x1p-52 / kStep;

TEST(AttendFrameVjp, LearnedPlanesAgainstDifferences) {
  Random random(591);
  Problem<double> p(kShape, random);
  const std::vector<double> weights = random.uniforms(2 * kSeq * 4 * 3, -1, 1);
  FrameMatrix v = random_matrix(random, kDim, 4);
  const grape::Spectrum spectrum({0.9, -0.4});
  const auto action_at = [&](std::int64_t start) {
    return Encoder<LearnedPlanes<double>, LinearPath>(
               LearnedPlanes<double>(grape::frame::householder(v), spectrum))
        .at(Positions::range(start, kSeq));
  };
  for (const bool apart : {false, true}) {  // keys at positions of their own
    const auto run = [&](auto&& use) {
      const auto queries = action_at(0), keys = action_at(-3);
      return use(AttendOptions<double>{
          .rotation = &queries, .key_rotation = apart ? &keys : nullptr, .causal = true});
    };
    const FrameGradients d = run([&](const auto& o) { return gradients(p, weights, o, false); });
    FrameMatrix d_frame = Eigen::Map<const FrameMatrix>(d.frame.data(), kDim, 4);
    if (apart) d_frame += Eigen::Map<const FrameMatrix>(d.key_frame.data(), kDim, 4);
    const FrameMatrix d_v = grape::frame::householder_vjp(v, d_frame);
    for (Index i = 0; i < v.size(); ++i) {
      double& x = v.data()[i];
      const double kept = x;
      x = kept + kStep;
      const double up = run([&](const auto& o) { return loss(p, weights, o); });
      x = kept - kStep;
      const double down = run([&](const auto& o) { return loss(p, weights, o); });
      x = kept;
      ASSERT_NEAR(d_v.data()[i], (up - down) / (2 * kStep), kBound) << i;
    }
  }
}

TEST(AttendFrameVjp, CompactPlanesAgainstDifferences) {
  Random random(592);
  Problem<double> p(kShape, random);
  const std::vector<double> weights = random.uniforms(2 * kSeq * 4 * 3, -1, 1);
  OverlappingPlanes planes = random_planes<OverlappingPlanes>(random, kDim, 2);
  planes.theta *= 0.3;
  const auto run = [&](auto&& use) {
    const CompactPlanes<double> generator(planes);
    const auto action =
        Encoder<CompactPlanes<double>, LinearPath>(generator).at(Positions::range(2, kSeq));
    return use(generator, AttendOptions<double>{.rotation = &action, .causal = true});
  };
  const OverlappingPlanes d = run([&](const auto& generator, const auto& options) {
    return generator.vjp(gradients(p, weights, options, true).planes);
  });
  const auto check = [&](double& x, double got) {
    const double kept = x;
    const auto at = [&](double value) {
      x = value;
      return run([&](const auto&, const auto& o) { return loss(p, weights, o); });
    };
    const double want = (at(kept + kStep) - at(kept - kStep)) / (2 * kStep);
    x = kept;
    ASSERT_NEAR(got, want, kBound);
  };
  for (Index i = 0; i < planes.a.size(); ++i) {
    check(planes.a.data()[i], d.a.data()[i]);
    check(planes.b.data()[i], d.b.data()[i]);
  }
  for (Index m = 0; m < planes.theta.size(); ++m) check(planes.theta[m], d.theta[m]);
}

TEST(AttendFrameVjp, NamesWhatDoesNotFit) {
  Random random(593);
  Problem<double> p(kShape, random);
  const std::vector<double> weights(2 * kSeq * 4 * 3, 1.0);
  const auto plain = grape::RoPE<double>(grape::Spectrum({1.0, 0.5})).at(Positions::range(0, kSeq));
  const auto framed = [&](double factor) {
    return Encoder<LearnedPlanes<double>, LinearPath>(
               LearnedPlanes<double>(grape::frame::householder(random_matrix(random, kDim, 4)),
                                     grape::Spectrum({1.0, 0.5}).with_attention_factor(factor)))
        .at(Positions::range(0, kSeq));
  };
  const auto turned = framed(1), scaled = framed(1.5);
  std::vector<double> log_sum(2 * 4 * kSeq), d_out = weights, one(1), right(24);
  const auto call = [&](const RotationAction<double>* action, std::span<double> frame,
                        std::span<double> planes, std::span<double> key_frame) {
    return [&, action, frame, planes, key_frame] {
      Strided<double> d_q = p.q, d_k = p.k, d_v = p.v;
      grape::attend_vjp<double>({p.q.tensor(), p.k.tensor(), p.v.tensor(), p.out.tensor()},
                                grape::blhd(d_out.data(), 2, kSeq, 4, 3),
                                {.q = d_q.tensor(),
                                 .k = d_k.tensor(),
                                 .v = d_v.tensor(),
                                 .frame = frame,
                                 .planes = planes,
                                 .key_frame = key_frame},
                                {.rotation = action, .causal = true, .log_sum = log_sum});
    };
  };
  EXPECT_TRUE(rejects(call(nullptr, right, {}, {}), "gradients.frame", "without its", "an empty"));
  EXPECT_TRUE(rejects(call(&plain, right, {}, {}), "gradients.frame", "pairs", "no frame"));
  EXPECT_TRUE(rejects(call(&plain, {}, right, {}), "gradients.planes", "pairs", "no frame"));
  EXPECT_TRUE(rejects(call(&turned, one, {}, {}), "gradients.frame", "1 entries", "24 entries"));
  EXPECT_TRUE(rejects(call(&turned, {}, one, {}), "gradients.planes", "1 entries", "24 entries"));
  EXPECT_TRUE(rejects(call(&scaled, {}, right, {}), "gradients.planes", "factor of 1.5", "1"));
  EXPECT_TRUE(rejects(call(&turned, {}, {}, right), "gradients.key_frame", "without", "an empty"));
  EXPECT_EQ(right, std::vector<double>(24));
}

template <class T>
class Workspace : public testing::Test {};
TYPED_TEST_SUITE(Workspace, ElementTypes);

// Calls of other sizes in turn, each with the bits of a call with memory of its own; only what is
// too small is allocated again.
TYPED_TEST(Workspace, GivesTheSameBitsAndIsKept) {
  using T = TypeParam;
  using A = grape::accumulation_t<T>;
  Random random(594);
  grape::AttendWorkspace<A> workspace;
  EXPECT_EQ(workspace.bytes(), 0);
  const grape::RoPE<T> rope(grape::Spectrum({1.0, 0.5, 0.1}));
  Index most = 0;
  for (const Index seq : {200, 150, 40, 200}) {
    const Shape s{2, seq, seq, 4, 2, 7, 5};
    Problem<T> p(s, random, 1);
    const auto action = rope.at(Positions::range(11, seq));
    std::vector<A> log_sum(static_cast<std::size_t>(2 * 4 * seq));
    Strided<T> d_out = p.out, d_q = p.q, d_k = p.k, d_v = p.v;
    const auto run = [&](grape::AttendWorkspace<A>* memory) {
      const AttendOptions<A> options{
          .rotation = &action, .causal = true, .log_sum = log_sum, .workspace = memory};
      grape::attend(p.q.tensor(), p.k.tensor(), p.v.tensor(), p.out.tensor(), options);
      grape::attend_vjp({p.q.tensor(), p.k.tensor(), p.v.tensor(), p.out.tensor()}, d_out.tensor(),
                        {.q = d_q.tensor(), .k = d_k.tensor(), .v = d_v.tensor()}, options);
      return std::array{p.out.memory(), d_q.memory(), d_k.memory(), d_v.memory()};
    };
    const auto want = run(nullptr), got = run(&workspace);
    for (std::size_t i = 0; i < 4; ++i) EXPECT_TRUE(same_bits(got[i], want[i])) << i;
    if (most == 0) most = workspace.bytes();  // the first size is the largest
    EXPECT_EQ(workspace.bytes(), most);
  }
  EXPECT_GT(most, 0);
  workspace.clear();
  EXPECT_EQ(workspace.bytes(), 0);
}

}  // namespace
