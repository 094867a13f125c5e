// SPDX-License-Identifier: Apache-2.0
#include "grape/interop/conformance.hpp"

#include <gtest/gtest.h>

#include <Eigen/Core>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include "grape/grape.hpp"
#include "support/errors.hpp"
#include "support/golden.hpp"

namespace {

using grape::Index;
using grape::Pairing;
using grape::Positions;
using grape::ScoreView;
using grape::TensorView;
using grape::conformance::AttentionCase;
using grape::conformance::AttentionFamily;
using grape::conformance::BiasCase;
using grape::conformance::BiasFamily;
using grape::conformance::check_attention;
using grape::conformance::check_bias;
using grape::conformance::check_rotation;
using grape::conformance::Report;
using grape::conformance::RotationCase;

// grape's own kernels through the functors.
template <Pairing pairing, class T>
void rotate(const RotationCase& c, TensorView<T> x) {
  const grape::RoPE<T, pairing> rope(
      grape::Spectrum(std::vector<double>(c.frequencies.begin(), c.frequencies.end())));
  grape::apply_rotation(rope, Positions::shared(c.positions), x);
}

template <class T>
void add_bias(const BiasCase& c, ScoreView<T> scores) {
  if (!c.slopes.empty()) {
    const grape::ALiBi<T> alibi(std::vector<double>(c.slopes.begin(), c.slopes.end()));
    grape::add_bias(alibi.at(Positions::range(c.first_position + c.first_query, scores.queries()),
                             Positions::range(c.first_position, scores.keys())),
                    scores);
    return;
  }
  const grape::FoX<T> fox(scores.heads());
  const auto gates = grape::blh(c.log_forget.data(), 1, scores.keys(), scores.heads());
  grape::add_bias(
      fox.at(gates, grape::QueryRange{.start = c.first_query, .count = scores.queries()}), scores);
}

template <Pairing pairing = Pairing::interleaved, class T>
void attend(const AttentionCase<T>& c, TensorView<T> out) {
  using A = grape::accumulation_t<T>;
  grape::AttendOptions<A> options{.causal = true};
  const Positions queries = Positions::range(c.first_position + c.first_query, c.q.seq());
  const Positions keys = Positions::range(c.first_position, c.k.seq());
  grape::RotationAction<A> q_turn, k_turn;
  if (!c.frequencies.empty()) {
    const grape::RoPE<T, pairing> rope(
        grape::Spectrum(std::vector<double>(c.frequencies.begin(), c.frequencies.end())));
    q_turn = rope.at(queries);
    k_turn = rope.at(keys);
    options.rotation = &q_turn;
    options.key_rotation = &k_turn;
  }
  grape::BiasAction<A> bias;
  if (!c.slopes.empty()) {
    const grape::ALiBi<T> alibi(std::vector<double>(c.slopes.begin(), c.slopes.end()));
    bias = alibi.at(queries, keys);
    options.bias = &bias;
  }
  const Index offset = c.first_query;
  options.query_offsets = {&offset, 1};
  grape::attend(c.q, c.k, c.v, out, options);
}

template <class T>
class OfElement : public testing::Test {};
using Elements = testing::Types<float, double, Eigen::half, Eigen::bfloat16>;
TYPED_TEST_SUITE(OfElement, Elements);

TYPED_TEST(OfElement, GrapesRotationsConform) {
  using T = TypeParam;
  const Report first = check_rotation<T>(rotate<Pairing::interleaved, T>);
  EXPECT_TRUE(first.passed()) << first.text();
  const Report second =
      check_rotation<T>(rotate<Pairing::half_split, T>, {.pairing = Pairing::half_split});
  EXPECT_TRUE(second.passed()) << second.text();
  EXPECT_EQ(first.checks.size(), 9u);
}

TYPED_TEST(OfElement, GrapesBiasesConform) {
  using T = TypeParam;
  const Report alibi = check_bias<T>(add_bias<T>);
  EXPECT_TRUE(alibi.passed()) << alibi.text();
  const Report fox = check_bias<T>(add_bias<T>, {.family = BiasFamily::fox});
  EXPECT_TRUE(fox.passed()) << fox.text();
  EXPECT_EQ(alibi.checks.size(), 8u);
  EXPECT_EQ(fox.checks.size(), 9u);
}

TYPED_TEST(OfElement, GrapesAttentionConforms) {
  using T = TypeParam;
  for (const auto family :
       {AttentionFamily::plain, AttentionFamily::rope, AttentionFamily::alibi}) {
    const Report report = check_attention<T>(attend<Pairing::interleaved, T>, {.family = family});
    EXPECT_TRUE(report.passed()) << report.text();
    EXPECT_EQ(report.checks.size(), 7u);
    const Report half = check_attention<T>(attend<Pairing::half_split, T>,
                                           {.family = family, .pairing = Pairing::half_split});
    EXPECT_TRUE(half.passed()) << half.text();
  }
}

// A rotation written out, with a mistake.
struct WrongRotation {
  Pairing pairing = Pairing::interleaved;
  double sign = 1;
  std::int64_t shift = 0;
  bool by_index = false;
  bool float_angles = false;
  double gain = 1;
  bool all_coordinates = false;

