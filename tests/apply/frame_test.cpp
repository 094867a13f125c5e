// SPDX-License-Identifier: Apache-2.0
// Rotations in frames through the entry points of every rotation, against dense matrices.

#include <gtest/gtest.h>

#include "grape/apply/rotation.hpp"
#include "grape/generator/compact_planes.hpp"
#include "grape/generator/learned_planes.hpp"
#include "grape/generator/parameterized_planes.hpp"
#include "grape/generator/rank2.hpp"
#include "grape/group/frame_rotation.hpp"
#include "grape/presets.hpp"
#include "support/errors.hpp"
#include "support/executors.hpp"
#include "support/golden.hpp"
#include "support/matrices.hpp"
#include "support/random.hpp"
#include "support/strided.hpp"

namespace {

using grape::CompactPlanes;
using grape::Encoder;
using grape::FrameMatrix;
using grape::FrameRotation;
using grape::Index;
using grape::LearnedPlanes;
using grape::LinearPath;
using grape::OverlappingPlanes;
using grape::Positions;
using grape::Spectrum;

FrameMatrix random_frame(Random& random, Index d, Index columns) {
  return grape::frame::householder(random_matrix(random, d, columns));
}

// x + F (a R - I) F^T x, or with R^T, or with R^T / a, in double; rows of a dense tensor.
enum class Way { forward, transpose, inverse };

template <class G>
std::vector<double> reference(const G& generator, const reference::Shape& s, Way way,
                              const std::vector<double>& x, Index start) {
  const auto& planes = generator.plane_frame();
  const double a = planes.spectrum().attention_factor();
  std::vector<double> out = x;
  for (Index i = 0; i < s.batch * s.seq * s.heads; ++i) {
    const Index set = i % s.heads * planes.sets() / s.heads;
    auto rotation = FrameRotation::exp(generator, start + i / s.heads % s.seq, set);
    if (way != Way::forward) rotation = rotation.inverse();
    const FrameMatrix f = planes.frame(set).leftCols(2 * planes.spectrum().planes());
    const double gain = way == Way::inverse ? 1 / a : a;
    const FrameMatrix g = rotation.matrix() + (gain - 1) * rotation.matrix() * (f * f.transpose());
    Eigen::Map<Eigen::VectorXd>(out.data() + i * s.dim, s.dim) =
        g * Eigen::Map<const Eigen::VectorXd>(x.data() + i * s.dim, s.dim);
  }
  return out;
}

// Two sums of d products in A on rows of size <= |x|, and one rounding to T.
template <class T>
double tolerance(double want, double length) {
  using A = grape::accumulation_t<T>;
  const double kernel = 64 * Rounding<A>::unit * length;
  const double narrow = std::same_as<T, A> ? 0 : Rounding<T>::unit * (std::fabs(want) + kernel);
  return kernel + narrow + Rounding<T>::least;
}

template <class T>
void expect_near(const std::vector<double>& got, const std::vector<double>& want, Index dim,
                 double gain = 1) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t n = 0; n < got.size(); ++n) {
    double length = 0;
    const std::size_t row = n - n % static_cast<std::size_t>(dim);
    for (std::size_t k = row; k < row + static_cast<std::size_t>(dim); ++k) {
      length += want[k] * want[k];
    }
    ASSERT_NEAR(got[n], want[n], tolerance<T>(want[n], gain * std::sqrt(length))) << n;
  }
}

template <class T>
class FrameOf : public testing::Test {};
TYPED_TEST_SUITE(FrameOf, ElementTypes);

template <class T, class G>
void expect_everywhere(const G& generator, Index heads, const std::string& name) {
  SCOPED_TRACE(name);
  Random random(41);
  const Index d = generator.plane_frame().dim();
  const Encoder<G, LinearPath> encoder(generator);
  const double a = generator.plane_frame().spectrum().attention_factor();
  for (const auto& [batch, seq] : {std::pair<Index, Index>{2, 5}, {1, 1}, {1, 131}}) {
    const auto action = encoder.at(Positions::range(-3, seq));
    for (const Layout& layout : layouts(batch, seq, heads, d)) {
      SCOPED_TRACE(layout.name);
      Strided<T> x(layout, random);
      const std::vector<T> before = x.memory();
      const std::vector<double> values = x.values();
      const double gain = std::max(a, 1 / a);
      grape::apply_rotation(action, x.tensor());
      EXPECT_TRUE(x.same_outside(before));
      const std::vector<double> turned = x.values();
      expect_near<T>(turned, reference(generator, x.shape(), Way::forward, values, -3), d, gain);

      grape::apply_inverse_rotation(action, x.tensor());
      expect_near<T>(x.values(), reference(generator, x.shape(), Way::inverse, turned, -3), d,
                     gain);

      Strided<T> w(layout, random), into(layouts(batch, seq, heads, d)[3], random);
      const std::vector<double> weights = w.values();
      const std::vector<double> want = reference(generator, w.shape(), Way::transpose, weights, -3);
      grape::apply_rotation_vjp(action, grape::TensorView<const T>(w.tensor()), into.tensor());
      expect_near<T>(into.values(), want, d, gain);
      grape::apply_rotation_vjp(action, w.tensor(), w.tensor());
      expect_near<T>(w.values(), want, d, gain);
    }
  }
}