  template <class T>
  void operator()(const RotationCase& c, TensorView<T> x) const {
    const auto planes = static_cast<Index>(c.frequencies.size());
    for (Index t = 0; t < x.seq(); ++t) {
      for (Index h = 0; h < x.heads(); ++h) {
        for (Index m = 0; m < planes; ++m) {
          const double theta = c.frequencies[static_cast<std::size_t>(m)];
          const std::int64_t n = by_index ? t : c.positions[static_cast<std::size_t>(t)] + shift;
          const double angle =
              float_angles ? static_cast<double>(static_cast<float>(n) * static_cast<float>(theta))
                           : static_cast<double>(n) * theta;
          const double cosine = gain * std::cos(angle), sine = gain * sign * std::sin(angle);
          const auto at = grape::plane_coordinates(pairing, m, planes);
          T &first = x(0, t, h, at.first), &second = x(0, t, h, at.second);
          const auto a = static_cast<double>(first), b = static_cast<double>(second);
          first = static_cast<T>(a * cosine - b * sine);
          second = static_cast<T>(a * sine + b * cosine);
        }
        if (all_coordinates) {
          for (Index d = 2 * planes; d < x.dim(); ++d) x(0, t, h, d) *= static_cast<T>(1.5F);
        }
      }
    }
  }
};

void expect_failures(const Report& report, const std::vector<std::string>& wanted) {
  std::vector<std::string> got;
  for (const auto& failure : report.failures) got.push_back(failure.check);
  EXPECT_EQ(got, wanted) << report.text();
  EXPECT_FALSE(report.passed());
}

}  // namespace

TEST(Conformance, PlainRotationConforms) {
  const Report report = check_rotation<float>(WrongRotation{});
  EXPECT_TRUE(report.passed()) << report.text();
  EXPECT_EQ(report.text(), "all of 9 checks hold\n");
}

TEST(Conformance, WrongRotationsFailByName) {
  expect_failures(check_rotation<float>(WrongRotation{.pairing = Pairing::half_split}),
                  {"golden", "pairing", "large_positions"});
  expect_failures(check_rotation<float>(WrongRotation{.sign = -1}),
                  {"golden", "direction", "large_positions"});
  expect_failures(check_rotation<float>(WrongRotation{.pairing = Pairing::half_split, .sign = -1}),
                  {"golden", "direction", "pairing", "large_positions"});
  const Report shifted = check_rotation<float>(WrongRotation{.shift = 1});
  EXPECT_TRUE(shifted.failed("offset") && shifted.failed("identity")) << shifted.text();
  const Report blind = check_rotation<float>(WrongRotation{.by_index = true});
  EXPECT_TRUE(blind.failed("offset") && blind.failed("composition")) << blind.text();
  const Report longer = check_rotation<float>(WrongRotation{.gain = 1.001});
  EXPECT_TRUE(longer.failed("norm") && longer.failed("scale")) << longer.text();
  EXPECT_NE(longer.text().find("by 1.001 ("), std::string::npos) << longer.text();
  const Report both = check_rotation<float>(WrongRotation{.sign = -1, .gain = 1.5});
  EXPECT_TRUE(both.failed("direction") && both.failed("scale")) << both.text();
  expect_failures(check_rotation<float>(WrongRotation{.all_coordinates = true}), {"rest"});
}

TEST(Conformance, NanIsNoPass) {
  const auto nan = [](const auto&, TensorView<float> x) { x(0, 0, 0, 0) = std::nanf(""); };
  const Report report = check_rotation<float>(nan);
  EXPECT_TRUE(report.failed("formula") && report.failed("norm") && report.failed("golden") &&
              report.failed("large_positions"))
      << report.text();
}

// Options leave out what a kernel does not offer.
TEST(Conformance, OptionsLeaveChecksOut) {
  const Report report = check_rotation<float>(WrongRotation{.all_coordinates = true},
                                              {.negative_positions = false, .partial = false});
  EXPECT_TRUE(report.passed()) << report.text();
  EXPECT_EQ(report.checks.size(), 7u);
  EXPECT_EQ(report.text(),
            "all of 7 checks hold\nnot checked: rest: options.partial is false\n"
            "not checked: inverse: options.negative_positions is false\n");
}