TYPED_TEST(FrameOf, RotatesEveryLayout) {
  using T = TypeParam;
  using A = grape::accumulation_t<T>;
  Random random(42);
  expect_everywhere<T>(
      LearnedPlanes<T>(random_frame(random, 9, 6), Spectrum(random.frequencies(3))), 3,
      "one frame");
  expect_everywhere<T>(LearnedPlanes<T>(std::vector<FrameMatrix>{random_frame(random, 7, 4),
                                                                 random_frame(random, 7, 4)},
                                        Spectrum::per_head(random.frequencies(4), 2, 1.25)),
                       4, "a frame a set, an attention factor");
  expect_everywhere<T>(CompactPlanes<T>(random_planes<OverlappingPlanes>(random, 5, 4)), 2,
                       "compact, the whole space");
  expect_everywhere<T>(CompactPlanes<T>({random_planes<OverlappingPlanes>(random, 8, 2),
                                         random_planes<OverlappingPlanes>(random, 8, 2)}),
                       6, "compact, a mixture a set");
  expect_everywhere<T>(grape::Rank2Generator<A>(random_matrix(random, 6, 1).template cast<A>(),
                                                random_matrix(random, 6, 1).template cast<A>()),
                       2, "rank 2");
  using Householder = grape::ParameterizedPlanes<T, grape::HouseholderChart>;
  expect_everywhere<T>(
      Householder(std::vector{random_matrix(random, 8, 4), random_matrix(random, 8, 4)},
                  Spectrum({0.7, 0.2})),
      4, "a frame of reflectors a set");
}

// Coordinate planes as a frame are RoPE.
TYPED_TEST(FrameOf, OfCoordinatesIsRope) {
  using T = TypeParam;
  Random random(43);
  const Spectrum spectrum(random.frequencies(3));
  const grape::RoPE<T> rope(spectrum);
  const Encoder<LearnedPlanes<T>, LinearPath> framed(
      LearnedPlanes<T>(FrameMatrix::Identity(8, 6), spectrum));
  Strided<T> x(layouts(2, 70, 3, 8)[0], random), y = x;
  grape::apply_rotation(rope, Positions::range(5, 70), x.tensor());
  grape::apply_rotation(framed, Positions::range(5, 70), y.tensor());
  expect_near<T>(y.values(), x.values(), 8);
}

// Also with many heads, so that tiles are cut among them, and on every executor.
TYPED_TEST(FrameOf, SameBitsOnAnyExecutor) {
  using T = TypeParam;
  Random random(44);
  const LearnedPlanes<T> planes(random_frame(random, 6, 4), Spectrum(random.frequencies(2)));
  const Encoder<LearnedPlanes<T>, LinearPath> encoder(planes);
  for (const auto& [seq, heads] : {std::pair<Index, Index>{300, 2}, {3, 150}, {20, 5}}) {
    const auto action = encoder.at(Positions::range(0, seq));
    Strided<T> x(layouts(2, seq, heads, 6)[1], random);
    const std::vector<double> want = reference(planes, x.shape(), Way::forward, x.values(), 0);
    Strided<T> y = x, z = x;
    grape::apply_rotation(action, x.tensor());
    grape::apply_rotation(action, y.tensor(), Reversed{});
    grape::apply_rotation(action, z.tensor(), Threads{});
    EXPECT_TRUE(same_bits(x.memory(), y.memory()) && same_bits(x.memory(), z.memory()));
    expect_near<T>(x.values(), want, 6);
  }
}