// No position beyond the table of a kernel is asked for, and what is left still finds mistakes.
TEST(Conformance, PositionsStayWithinTheGreatest) {
  for (const std::int64_t greatest : {32, 100, 4095, 200000}) {
    bool reached = false;
    const auto in_range = [&](const RotationCase& c, TensorView<float> x) {
      for (const std::int64_t n : c.positions) {
        ASSERT_LE(n < 0 ? -n : n, greatest);
        reached = reached || (n < 0 ? -n : n) == greatest;
      }
      WrongRotation{}(c, x);
    };
    const grape::conformance::RotationOptions options{.greatest_position = greatest};
    const Report report = check_rotation<float>(in_range, options);
    EXPECT_TRUE(report.passed()) << report.text();
    EXPECT_EQ(reached, greatest <= 4095);
    EXPECT_EQ(report.checks.size(), greatest < 4095 ? 8u : 9u);
    ASSERT_EQ(report.skipped.size(), 1u);
    EXPECT_EQ(report.skipped[0].find("large_positions from "), 0u) << report.skipped[0];
    for (const std::int64_t shift : {-1, 1}) {
      EXPECT_TRUE(check_rotation<float>(WrongRotation{.shift = shift}, options).failed("offset"));
    }
    const Report blind = check_rotation<float>(WrongRotation{.by_index = true}, options);
    EXPECT_TRUE(blind.failed("offset") && blind.failed("composition")) << blind.text();
  }
}

// Most engines: theta, the position and their product are floats.
TEST(Conformance, FloatAnglesAreTheRightConvention) {
  const auto check = [](double angle_error, WrongRotation kernel = {}) {
    kernel.float_angles = true;
    return check_rotation<float>(kernel, {.angle_error = angle_error});
  };
  const Report strict = check(0x1p-52);
  expect_failures(strict, {"precision", "composition", "large_positions"});
  const std::string text = strict.text();
  EXPECT_EQ(
      text.find("precision: right convention, not exact; worst at position -1000; angles computed "
                "in float32? (error "),
      0u)
      << text;
  EXPECT_NE(text.find("at position 4095; angles computed in float32?"), std::string::npos) << text;
  // As such it passes, and only where no angle is left is nothing checked.
  const Report as_float = check(0x1p-22);
  EXPECT_TRUE(as_float.passed()) << as_float.text();
  EXPECT_EQ(as_float.checks.size(), 9u);
  ASSERT_EQ(as_float.skipped.size(), 1u);
  EXPECT_NE(as_float.skipped[0].find("large_positions from 16777215 on"), std::string::npos);
  // Mistakes are told from the lost bits, and stay mistakes where those are allowed.
  for (const double angle_error : {0x1p-52, 0x1p-22}) {
    EXPECT_TRUE(check(angle_error, {.pairing = Pairing::half_split}).failed("pairing"));
    EXPECT_TRUE(check(angle_error, {.sign = -1}).failed("direction"));
    EXPECT_TRUE(check(angle_error, {.shift = 1}).failed("offset"));
    EXPECT_TRUE(check(angle_error, {.by_index = true}).failed("offset"));
    EXPECT_TRUE(check(angle_error, {.gain = 1.25}).failed("scale"));
  }
}

// Fewer bits than float's angles have, and positions that a kernel does not serve.
TEST(Conformance, OtherErrorsOfTheRightConvention) {
  const auto with_positions = [](auto&& change) {
    return [change](const RotationCase& c, TensorView<float> x) {
      std::vector<std::int64_t> positions(c.positions.begin(), c.positions.end());
      for (std::int64_t& n : positions) n = change(n);
      RotationCase changed = c;
      changed.positions = positions;
      WrongRotation{}(changed, x);
    };
  };
  const Report wrapped =
      check_rotation<float>(with_positions([](std::int64_t n) { return n % 512; }));
  EXPECT_NE(wrapped.text().find("formula: right at positions 0 to 17, wrong at position -1000"),
            std::string::npos)
      << wrapped.text();
  const Report magnitude =
      check_rotation<float>(with_positions([](std::int64_t n) { return n < 0 ? -n : n; }));
  EXPECT_NE(magnitude.text().find("wrong at position -1000; negative positions?"),
            std::string::npos)
      << magnitude.text();
  const auto coarse = [](const RotationCase& c, TensorView<float> x) {
    WrongRotation{}(c, x);
    for (Index t = 0; t < x.seq(); ++t) {
      for (Index d = 0; d < x.dim(); ++d) {
        float& value = x(0, t, 0, d);
        value = static_cast<float>(static_cast<Eigen::half>(value));
      }
    }
  };
  const Report half = check_rotation<float>(coarse, {.partial = false});
  EXPECT_NE(half.text().find("precision: right convention"), std::string::npos) << half.text();
  EXPECT_NE(half.text().find("computed in fewer bits"), std::string::npos) << half.text();
  const auto noise = [](const RotationCase&, TensorView<float> x) {
    for (Index d = 0; d < x.dim(); ++d) x(0, x.seq() - 1, 0, d) += static_cast<float>(d);
  };
  EXPECT_NE(check_rotation<float>(noise).text().find("no usual mistake"), std::string::npos);
}

TEST(Conformance, OptionsHaveRanges) {
  const auto refuses = [](const grape::conformance::RotationOptions& options,
                          std::string_view argument, std::string_view got,
                          std::string_view wanted) {
    return rejects([&] { check_rotation<float>(WrongRotation{}, options); }, argument, got, wanted);
  };
  EXPECT_TRUE(refuses({.greatest_position = 31}, "options.greatest_position", "31", ">= 32"));
  EXPECT_TRUE(refuses({.roundings = 0}, "options.roundings", "0", "(0, "));
  EXPECT_TRUE(refuses({.roundings = std::nan("")}, "options.roundings", "nan", "(0, "));
  EXPECT_TRUE(refuses({.angle_error = 0.1}, "options.angle_error", "0.1", "[0, "));
}

namespace {

struct WrongBias {
  double sign = 1;
  Index skip_first = 1;
  Index skip_last = 0;
  bool blind = false;
  bool overwrites = false;
  bool prefix_sums = false;
  bool by_position = false;
  double gain = 1;
  bool coarse = false;  ///< in bfloat16
  Index left_out = -1;  ///< the head that nothing is added to

  template <class T>
  void operator()(const BiasCase& c, ScoreView<T> scores) const {
    for (Index h = 0; h < scores.heads(); ++h) {
      if (h == left_out) continue;
      for (Index i = 0; i < scores.queries(); ++i) {
        const Index at = i + (blind ? 0 : c.first_query);
        for (Index j = 0; j <= std::min(at, scores.keys() - 1); ++j) {
          double b = 0;
          if (!c.slopes.empty()) {
            const double slope = c.slopes[static_cast<std::size_t>(h)];
            b = static_cast<double>(j - at + 1 - skip_first) * slope;
            if (by_position) {
              const auto place = [&](Index n) {
                return static_cast<float>(c.first_position + n) * static_cast<float>(slope);
              };
              b = static_cast<double>(place(j) - place(at));
            }
          } else if (prefix_sums) {
            float sums[2] = {0, 0};
            for (Index l = 0; l <= at; ++l) {
              const float gate = c.log_forget[static_cast<std::size_t>(l * scores.heads() + h)];
              sums[0] += gate;
              if (l <= j) sums[1] += gate;
            }
            b = static_cast<double>(sums[0] - sums[1]);
          } else {
            for (Index l = j + skip_first; l <= at - skip_last; ++l) {
              b += static_cast<double>(
                  c.log_forget[static_cast<std::size_t>(l * scores.heads() + h)]);
            }
          }
          b *= gain;
          if (coarse) b = static_cast<double>(static_cast<Eigen::bfloat16>(b));
          T& score = scores(0, h, i, j);
          score = static_cast<T>(sign * b + (overwrites ? 0.0 : static_cast<double>(score)));
        }
      }
    }
  }
};

}  // namespace

TEST(Conformance, PlainBiasConforms) {
  for (const auto family : {BiasFamily::alibi, BiasFamily::fox}) {
    const Report report = check_bias<float>(WrongBias{}, {.family = family});
    EXPECT_TRUE(report.passed()) << report.text();
  }
}