TEST(Frame, NormsAndScoresOfOffsets) {
  Random random(45);
  const CompactPlanes<double> planes(random_planes<OverlappingPlanes>(random, 10, 3));
  const Encoder<CompactPlanes<double>, LinearPath> encoder(planes);
  const std::vector<double> q = random.uniforms(10, -1, 1), k = random.uniforms(10, -1, 1);
  const auto at = [&](std::vector<double> x, std::int64_t n) {
    grape::apply_rotation(encoder, Positions::range(n, 1), grape::blhd(x.data(), 1, 1, 1, 10));
    return Eigen::VectorXd(Eigen::Map<Eigen::VectorXd>(x.data(), 10));
  };
  const double score = at(q, 3).dot(at(k, -4));
  for (const std::int64_t n : {0, 1000, -70000}) {
    EXPECT_NEAR(at(q, 3 + n).dot(at(k, n - 4)), score, 1e-14);
    EXPECT_NEAR(at(q, n).norm(), at(q, 0).norm(), 1e-14);
  }
}

TEST(Frame, NothingToTurnNothingWritten) {
  Random random(46);
  const Encoder<LearnedPlanes<float>, LinearPath> still(
      LearnedPlanes<float>(random_frame(random, 6, 4), Spectrum({0.0, 0.0})));
  Strided<float> x(layouts(1, 9, 2, 6)[0], random);
  const std::vector<float> before = x.memory();
  grape::apply_rotation(still, Positions::range(3, 9), x.tensor());
  EXPECT_TRUE(same_bits(x.memory(), before));
  grape::apply_rotation(still.at(Positions::range(3, 0)), grape::blhd(x.data(), 1, 0, 2, 6));
  // Position 0 turns nothing either, to the bit.
  const Encoder<LearnedPlanes<float>, LinearPath> turning(
      LearnedPlanes<float>(random_frame(random, 6, 4), Spectrum({1.0, 0.5})));
  grape::apply_rotation(turning.at(Positions::range(0, 1)), grape::blhd(x.data(), 9, 1, 2, 6));
  EXPECT_TRUE(same_bits(x.memory(), before));
}

TEST(Frame, NanStaysInItsRow) {
  Random random(47);
  const LearnedPlanes<float> planes(random_frame(random, 6, 4), Spectrum({1.0, 0.5}));
  const Encoder<LearnedPlanes<float>, LinearPath> encoder(planes);
  std::vector<float> x(10 * 6, 1.0f);
  x[6 * 4 + 2] = NAN;
  grape::apply_rotation(encoder, Positions::range(0, 10), grape::blhd(x.data(), 1, 10, 1, 6));
  for (std::size_t i = 0; i < x.size(); ++i) EXPECT_EQ(std::isnan(x[i]), i / 6 == 4) << i;
}

// sum(w * y) changes with the parameters as the gradients say. `make` builds the generator from a
// flat list of parameters. Differences with step h err by h^2 times a third derivative, of the
// order of the largest angle cubed, and by rounding over h.
template <class Make, class Gradient>
void expect_gradient(const std::vector<double>& parameters, const Make& make,
                     const Gradient& gradient_of, const std::string& name) {
  SCOPED_TRACE(name);
  Random random(48);
  const auto generator = make(parameters);
  const Index d = generator.plane_frame().dim(), sets = generator.plane_frame().sets();
  const Index batch = 2, seq = 6, heads = 2 * sets;
  using G = std::remove_cvref_t<decltype(generator)>;
  const std::vector<double> x = random.uniforms(batch * seq * heads * d, -1, 1);
  std::vector<double> w = random.uniforms(batch * seq * heads * d, -1, 1);
  const auto turned = [&](const G& g) {
    std::vector<double> y = x;
    const Encoder<G, LinearPath> encoder(g);
    const auto action = encoder.at(Positions::range(-2, seq));
    grape::apply_rotation(action, grape::blhd(y.data(), batch, seq, heads, d));
    return std::pair(action, y);
  };
  auto [action, y] = turned(generator);
  const auto out = grape::blhd(y.data(), batch, seq, heads, d);
  const auto d_out = grape::blhd(w.data(), batch, seq, heads, d);
  const std::vector<double> gradient = gradient_of(generator, action, out, d_out);
  ASSERT_EQ(gradient.size(), parameters.size());
  for (int trial = 0; trial < 4; ++trial) {
    const std::vector<double> direction =
        random.uniforms(static_cast<Index>(parameters.size()), -1, 1);
    const auto loss = [&](double step) {
      std::vector<double> at = parameters;
      for (std::size_t i = 0; i < at.size(); ++i) at[i] += step * direction[i];
      const std::vector<double> z = turned(make(at)).second;
      double sum = 0;
      for (std::size_t i = 0; i < z.size(); ++i) sum += z[i] * w[i];
      return sum;
    };
    constexpr double kStep = 1e-4;
    const double difference =
        (8 * (loss(kStep) - loss(-kStep)) - (loss(2 * kStep) - loss(-2 * kStep))) / (12 * kStep);
    double got = 0, size = 1;
    for (std::size_t i = 0; i < gradient.size(); ++i) {
      got += gradient[i] * direction[i];
      size += std::fabs(gradient[i] * direction[i]);
    }
    EXPECT_NEAR(got, difference, 1e-8 * size);
  }
}