TEST(Conformance, WrongBiasesFailByName) {
  for (const auto family : {BiasFamily::alibi, BiasFamily::fox}) {
    const Report rises = check_bias<float>(WrongBias{.sign = -1}, {.family = family});
    EXPECT_TRUE(rises.failed("direction") && rises.failed("not_positive")) << rises.text();
    expect_failures(check_bias<float>(WrongBias{.overwrites = true}, {.family = family}), {"adds"});
  }
  const Report moved = check_bias<float>(WrongBias{.skip_first = 0});
  EXPECT_TRUE(moved.failed("offset") && moved.failed("golden")) << moved.text();
  expect_failures(check_bias<float>(WrongBias{.blind = true}), {"offset"});
  expect_failures(check_bias<float>(WrongBias{.by_position = true}), {"relative"});
  // The paper's U_u = sum_{l < u} is off by one: b(i,j) from j .. i - 1.
  const Report exclusive =
      check_bias<float>(WrongBias{.skip_first = 0, .skip_last = 1}, {.family = BiasFamily::fox});
  EXPECT_TRUE(exclusive.failed("offset") && exclusive.failed("golden")) << exclusive.text();
  const Report inclusive =
      check_bias<float>(WrongBias{.skip_first = 0}, {.family = BiasFamily::fox});
  EXPECT_TRUE(inclusive.failed("offset") && inclusive.failed("diagonal")) << inclusive.text();
  expect_failures(check_bias<float>(WrongBias{.prefix_sums = true}, {.family = BiasFamily::fox}),
                  {"long_sums"});
  for (const auto family : {BiasFamily::alibi, BiasFamily::fox}) {
    const Report base_2 =
        check_bias<float>(WrongBias{.gain = 1.4426950408889634}, {.family = family});
    EXPECT_TRUE(base_2.failed("scale") && !base_2.failed("formula")) << base_2.text();
    EXPECT_NE(base_2.text().find("multiplies the bias by 1.4427, which is log2(e)"),
              std::string::npos)
        << base_2.text();
    const Report both = check_bias<float>(WrongBias{.sign = -1, .gain = 3}, {.family = family});
    EXPECT_TRUE(both.failed("scale") && both.failed("direction")) << both.text();
    const Report coarse = check_bias<float>(WrongBias{.coarse = true}, {.family = family});
    EXPECT_TRUE(coarse.failed("precision") && !coarse.failed("formula")) << coarse.text();
  }
  const auto noise = [](const BiasCase&, ScoreView<float> scores) {
    for (Index j = 0; j < scores.keys(); ++j) scores(0, 0, 0, j) += 100.0F * static_cast<float>(j);
  };
  EXPECT_NE(check_bias<float>(noise).text().find("no usual mistake"), std::string::npos);
}

namespace {

// ALiBi with all arithmetic in T: T(j - i) T(slope).
template <class T>
void narrow_alibi(const BiasCase& c, ScoreView<T> scores) {
  for (Index h = 0; h < scores.heads(); ++h) {
    const T slope = static_cast<T>(c.slopes[static_cast<std::size_t>(h)]);
    for (Index i = 0; i < scores.queries(); ++i) {
      const Index at = i + c.first_query;
      for (Index j = 0; j <= std::min(at, scores.keys() - 1); ++j) {
        const T steps = static_cast<T>(static_cast<float>(j - at));
        scores(0, h, i, j) = static_cast<T>(scores(0, h, i, j) + static_cast<T>(steps * slope));
      }
    }
  }
}

}  // namespace

// Heads of small slopes count as much as the others, whatever the element type.
TYPED_TEST(OfElement, BiasesOfEveryHeadAreChecked) {
  using T = TypeParam;
  const Report narrow = check_bias<T>(narrow_alibi<T>);
  EXPECT_TRUE(narrow.passed()) << narrow.text();
  for (const auto family : {BiasFamily::alibi, BiasFamily::fox}) {
    for (const bool decode : {true, false}) {
      if (family == BiasFamily::fox && !decode) continue;  // long squares
      const auto check = [&](const WrongBias& kernel) {
        return check_bias<T>(kernel, {.family = family, .decode = decode});
      };
      EXPECT_TRUE(check({}).passed()) << check({}).text();
      for (const Index head : {0, 1, 2}) {
        const Report report = check({.left_out = head});
        EXPECT_TRUE(report.failed("formula") && report.failed("golden")) << report.text();
      }
      for (const double gain : {0.9, 1.1}) {
        const Report report = check({.gain = gain});
        EXPECT_TRUE(report.failed("scale") && report.failed("golden")) << report.text();
      }
      const Report added = check({.overwrites = true});
      EXPECT_TRUE(added.failed("adds")) << added.text();
    }
  }
}