std::vector<double> flat(const OverlappingPlanes& p) {
  std::vector<double> out;
  for (const FrameMatrix& matrix : {p.a, p.b, FrameMatrix(p.theta)}) {
    for (const double entry : matrix.reshaped()) out.push_back(entry);
  }
  return out;
}

OverlappingPlanes planes_from(const double* data, Index d, Index m) {
  return {Eigen::Map<const FrameMatrix>(data, d, m),
          Eigen::Map<const FrameMatrix>(data + d * m, d, m),
          Eigen::Map<const Eigen::VectorXd>(data + 2 * d * m, m)};
}

void expect_compact_gradient(const std::vector<OverlappingPlanes>& sets, const std::string& name) {
  const Index d = sets[0].a.rows(), m = sets[0].a.cols(), one = m * (2 * d + 1);
  std::vector<double> parameters;
  for (const auto& p : sets) {
    const std::vector<double> part = flat(p);
    parameters.insert(parameters.end(), part.begin(), part.end());
  }
  const auto make = [&](const std::vector<double>& at) {
    std::vector<OverlappingPlanes> list;
    for (std::size_t s = 0; s < sets.size(); ++s) {
      list.push_back(planes_from(at.data() + static_cast<Index>(s) * one, d, m));
    }
    return CompactPlanes<double>(std::move(list));
  };
  const auto gradient = [&](const auto& generator, const auto& action, const auto& out,
                            const auto& d_out) {
    const Index entries = action.frame_columns() * d;
    std::vector<double> d_planes(static_cast<std::size_t>(action.sets() * entries)), all;
    grape::apply_rotation_plane_vjp(action, out, d_out, d_planes);
    for (Index s = 0; s < action.sets(); ++s) {
      const std::vector<double> part = flat(generator.vjp(
          std::span<const double>(d_planes).subspan(static_cast<std::size_t>(s * entries),
                                                    static_cast<std::size_t>(entries)),
          s));
      all.insert(all.end(), part.begin(), part.end());
    }
    return all;
  };
  expect_gradient(parameters, make, gradient, name);
}

TEST(FrameVjp, OfOverlappingPlanes) {
  Random random(49);
  expect_compact_gradient({random_planes<OverlappingPlanes>(random, 8, 3)}, "three planes");
  expect_compact_gradient({random_planes<OverlappingPlanes>(random, 7, 2),
                           random_planes<OverlappingPlanes>(random, 7, 2)},
                          "two sets");
  expect_compact_gradient({random_planes<OverlappingPlanes>(random, 5, 3)}, "an odd space, filled");
  expect_compact_gradient({random_planes<OverlappingPlanes>(random, 4, 5)},
                          "more planes than directions");
  OverlappingPlanes p = random_planes<OverlappingPlanes>(random, 9, 3);
  p.a.col(1) = p.a.col(0);
  expect_compact_gradient({p}, "a vector in two planes");
  p.b.col(1) = p.b.col(0);
  expect_compact_gradient({p}, "a plane twice");
  p = random_planes<OverlappingPlanes>(random, 9, 3);
  p.theta.setZero();
  expect_compact_gradient({p}, "speeds of zero");
  p = random_planes<OverlappingPlanes>(random, 8, 3);
  p.a.col(2) = 2 * p.b.col(2);
  expect_compact_gradient({p}, "parallel vectors");
  p.a.col(2).setZero();
  p.b.col(2).setZero();
  expect_compact_gradient({p}, "a plane of zeros");
  for (Index i = 0; i < 3; ++i) {
    p.a.col(i) = Eigen::VectorXd::Unit(8, 2 * i);
    p.b.col(i) = Eigen::VectorXd::Unit(8, 2 * i + 1);
  }
  p.theta.setConstant(0.8);
  expect_compact_gradient({p}, "equal frequencies");
  p.theta[1] += 1e-9;
  expect_compact_gradient({p}, "nearly equal frequencies");
}

TEST(FrameVjp, OfOnePlane) {
  Random random(50);
  using Vector = Eigen::VectorXd;
  const auto make = [](const std::vector<double>& at) {
    return grape::Rank2Generator<double>(Eigen::Map<const Vector>(at.data(), 5),
                                         Eigen::Map<const Vector>(at.data() + 5, 5));
  };
  const auto gradient = [](const auto& generator, const auto& action, const auto& out,
                           const auto& d_out) {
    std::vector<double> d_planes(10), all;
    grape::apply_rotation_plane_vjp(action, out, d_out, d_planes);
    const auto d = grape::rank2_plane_vjp(generator, std::span<const double>(d_planes));
    for (const double entry : d.a) all.push_back(entry);
    for (const double entry : d.b) all.push_back(entry);
    return all;
  };
  std::vector<double> parameters = random.uniforms(10, -1, 1);
  expect_gradient(parameters, make, gradient, "any plane");
  for (std::size_t i = 0; i < 5; ++i) parameters[5 + i] = -2 * parameters[i];
  expect_gradient(parameters, make, gradient, "parallel vectors");
  for (std::size_t i = 0; i < 5; ++i) parameters[5 + i] = 0;
  expect_gradient(parameters, make, gradient, "b = 0");
  for (double& entry : parameters) entry = 0;
  expect_gradient(parameters, make, gradient, "a = b = 0");
}

// A learned frame by the parameters that it is made of, and its frequencies.
template <class Chart>
void expect_parameter_gradient(double factor) {
  Random random(51);
  const Index d = 7, m = 3, entries = d * 2 * m;
  const auto make = [&](const std::vector<double>& at) {
    std::vector<FrameMatrix> parameters;
    std::vector<double> theta;
    for (Index s = 0; s < 2; ++s) {
      const auto from = at.begin() + s * (entries + m);
      parameters.push_back(Eigen::Map<const FrameMatrix>(&*from, d, 2 * m));
      theta.insert(theta.end(), from + entries, from + entries + m);
    }
    return grape::ParameterizedPlanes<double, Chart>(parameters,
                                                     Spectrum::per_head(theta, 2, factor));
  };
  std::vector<double> parameters = random.uniforms(2 * (entries + m), -1, 1);
  parameters[static_cast<std::size_t>(entries)] = 0.5;  // two equal frequencies
  parameters[static_cast<std::size_t>(entries + 1)] = 0.5;
  const auto gradient = [&](const auto& generator, const auto& action, const auto& out,
                            const auto& d_out) {
    std::vector<double> d_frame(static_cast<std::size_t>(2 * entries)), all;
    std::vector<double> d_theta(static_cast<std::size_t>(2 * m));
    grape::apply_rotation_frame_vjp(action, out, d_out, d_frame);
    grape::apply_rotation_frequency_vjp(action, out, d_out, d_theta);
    for (Index s = 0; s < 2; ++s) {
      const auto of_set = std::span<const double>(d_frame).subspan(
          static_cast<std::size_t>(s * entries), static_cast<std::size_t>(entries));
      const FrameMatrix d_raw = generator.vjp(of_set, s);
      for (const double entry : d_raw.reshaped()) all.push_back(entry);
      const auto from = d_theta.begin() + s * m;
      all.insert(all.end(), from, from + m);
    }
    return all;
  };
  expect_gradient(parameters, make, gradient, "factor " + std::to_string(factor));
}

TEST(FrameVjp, OfLearnedFrames) {
  for (const double factor : {1.0, 1.3}) {
    expect_parameter_gradient<grape::HouseholderChart>(factor);
    expect_parameter_gradient<grape::CayleyChart>(factor);
    expect_parameter_gradient<grape::OrthonormalizedChart>(factor);
  }
}