// A kernel that does not decode is asked for whole squares, of long sums too.
TEST(Conformance, BiasesWithoutDecoding) {
  const auto square = [](WrongBias bias) {
    return [bias](const BiasCase& c, ScoreView<float> scores) {
      ASSERT_EQ(c.first_query, 0);
      ASSERT_EQ(scores.queries(), scores.keys());
      bias(c, scores);
    };
  };
  const grape::conformance::BiasOptions options{.family = BiasFamily::fox, .decode = false};
  const Report report = check_bias<float>(square({}), options);
  EXPECT_EQ(report.text(), "all of 8 checks hold\nnot checked: decode: options.decode is false\n");
  expect_failures(check_bias<float>(square({.prefix_sums = true}), options), {"long_sums"});
  EXPECT_TRUE(rejects([&] { check_bias<float>(square({}), {.roundings = -1}); },
                      "options.roundings", "-1", "(0, "));
  EXPECT_TRUE(rejects([&] { check_bias<float>(square({}), {.long_roundings = 0}); },
                      "options.long_roundings", "0", "(0, "));
}

namespace {

struct WrongAttention {
  grape::conformance::detail::Mistake mistake = grape::conformance::detail::Mistake::none;
  bool unstable = false;
  bool coarse = false;        ///< in half
  bool float_angles = false;  ///< of RoPE

  template <class T>
  void operator()(AttentionCase<T> c, TensorView<T> out) const {
    std::vector<T> q(c.q.data(), c.q.data() + c.q.size());
    std::vector<T> k(c.k.data(), c.k.data() + c.k.size());
    if (float_angles && !c.frequencies.empty()) {
      const auto turn = [&](std::vector<T>& x, const TensorView<const T>& of, Index first) {
        std::vector<std::int64_t> positions(static_cast<std::size_t>(of.seq()));
        std::iota(positions.begin(), positions.end(), c.first_position + first);
        WrongRotation{.pairing = c.pairing, .float_angles = true}(
            {positions, c.frequencies, 0, c.pairing},
            grape::blhd(x.data(), 1, of.seq(), of.heads(), of.dim()));
      };
      turn(q, c.q, c.first_query);
      turn(k, c.k, 0);
      c.q = grape::blhd(q.data(), 1, c.q.seq(), c.q.heads(), c.q.dim());
      c.k = grape::blhd(k.data(), 1, c.k.seq(), c.k.heads(), c.k.dim());
      c.frequencies = {};
    }
    const auto y = grape::conformance::detail::attention_of(c, mistake);
    for (std::size_t i = 0; i < y.size(); ++i) {
      out.data()[i] =
          static_cast<T>(coarse ? static_cast<double>(static_cast<Eigen::half>(y[i])) : y[i]);
    }
    if (!unstable) return;
    const double scale = 1 / std::sqrt(static_cast<double>(out.dim()));
    for (Index i = 0; i < out.seq(); ++i) {
      for (Index j = 0; j <= i + c.first_query; ++j) {
        double logit = 0;
        for (Index d = 0; d < out.dim(); ++d) {
          logit += static_cast<double>(c.q(0, i, 0, d)) * static_cast<double>(c.k(0, j, 0, d));
        }
        if (std::isinf(std::exp(static_cast<float>(logit * scale))))
          out(0, i, 0, 0) = static_cast<T>(std::nanf(""));
      }
    }
  }
};

}  // namespace

TEST(Conformance, WrongAttentionFailsByName) {
  using grape::conformance::detail::Mistake;
  for (const auto family :
       {AttentionFamily::plain, AttentionFamily::rope, AttentionFamily::alibi}) {
    const auto check = [&](Mistake mistake) {
      return check_attention<float>(WrongAttention{.mistake = mistake}, {.family = family});
    };
    const Report unscaled = check(Mistake::no_scale);
    EXPECT_TRUE(unscaled.failed("scale") && unscaled.failed("golden")) << unscaled.text();
    EXPECT_TRUE(check(Mistake::not_causal).failed("causal"));
    EXPECT_TRUE(check(Mistake::strictly_causal).failed("causal"));
    expect_failures(check(Mistake::first_query), {"offset"});
    if (family != AttentionFamily::plain) {
      const Report bare = check(Mistake::no_encoding);
      EXPECT_TRUE(bare.failed("encoding") && bare.failed("golden")) << bare.text();
      const Report reversed = check(Mistake::direction);
      EXPECT_TRUE(reversed.failed("direction") && reversed.failed("golden")) << reversed.text();
    }
    const Report coarse =
        check_attention<float>(WrongAttention{.coarse = true}, {.family = family});
    EXPECT_TRUE(coarse.failed("precision") && !coarse.failed("formula")) << coarse.text();
    const auto noise = [](const AttentionCase<float>&, TensorView<float> out) {
      for (Index t = 0; t < out.seq(); ++t) out(0, t, 0, 0) = 7;
    };
    EXPECT_NE(check_attention<float>(noise, {.family = family}).text().find("no usual mistake"),
              std::string::npos);
  }
  for (const Pairing pairing : {Pairing::interleaved, Pairing::half_split}) {
    const Report other =
        check_attention<float>(WrongAttention{.mistake = Mistake::pairing},
                               {.family = AttentionFamily::rope, .pairing = pairing});
    EXPECT_TRUE(other.failed("pairing") && other.failed("golden")) << other.text();
  }
  const Report divided = check_attention<float>(WrongAttention{.mistake = Mistake::scaled_bias},
                                                {.family = AttentionFamily::alibi});
  EXPECT_TRUE(divided.failed("scale")) << divided.text();
  EXPECT_NE(divided.text().find("the bias by sqrt(dim) too"), std::string::npos) << divided.text();
  const Report unstable = check_attention<float>(WrongAttention{.unstable = true});
  expect_failures(unstable, {"stable"});
}