// The frame's tangent gradient and the generator's are one thing seen twice: for planes of a frame
// that turns by F + dF, dL = dF Lambda F^T + F Lambda dF^T.
TEST(FrameVjp, FrameAndGeneratorAgree) {
  Random random(52);
  const Index d = 6, m = 2, n = 5;
  const FrameMatrix f = random_frame(random, d, 2 * m);
  const LearnedPlanes<double> planes(f, Spectrum({0.7, -0.2}));
  const auto action = Encoder<LearnedPlanes<double>, LinearPath>(planes).at(Positions::range(1, n));
  std::vector<double> y = random.uniforms(n * d, -1, 1), w = random.uniforms(n * d, -1, 1);
  const auto out = grape::blhd(y.data(), 1, n, 1, d), d_out = grape::blhd(w.data(), 1, n, 1, d);
  std::vector<double> d_frame(24), d_planes(24);
  grape::apply_rotation_frame_vjp(action, out, d_out, d_frame);
  grape::apply_rotation_plane_vjp(action, out, d_out, d_planes);
  const Eigen::Map<const FrameMatrix> g(d_frame.data(), d, 2 * m), z(d_planes.data(), d, 2 * m);
  FrameMatrix turned = FrameMatrix::Zero(2 * m, 2 * m);
  for (Index i = 0; i < m; ++i) {
    turned(2 * i + 1, 2 * i) = planes.spectrum()(0, i);
    turned(2 * i, 2 * i + 1) = -planes.spectrum()(0, i);
  }
  // A direction that keeps F orthonormal: F' = W F, W skew.
  const FrameMatrix x = random_matrix(random, d, d), direction = (x - x.transpose()) * f;
  EXPECT_NEAR(g.cwiseProduct(direction).sum(), -(z * turned).cwiseProduct(direction).sum(), 1e-12);
}

// Gradients are sums over batch, tokens and heads: added to what is there, in every type and
// layout, the same bits on any executor.
TYPED_TEST(FrameOf, GradientsAddUpInEveryLayout) {
  using T = TypeParam;
  Random random(53);
  const CompactPlanes<double> wide({random_planes<OverlappingPlanes>(random, 6, 2),
                                    random_planes<OverlappingPlanes>(random, 6, 2)});
  const CompactPlanes<T> planes({wide.parameters(0), wide.parameters(1)});
  const auto positions = Positions::range(-4, 37);
  const auto action = Encoder<CompactPlanes<T>, LinearPath>(planes).at(positions);
  const auto wide_action = Encoder<CompactPlanes<double>, LinearPath>(wide).at(positions);
  for (const Layout& layout : layouts(2, 37, 4, 6)) {
    SCOPED_TRACE(layout.name);
    Strided<T> out(layout, random), d_out(layouts(2, 37, 4, 6)[2], random);
    const std::vector<T> before = out.memory();
    std::vector<double> y = out.values(), w = d_out.values();
    const auto y_view = grape::blhd(y.data(), 2, 37, 4, 6),
               w_view = grape::blhd(w.data(), 2, 37, 4, 6);
    const grape::TensorView<const T> d_view = d_out.tensor();
    const auto check = [&](std::size_t size, const auto& got_of, const auto& want_of) {
      std::vector<double> got(size, 7.0), again(size, 7.0), want(size, 7.0);
      got_of(got, grape::Serial{});
      got_of(again, Threads{});
      want_of(want);
      EXPECT_TRUE(same_bits(got, again));
      // 37 x 8 rows of length below sqrt(6) at positions below 33, on frames rounded to A.
      const double bound = 37 * 8 * 6 * 33 * 16 * Rounding<grape::accumulation_t<T>>::unit;
      for (std::size_t i = 0; i < size; ++i) ASSERT_NEAR(got[i], want[i], bound) << i;
    };
    check(
        48,
        [&](auto& to, const auto& executor) {
          grape::apply_rotation_plane_vjp(action, out.tensor(), d_view, to, executor);
        },
        [&](auto& to) { grape::apply_rotation_plane_vjp(wide_action, y_view, w_view, to); });
    check(
        48,
        [&](auto& to, const auto& executor) {
          grape::apply_rotation_frame_vjp(action, out.tensor(), d_view, to, executor);
        },
        [&](auto& to) { grape::apply_rotation_frame_vjp(wide_action, y_view, w_view, to); });
    check(
        4,
        [&](auto& to, const auto& executor) {
          grape::apply_rotation_frequency_vjp(action, out.tensor(), d_view, to, executor);
        },
        [&](auto& to) { grape::apply_rotation_frequency_vjp(wide_action, y_view, w_view, to); });
    EXPECT_TRUE(same_bits(out.memory(), before));
  }
}

// y and every gradient of the golden mixtures.
TEST(FrameVjp, Golden) {
  const auto file = golden::load("compact_planes");
  ASSERT_EQ(file.json().at("cases").size(), 16u);
  for (const auto& c : file.json().at("cases")) {
    const Index d = c.at("d"), m = c.at("m");
    const auto list = [&](const char* key) {
      return c.at(key).template get<std::vector<double>>();
    };
    const auto matrix = [&](const char* key) {
      const std::vector<double> data = list(key);
      return FrameMatrix(
          Eigen::Map<const FrameMatrix>(data.data(), static_cast<Index>(data.size()) / m, m));
    };
    const OverlappingPlanes p{matrix("a"), matrix("b"), matrix("theta").transpose()};
    const Encoder<CompactPlanes<double>, LinearPath> encoder(p);
    const std::vector<double> position{c.at("n").get<double>()};
    const auto action = encoder.at(Positions::real(position));
    std::vector<double> y = list("x"), w = list("w");
    const auto out = grape::blhd(y.data(), 1, 1, 1, d), d_out = grape::blhd(w.data(), 1, 1, 1, d);
    grape::apply_rotation(action, out);
    std::vector<double> d_planes(static_cast<std::size_t>(action.frame_columns() * d));
    grape::apply_rotation_plane_vjp(action, out, d_out, d_planes);
    const OverlappingPlanes got = encoder.generator().vjp(d_planes);
    grape::apply_rotation_vjp(action, d_out, d_out);
    const auto expect = [&](std::span<const double> values, const char* key) {
      const std::vector<double> want = list(key);
      ASSERT_EQ(values.size(), want.size());
      double size = 1;
      for (const double entry : want) size = std::max(size, std::fabs(entry));
      for (std::size_t i = 0; i < want.size(); ++i) {
        // The reference is a matrix exponential of float64.
        EXPECT_NEAR(values[i], want[i], 1e-11 * size) << key << " " << d << " " << m;
      }
    };
    const auto all = [](const auto& x) {
      return std::span<const double>(x.data(), static_cast<std::size_t>(x.size()));
    };
    expect(y, "y");
    expect(w, "grad_x");
    expect(all(got.a), "grad_a");
    expect(all(got.b), "grad_b");
    expect(all(got.theta), "grad_theta");
  }
}

// Phases that tokens advance, and grids: the other paths of the library.
TEST(Frame, OnEveryPath) {
  Random random(54);
  const FrameMatrix f = random_frame(random, 6, 4);
  const LearnedPlanes<double> planes(f, Spectrum({0.9, 0.3}));
  const std::vector<double> x = random.uniforms(5 * 2 * 6, -1, 1);
  const auto expect = [&](const auto& action, const auto& angles_of) {
    std::vector<double> y = x;
    grape::apply_rotation(action, grape::blhd(y.data(), 1, 5, 2, 6));
    for (Index i = 0; i < 10; ++i) {
      const auto g = FrameRotation::from_angles(f, angles_of(i / 2, i % 2));
      const Eigen::VectorXd want = g * Eigen::Map<const Eigen::VectorXd>(x.data() + i * 6, 6);
      for (Index k = 0; k < 6; ++k) {
        ASSERT_NEAR(y[static_cast<std::size_t>(i * 6 + k)], want[k], 1e-14) << i;
      }
    }
  };
  const Encoder<LearnedPlanes<double>, grape::ExclusivePath> contextual(planes);
  const std::vector<double> omega = random.uniforms(5 * 2, 0, 1);
  expect(contextual.at(grape::blh(omega.data(), 1, 5, 2)), [&](Index t, Index h) {
    double phase = 0;
    for (Index u = 0; u < t; ++u) phase += omega[static_cast<std::size_t>(u * 2 + h)];
    return Eigen::VectorXd(Eigen::Vector2d(0.9, 0.3) * phase);
  });
  const Encoder<LearnedPlanes<double>, grape::AxialPath> axial(planes,
                                                               grape::AxialPath::sections({1, 1}));
  const std::vector<std::int64_t> grid = random.integers(10, -9, 9);
  expect(axial.at(Positions::axes(grid, 2, 1, 5)), [&](Index t, Index) {
    return Eigen::VectorXd(
        Eigen::Vector2d(0.9 * static_cast<double>(grid[static_cast<std::size_t>(t)]),
                        0.3 * static_cast<double>(grid[static_cast<std::size_t>(5 + t)])));
  });
}