TEST(Conformance, AttentionOfFloatAnglesAndShortTables) {
  const auto check = [](const grape::conformance::AttentionOptions& options) {
    return check_attention<float>(WrongAttention{.float_angles = true}, options);
  };
  for (const Pairing pairing : {Pairing::interleaved, Pairing::half_split}) {
    const Report strict = check({.family = AttentionFamily::rope, .pairing = pairing});
    expect_failures(strict, {"relative"});
    EXPECT_NE(strict.text().find("20000 positions; angles computed in float32?"), std::string::npos)
        << strict.text();
    const Report as_float =
        check({.family = AttentionFamily::rope, .pairing = pairing, .angle_error = 0x1p-22});
    EXPECT_TRUE(as_float.passed()) << as_float.text();
  }
  const auto in_range = [](const AttentionCase<float>& c, TensorView<float> out) {
    ASSERT_LE(c.first_position + c.k.seq() - 1, 128);
    ASSERT_EQ(c.q.seq(), c.k.seq());
    WrongAttention{}(c, out);
  };
  const Report report = check_attention<float>(
      in_range, {.family = AttentionFamily::rope, .decode = false, .greatest_position = 128});
  EXPECT_EQ(report.text(), "all of 6 checks hold\nnot checked: decode: options.decode is false\n");
  EXPECT_TRUE(
      rejects([&] { check({.greatest_position = 7}); }, "options.greatest_position", "7", ">= 32"));
  EXPECT_TRUE(rejects([&] { check({.roundings = 0}); }, "options.roundings", "0", "(0, "));
  EXPECT_TRUE(rejects([&] { check({.angle_error = -1}); }, "options.angle_error", "-1", "[0, "));
}

// A head without its encoding has a name, whatever the element type and the head.
TYPED_TEST(OfElement, AttentionOfEveryHeadIsChecked) {
  using T = TypeParam;
  using grape::conformance::detail::Mistake;
  for (const auto family : {AttentionFamily::rope, AttentionFamily::alibi}) {
    for (const Index head : {0, 1}) {
      const auto left_out = [&](const AttentionCase<T>& c, TensorView<T> out) {
        WrongAttention{}(c, out);
        if (c.q.heads() == 1) return;  // the reference code's numbers
        const auto bare = grape::conformance::detail::attention_of(c, Mistake::no_encoding);
        for (Index i = 0; i < out.seq(); ++i) {
          for (Index d = 0; d < out.dim(); ++d) {
            const Index at = (i * out.heads() + head) * out.dim() + d;
            out(0, i, head, d) = static_cast<T>(bare[static_cast<std::size_t>(at)]);
          }
        }
      };
      for (const bool decode : {true, false}) {
        const Report report = check_attention<T>(left_out, {.family = family, .decode = decode});
        EXPECT_TRUE(report.failed("encoding")) << report.text();
        EXPECT_NE(report.text().find("in one of the heads"), std::string::npos) << report.text();
      }
    }
  }
}