// The gradient of real positions and of phases by head, which share one frame.
TEST(FrameVjp, OfPhases) {
  Random random(55);
  const LearnedPlanes<double> planes(random_frame(random, 6, 4), Spectrum({0.9, 0.3}));
  const Encoder<LearnedPlanes<double>, grape::ExclusivePath> encoder(planes);
  const std::vector<double> x = random.uniforms(2 * 40 * 4 * 6, -1, 1);
  std::vector<double> w = random.uniforms(2 * 40 * 4 * 6, -1, 1);
  std::vector<double> omega = random.uniforms(2 * 40 * 2, 0, 0.5);
  const auto turned = [&] {
    std::vector<double> y = x;
    const auto action = encoder.at(grape::blh(omega.data(), 2, 40, 2));
    grape::apply_rotation(action, grape::blhd(y.data(), 2, 40, 4, 6));
    return std::pair(action, y);
  };
  auto [action, y] = turned();
  std::vector<double> d_phase(2 * 40 * 2), d_frame(24);
  const auto out = grape::blhd(y.data(), 2, 40, 4, 6), d_out = grape::blhd(w.data(), 2, 40, 4, 6);
  grape::apply_rotation_phase_vjp(action, out, d_out, d_phase);
  grape::apply_rotation_frame_vjp(action, out, d_out, d_frame);  // sets share one frame
  for (const auto& [b, t, p] : {std::array<Index, 3>{0, 0, 0}, {1, 17, 1}, {0, 38, 1}}) {
    const auto at = static_cast<std::size_t>((b * 40 + t) * 2 + p);
    double want = 0;  // omega_t moves every later phase
    for (Index u = t + 1; u < 40; ++u)
      want += d_phase[static_cast<std::size_t>((b * 40 + u) * 2 + p)];
    const double old = omega[at];
    const auto loss = [&](double step) {
      omega[at] = old + step;
      const std::vector<double> z = turned().second;
      double sum = 0;
      for (std::size_t i = 0; i < z.size(); ++i) sum += z[i] * w[i];
      return sum;
    };
    const double difference = (loss(1e-5) - loss(-1e-5)) / 2e-5;
    omega[at] = old;
    EXPECT_NEAR(want, difference, 1e-6);
  }
}

TEST(Frame, RefusesWhatDoesNotFit) {
  Random random(56);
  const LearnedPlanes<float> planes(random_frame(random, 6, 4), Spectrum({1.0, 0.5}, 1.2));
  const auto action = Encoder<LearnedPlanes<float>, LinearPath>(planes).at(Positions::range(0, 3));
  std::vector<float> x(3 * 2 * 8);
  std::vector<double> gradient(24);
  const auto good = grape::blhd(x.data(), 1, 3, 2, 6);
  for (const Index d : {5, 8}) {
    EXPECT_TRUE(rejects([&] { grape::apply_rotation(action, grape::blhd(x.data(), 1, 3, 2, d)); },
                        "x dim", std::to_string(d), "the 6 coordinates"));
  }
  EXPECT_TRUE(rejects(
      [&] { grape::apply_rotation_frame_vjp(action, good, good, std::span(gradient).first(23)); },
      "d_frame", "23", "24"));
  EXPECT_TRUE(rejects([&] { grape::apply_rotation_plane_vjp(action, good, good, gradient); },
                      "action", "attention factor of 1.2", "factor of 1"));
  EXPECT_TRUE(rejects(
      [&] {
        grape::apply_rotation_frame_vjp(action, good, grape::blhd(x.data(), 1, 3, 1, 6), gradient);
      },
      "d_out heads", "1", "2"));
  const auto rope = grape::RoPE<float>(Spectrum({1.0, 0.5})).at(Positions::range(0, 3));
  EXPECT_TRUE(rejects([&] { grape::apply_rotation_frame_vjp(rope, good, good, gradient); },
                      "action", "pairs of coordinates", "frame"));
  const Encoder<LearnedPlanes<float>, grape::AxialPath> axial(
      LearnedPlanes<float>(random_frame(random, 6, 4), Spectrum({1.0, 0.5})),
      grape::AxialPath::sections({1, 1}));
  const std::vector<std::int64_t> grid(6, 1);
  const auto on_grid = axial.at(Positions::axes(grid, 2, 1, 3));
  EXPECT_TRUE(rejects([&] { grape::apply_rotation_plane_vjp(on_grid, good, good, gradient); },
                      "action", "different axes", "one position"));
  // The first and the last plane on one axis, the one between on another.
  std::vector<double> wide(36);
  const Encoder<LearnedPlanes<float>, grape::AxialPath> interleaved(
      LearnedPlanes<float>(random_frame(random, 6, 6), Spectrum({1.0, 0.5, 0.25})),
      grape::AxialPath::interleaved({2, 1}));
  const auto between = interleaved.at(Positions::axes(grid, 2, 1, 3));
  EXPECT_TRUE(rejects([&] { grape::apply_rotation_plane_vjp(between, good, good, wide); }, "action",
                      "different axes", "one position"));
}

}  // namespace