// half and bfloat16 may be off by more than some conventions differ by; they have names all the
// same.
TYPED_TEST(OfElement, MistakesHaveNamesInEveryType) {
  using T = TypeParam;
  using grape::conformance::detail::Mistake;
  const auto rotation = [](WrongRotation kernel) { return check_rotation<T>(kernel); };
  EXPECT_TRUE(rotation({}).passed()) << rotation({}).text();
  EXPECT_TRUE(rotation({.pairing = Pairing::half_split}).failed("pairing"));
  EXPECT_TRUE(rotation({.sign = -1}).failed("direction"));
  EXPECT_TRUE(rotation({.shift = -1}).failed("offset"));
  EXPECT_TRUE(rotation({.by_index = true}).failed("offset"));
  EXPECT_TRUE(rotation({.gain = 1.2}).failed("scale"));
  const auto idle = [](const auto&, const auto&) {};
  const Report still = check_rotation<T>(idle);
  EXPECT_TRUE(still.failed("encoding") && !still.failed("formula")) << still.text();
  for (const auto family : {BiasFamily::alibi, BiasFamily::fox}) {
    const auto bias = [&](WrongBias kernel) { return check_bias<T>(kernel, {.family = family}); };
    EXPECT_TRUE(bias({}).passed()) << bias({}).text();
    EXPECT_TRUE(bias({.sign = -1}).failed("direction"));
    EXPECT_TRUE(bias({.skip_first = 0}).failed("offset"));
    EXPECT_TRUE(bias({.blind = true}).failed("offset"));
    EXPECT_TRUE(bias({.gain = 1.4426950408889634}).failed("scale"));
    EXPECT_TRUE(check_bias<T>(idle, {.family = family}).failed("encoding"));
  }
  for (const auto family :
       {AttentionFamily::plain, AttentionFamily::rope, AttentionFamily::alibi}) {
    const auto attention = [&](Mistake mistake) {
      return check_attention<T>(WrongAttention{.mistake = mistake}, {.family = family});
    };
    EXPECT_TRUE(attention(Mistake::none).passed()) << attention(Mistake::none).text();
    EXPECT_TRUE(attention(Mistake::no_scale).failed("scale"));
    EXPECT_TRUE(attention(Mistake::not_causal).failed("causal"));
    EXPECT_TRUE(attention(Mistake::strictly_causal).failed("causal"));
    EXPECT_TRUE(attention(Mistake::first_query).failed("offset"));
    if (family == AttentionFamily::plain) continue;
    EXPECT_TRUE(attention(Mistake::no_encoding).failed("encoding"));
    EXPECT_TRUE(attention(Mistake::direction).failed("direction"));
    if (family == AttentionFamily::rope) {
      EXPECT_TRUE(attention(Mistake::pairing).failed("pairing"));
    } else {
      EXPECT_TRUE(attention(Mistake::scaled_bias).failed("scale"));
    }
  }
}

// The installed numbers are those of the golden files.
TEST(Conformance, GoldenNumbersAreTheFiles) {
  namespace g = grape::conformance::golden;
  const auto rows = [](const golden::Array& a, Index batch, Index head, Index tokens) {
    std::vector<double> out;
    for (Index t = 0; t < tokens; ++t) {
      const Index at = ((batch * a.shape[1] + t) * a.shape[2] + head) * a.shape[3];
      out.insert(out.end(), a.data.begin() + at, a.data.begin() + at + a.shape[3]);
    }
    return out;
  };
  const auto list = [](const auto& array) {
    return std::vector<double>(std::begin(array), std::end(array));
  };
  const golden::Case interleaved = golden::load("rope_interleaved_0");
  EXPECT_EQ(list(g::kRotationX), rows(interleaved.inputs("x"), 1, 2, 7));
  EXPECT_EQ(list(g::kInterleavedY), rows(interleaved.outputs("y"), 1, 2, 7));
  const golden::Case half = golden::load("rope_half_split_0");
  EXPECT_EQ(list(g::kRotationX), rows(half.inputs("x"), 1, 2, 7));
  EXPECT_EQ(list(g::kHalfSplitY), rows(half.outputs("y"), 1, 2, 7));
  for (const auto& c : {interleaved, half}) {
    const auto positions = c.inputs("positions").data;
    EXPECT_EQ(list(g::kRotationPositions),
              std::vector<double>(positions.begin() + 7, positions.end()));
  }
  EXPECT_EQ(list(g::kAlibi), golden::load("alibi_bias_3").outputs("bias").data);
  const auto attention = [&](const std::string& name, const auto& q, const auto& k, const auto& v,
                             const auto& out) {
    const golden::Case c = golden::load("attention_" + name + "_0");
    EXPECT_EQ(list(q), rows(c.inputs("q"), 0, 0, 5));
    EXPECT_EQ(list(k), rows(c.inputs("k"), 0, 0, 5));
    EXPECT_EQ(list(v), rows(c.inputs("v"), 0, 0, 5));
    EXPECT_EQ(list(out), rows(c.outputs("out"), 0, 0, 5));
  };
  attention("none", g::kAttentionQ, g::kAttentionK, g::kAttentionV, g::kPlainOut);
  attention("rope", g::kAttentionQ, g::kAttentionK, g::kAttentionV, g::kRopeOut);
  attention("alibi", g::kAttentionQ, g::kAttentionK, g::kAttentionV, g::kAlibiOut);
}
